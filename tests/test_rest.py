"""What comes to rest, and what ends that. That it changes no answer is a property: tests/heart/resting.py."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from shopperd.model import Fleet, Instance, OrphanKind, SessionState
from shopperd.reconcile import Account, Observed, observe
from shopperd.rest import REST_MAX
from tests.nouns import NOW, SETTINGS, account, after, instance, job, rounds, session, sid, snapshot, watch

MACHINE = instance("m1", 1)
MINUTE = timedelta(minutes=1)
LATER = NOW + 10 * MINUTE


def at_rest(known: Account, *machines: Instance) -> Account:
    """The account after so many looks that all of these machines are at rest."""
    known = watch(known, *rounds(*machines, count=5))
    assert len(known.rest.machines) == len(machines)
    return known


def look(known: Account, *machines: Instance, **more: Any) -> Observed:
    """One more look."""
    one = snapshot(*machines, **({"at": LATER} | more))
    return observe(known, one, SETTINGS, one.ended_at)


def put(known: Account, **of_session: Any) -> Account:
    """The account with its session changed."""
    changed = evolve(known.sessions[sid(1)], version=2, **of_session)
    return evolve(known, sessions={**known.sessions, sid(1): changed})


BOUND = account(session(1, instance_id="m1"))


def test_a_machine_that_tells_nothing_new_comes_to_rest() -> None:
    known, left = BOUND, []
    for one in rounds(MACHINE, count=5):
        known = watch(known, one)
        left.append(len(known.rest.machines))
    assert left == [0, 0, 0, 1, 1]


def test_it_stays_at_rest_when_its_row_is_made_anew() -> None:
    known = at_rest(BOUND, MACHINE)
    assert look(known, evolve(MACHINE)).rest.machines.keys() == {"m1"}


@pytest.mark.parametrize(
    "moving",
    [{"expires_at": NOW + REST_MAX}, {"state": SessionState.ENDING}, {"account": "elsewhere"}, {"instance_id": "m2"}],
)
def test_a_machine_whose_session_may_move_does_not_come_to_rest(moving: dict[str, Any]) -> None:
    known = account(session(1, **({"instance_id": "m1"} | moving)))
    assert not watch(known, *rounds(MACHINE, count=6)).rest.machines


def test_a_machine_that_two_sessions_name_does_not_come_to_rest() -> None:
    known = account(session(1, instance_id="m1"), session(2, SessionState.LOST, instance_id="m1", ended_at=NOW))
    assert not watch(known, *rounds(MACHINE, count=6)).rest.machines


def test_a_machine_whose_session_was_ended_is_judged_when_its_destroy_is_over() -> None:
    ended = put(at_rest(BOUND, MACHINE), state=SessionState.ENDING, reason="ended by request")
    at_work = evolve(ended, jobs={"m1": job("m1")})
    for minute in (10, 12, 14):
        at_work = after(at_work, look(at_work, MACHINE, at=NOW + minute * MINUTE))
    (found,) = look(evolve(at_work, jobs={}), MACHINE, at=NOW + 16 * MINUTE).tracks
    assert found.kind is OrphanKind.ENDED


def test_a_machine_at_rest_that_is_not_listed_is_missed() -> None:
    (missed,) = look(at_rest(BOUND, MACHINE)).tracks
    assert missed.absences == 1


def test_a_row_that_tells_something_new_is_looked_at() -> None:
    (seen,) = look(at_rest(BOUND, MACHINE), evolve(MACHINE, price_per_hour=0.7)).tracks
    assert seen.instance.price_per_hour == 0.7


def test_a_track_that_the_store_tells_otherwise_is_looked_at() -> None:
    known = at_rest(BOUND, MACHINE)
    known = evolve(known, tracks={"m1": evolve(known.tracks["m1"], sightings=1)})
    (seen,) = look(known, MACHINE).tracks
    assert seen.sightings == 2


def test_a_session_that_the_store_tells_otherwise_is_looked_at() -> None:
    (step,) = look(put(at_rest(BOUND, MACHINE), expires_at=LATER), MACHINE).steps
    assert step.session.state is SessionState.ENDING


def test_a_session_that_is_gone_leaves_its_machine_to_be_looked_at() -> None:
    (seen,) = look(evolve(at_rest(BOUND, MACHINE), sessions={}), MACHINE).tracks
    assert seen.kind is OrphanKind.UNKNOWN


def test_two_machines_of_which_one_stirs_are_told_apart() -> None:
    known = at_rest(account(session(1, instance_id="m1"), session(2, instance_id="m2")), MACHINE, instance("m2", 2))
    observed = look(known, MACHINE)
    assert [track.instance.id for track in observed.tracks] == ["m2"]
    assert observed.rest.machines.keys() == {"m1"}
    assert observed.fleet == Fleet()


def test_a_deadline_beyond_the_rest_is_not_overslept() -> None:
    deadline = NOW + 3 * REST_MAX
    known = at_rest(account(session(1, instance_id="m1", expires_at=deadline)), MACHINE)
    moved = []
    for minute in range(10, 190, 10):
        observed = look(known, MACHINE, at=NOW + minute * MINUTE)
        known = after(known, observed)
        moved.extend((minute, step.session.state) for step in observed.steps)
    assert moved == [(180, SessionState.ENDING)]


def test_rest_ends_as_a_whole_and_begins_anew() -> None:
    known = at_rest(BOUND, MACHINE)
    later = look(known, MACHINE, at=NOW + 2 * REST_MAX)
    assert later.rest.machines.keys() == {"m1"}
    assert later.rest.until > known.rest.until


def test_a_clock_that_was_put_back_leaves_nothing_at_rest() -> None:
    known = at_rest(BOUND, MACHINE)
    (seen,) = look(known, MACHINE, at=NOW - 60 * MINUTE).tracks
    assert seen.first_seen_at < NOW


@pytest.mark.parametrize(
    "unusual",
    [{"fleet": Fleet(jump_at=LATER, change="vanished")}, {"restored_at": LATER}],
    ids=["unsettled", "restored"],
)
def test_nothing_is_left_out_while_anything_is_out_of_the_ordinary(unusual: dict[str, Any]) -> None:
    known = at_rest(BOUND, MACHINE)
    observed = look(evolve(known, **unusual), MACHINE)
    assert observed.rest.told == (), "it began anew"
    assert observed.rest.until > known.rest.until


def test_an_incomplete_listing_ends_no_rest_and_uses_none() -> None:
    known = at_rest(BOUND, MACHINE)
    observed = look(known, evolve(MACHINE, price_per_hour=0.7), complete=False)
    assert [track.instance.price_per_hour for track in observed.tracks] == [0.7]
    assert observed.rest is known.rest

"""What comes to rest, and what ends that. That it changes no answer is a property: tests/heart/resting.py."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from shopperd.model import Fleet, Instance, OrphanKind, SessionState
from shopperd.reconcile import Account, Observed, observe
from shopperd.rest import BLOCK, NO_REST, NOTHING, REST_MAX
from shopperd.settings import SessionSettings
from tests.nouns import NOW, SETTINGS, account, after, instance, job, rounds, session, sid, snapshot, track, watch

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
    observed = look(known, evolve(MACHINE))
    assert observed.rest.machines.keys() == {"m1"}
    assert observed.rest.until == known.rest.until, "it did not begin anew"


def test_that_nothing_has_changed_is_found_at_once() -> None:
    known = at_rest(BOUND, MACHINE)
    one = snapshot(MACHINE, at=LATER)
    rest, stirred = known.rest.stirred_by(one, known.tracks, known.sessions, SETTINGS.sessions, one.ended_at)
    assert rest is known.rest
    assert (stirred.rows, stirred.tracks, stirred.sessions) == ((), {}, ())


def test_after_a_machine_came_back_to_rest_that_nothing_has_changed_is_found_at_once() -> None:
    other = instance("m2", 2)
    known = at_rest(account(session(1, instance_id="m1"), session(2, instance_id="m2")), MACHINE, other)
    other = evolve(other, address="192.0.2.1")
    for listed in rounds(MACHINE, other, count=5, start=LATER):
        known = watch(known, listed)
        if "m2" in known.rest.machines:
            break
    one = snapshot(MACHINE, other, at=LATER + 9 * MINUTE)
    rest, stirred = known.rest.stirred_by(one, known.tracks, known.sessions, SETTINGS.sessions, one.ended_at)
    assert rest is known.rest
    assert stirred.rows == ()


def test_a_machine_that_a_session_left_in_a_look_is_not_at_rest_after_it() -> None:
    machines = (MACHINE, instance("m2", 2), instance("m3", 3))
    known = account(session(1, instance_id="m1"), session(2, instance_id="m2"))
    known = watch(known, *rounds(*machines, count=5))
    lost = session(3, SessionState.LOST, instance_id="m1", ended_at=NOW)
    known = evolve(known, sessions={**known.sessions, lost.id: lost})
    observed = look(known, *machines)
    assert [step.session.instance_id for step in observed.steps] == ["m3"]
    assert observed.rest.machines.keys() == {"m2"}
    again = look(evolve(known, rest=observed.rest), *machines, at=LATER + MINUTE)
    assert again.steps, "what was not written is found once more"


def test_what_changed_is_found_however_many_there_are() -> None:
    machines = [instance(f"m{n}", n) for n in range(1, 2 * BLOCK + 2)]
    known = at_rest(account(*(session(n, instance_id=f"m{n}") for n in range(1, 2 * BLOCK + 2))), *machines)
    for number in (0, BLOCK - 1, BLOCK, 2 * BLOCK):
        rows = list(machines)
        rows[number] = evolve(rows[number], address="192.0.2.1")
        one = snapshot(*rows, at=LATER)
        _, stirred = known.rest.stirred_by(one, known.tracks, known.sessions, SETTINGS.sessions, one.ended_at)
        assert stirred.rows == (rows[number],)


@pytest.mark.parametrize("changed", ["row", "track", "session"])
@pytest.mark.parametrize("swapped", ["nothing", "rows", "tracks", "sessions"])
def test_what_changes_stirs_alone_in_its_place_or_another(swapped: str, changed: str) -> None:
    machines = (MACHINE, instance("m2", 2), instance("m3", 3))
    known = at_rest(account(*(session(n, instance_id=f"m{n}") for n in (1, 2, 3))), *machines)
    rows, tracks, sessions = list(machines), dict(known.tracks), dict(known.sessions)
    if changed == "row":
        rows[2] = evolve(rows[2], address="192.0.2.1")
    elif changed == "track":
        tracks["m3"] = evolve(tracks["m3"], exempt=True)
    else:
        sessions[sid(3)] = evolve(sessions[sid(3)], version=2)
    seen = (rows[2],), {"m3": tracks["m3"]}, (sessions[sid(3)],)
    if swapped == "rows":
        rows.reverse()
    elif swapped == "tracks":
        tracks = dict(reversed(tracks.items()))
    elif swapped == "sessions":
        sessions = dict(reversed(sessions.items()))
    one = snapshot(*rows, at=LATER)
    rest, stirred = known.rest.stirred_by(one, tracks, sessions, SETTINGS.sessions, one.ended_at)
    assert rest.machines.keys() == {"m1", "m2"}
    assert (stirred.rows, stirred.tracks, stirred.sessions) == seen


@pytest.mark.parametrize(
    ("first_seen", "expires", "max_lifetime", "rests"),
    [
        (0, None, 0.0, True),
        (1, None, 0.0, False),
        (0, 3601, 0.0, True),
        (0, 3600, 0.0, False),
        (0, None, 7201.0, True),
        (0, None, 7200.0, False),
        (0, None, 1.0, False),
    ],
)
def test_what_awaits_nothing_before_the_rest_ends_comes_to_rest(
    first_seen: int, expires: int | None, max_lifetime: float, *, rests: bool
) -> None:
    own = session(1, instance_id="m1", expires_at=None if expires is None else NOW + timedelta(seconds=expires))
    seen = track(MACHINE, first_seen_at=NOW + timedelta(seconds=first_seen))
    rest = NO_REST.joined([(MACHINE, seen, own)], SessionSettings(max_lifetime=max_lifetime), NOW)
    assert bool(rest.machines) is rests
    assert (REST_MAX, own.created_at) == (timedelta(seconds=3600), NOW - timedelta(seconds=3600))


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


@pytest.mark.parametrize("comes_first", [True, False])
def test_a_machine_that_another_session_names_as_well_is_at_rest_no_more(*, comes_first: bool) -> None:
    known = at_rest(BOUND, MACHINE)
    other = session(2, SessionState.LOST, instance_id="m1", ended_at=NOW)
    both = (other, known.sessions[sid(1)]) if comes_first else (known.sessions[sid(1)], other)
    assert not look(evolve(known, sessions={one.id: one for one in both}), MACHINE).rest.machines


def test_settings_that_changed_end_all_rest() -> None:
    known = at_rest(BOUND, MACHINE)
    shorter = evolve(SETTINGS, sessions=evolve(SETTINGS.sessions, max_lifetime=60.0))
    one = snapshot(MACHINE, at=LATER)
    (step,) = observe(known, one, shorter, one.ended_at).steps
    assert step.session.state is SessionState.ENDING


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


def test_a_machine_whose_session_has_just_moved_does_not_come_to_rest() -> None:
    known = put(at_rest(BOUND, MACHINE), price_per_hour=0.7)
    observed = look(known, MACHINE)
    assert [step.session.price_per_hour for step in observed.steps] == [0.5]
    assert not observed.rest.machines


def test_newcomers_and_missed_ones_are_weighed_against_those_at_rest_too() -> None:
    fleet = [instance(f"m{n}", n) for n in range(1, 11)]
    strangers = [instance(f"s{n}", 90 + n) for n in range(6)]
    known = at_rest(account(*(session(n, instance_id=f"m{n}") for n in range(1, 11))), *fleet)
    assert look(known, *fleet, *strangers[:5]).fleet == Fleet()
    assert look(known, *fleet, *strangers).fleet.change == "appeared"
    assert look(known, *fleet[:5]).fleet == Fleet()
    assert look(known, *fleet[:4]).fleet.change == "vanished"


def test_a_session_that_is_gone_leaves_its_machine_to_be_looked_at() -> None:
    (seen,) = look(evolve(at_rest(BOUND, MACHINE), sessions={}), MACHINE).tracks
    assert seen.kind is OrphanKind.UNKNOWN


def test_two_machines_of_which_one_stirs_are_told_apart() -> None:
    both = (session(1, instance_id="m1"), session(2, instance_id="m2"))
    without = [session(number, SessionState.ENDED) for number in (3, 4)]
    known = at_rest(account(*both, *without), MACHINE, instance("m2", 2))
    observed = look(known, evolve(MACHINE))
    assert [track.instance.id for track in observed.tracks] == ["m2"]
    assert observed.rest.machines.keys() == {"m1"}
    assert observed.rest.until == known.rest.until, "m1 was at rest all the time"
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


@pytest.mark.parametrize(("moment", "goes_on"), [("since", True), ("until", False)])
def test_a_rest_is_from_its_first_moment_to_before_its_last_one(moment: str, *, goes_on: bool) -> None:
    known = at_rest(BOUND, MACHINE)
    at = getattr(known.rest, moment)
    observed = observe(known, evolve(snapshot(MACHINE, at=at), ended_at=at), SETTINGS, at)
    assert (observed.rest.until == known.rest.until) is goes_on


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
    assert observed.rest.told == NOTHING, "it began anew"
    assert observed.rest.until > known.rest.until


def test_an_incomplete_listing_ends_no_rest_and_uses_none() -> None:
    known = at_rest(BOUND, MACHINE)
    (seen,) = look(known, MACHINE, complete=False).tracks
    assert seen.last_seen_at == LATER + timedelta(seconds=1)
    observed = look(known, evolve(MACHINE, price_per_hour=0.7), complete=False)
    assert [track.instance.price_per_hour for track in observed.tracks] == [0.7]
    assert observed.rest is known.rest

"""The session state machine."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from shopperd.lifecycle import (
    FOLLOWS,
    IllegalTransition,
    Step,
    advance,
    best_claimant,
    bound,
    is_expired,
    knows_deadline,
    may_come_back,
    moved,
    revived,
)
from shopperd.model import CreateOutcome, Instance, InstanceState, Session, SessionState, Track
from shopperd.settings import SessionSettings
from tests.nouns import NOW, instance, session, snapshot, track

ARROWS = [(before, after) for before, afters in FOLLOWS.items() for after in sorted(afters)]


@pytest.mark.parametrize(("before", "after"), ARROWS)
def test_every_arrow_can_be_gone(before: SessionState, after: SessionState) -> None:
    assert moved(session(1, before), after, NOW).state is after


@pytest.mark.parametrize("before", SessionState)
@pytest.mark.parametrize("after", SessionState)
def test_nothing_else_can(before: SessionState, after: SessionState) -> None:
    if after in FOLLOWS[before] or after is before:
        return
    with pytest.raises(IllegalTransition, match=f"is {before} and cannot become {after}"):
        moved(session(1, before), after, NOW)


def test_every_state_is_in_the_table() -> None:
    assert set(FOLLOWS) == set(SessionState)


def test_what_is_over_comes_alive_no_more() -> None:
    assert FOLLOWS[SessionState.ENDED] == {SessionState.ENDING}
    assert FOLLOWS[SessionState.FAILED] == {SessionState.ENDING}


def test_what_is_ending_never_comes_alive_again() -> None:
    assert FOLLOWS[SessionState.ENDING] == {SessionState.ENDED}


def test_a_session_that_is_over_knows_since_when() -> None:
    ended = moved(session(1, SessionState.ENDING), SessionState.ENDED, NOW, reason="done")
    assert (ended.ended_at, ended.reason, ended.state_since) == (NOW, "done", NOW)


def test_a_reason_is_kept_until_there_is_another() -> None:
    ending = session(1, SessionState.ENDING, reason="ended by request")
    assert moved(ending, SessionState.ENDED, NOW).reason == "ended by request"
    assert moved(ending, SessionState.ENDED, NOW, reason="done").reason == "done"


def test_a_session_that_comes_back_is_not_over_any_more() -> None:
    lost = moved(session(1), SessionState.LOST, NOW)
    assert moved(lost, SessionState.RUNNING, NOW).ended_at is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (InstanceState.STARTING, SessionState.STARTING),
        (InstanceState.RUNNING, SessionState.RUNNING),
        (InstanceState.STOPPED, SessionState.STOPPED),
        (InstanceState.UNKNOWN, SessionState.STARTING),
    ],
)
def test_binding_takes_over_the_instances_state(state: InstanceState, expected: SessionState) -> None:
    creating = session(1, SessionState.CREATING, create_outcome=CreateOutcome.UNCLEAR)
    tied = bound(creating, instance("a", 1, state=state), NOW)
    assert (tied.state, tied.instance_id, tied.create_outcome) == (expected, "a", CreateOutcome.ACCEPTED)


def test_an_unknown_word_of_the_provider_changes_no_state() -> None:
    running = session(1, instance_id="a")
    assert bound(running, instance("a", 1, state=InstanceState.UNKNOWN), NOW).state is SessionState.RUNNING


def test_a_lost_session_that_comes_back_in_an_unknown_word_starts() -> None:
    lost = session(1, SessionState.LOST, instance_id="a", ended_at=NOW)
    assert bound(lost, instance("a", 1, state=InstanceState.UNKNOWN), NOW).state is SessionState.STARTING


def test_a_price_that_is_not_told_is_kept() -> None:
    running = session(1, instance_id="a", price_per_hour=0.7)
    assert bound(running, instance("a", 1, price_per_hour=None), NOW).price_per_hour == 0.7


def test_a_card_that_is_not_told_is_kept() -> None:
    running = session(1, instance_id="a", gpu="RTX 4090", gpu_count=2)
    kept = bound(running, instance("a", 1), NOW)
    assert (kept.gpu, kept.gpu_count) == ("RTX 4090", 2)


def test_binding_an_ending_session_does_not_revive_it() -> None:
    ending = session(1, SessionState.ENDING)
    assert bound(ending, instance("a", 1), NOW).state is SessionState.ENDING


def test_the_running_one_is_bound_before_an_older_one() -> None:
    old = instance("a", 1, state=InstanceState.STOPPED, started_at=NOW - timedelta(days=1))
    assert best_claimant([old, instance("b", 1)]) == instance("b", 1)


def test_one_that_tells_its_age_is_bound_before_one_that_does_not() -> None:
    untold = instance("a", 1, started_at=None)
    assert best_claimant([untold, instance("b", 1)]) == instance("b", 1)
    assert best_claimant([instance("c", 1, started_at=None), untold]) == untold, "of two such, the lower id"


def test_nobody_is_bound_where_nobody_is() -> None:
    assert best_claimant([]) is None


@pytest.mark.parametrize(
    ("expires", "longest", "expected"),
    [
        (None, 0.0, False),
        (0, 0.0, True),
        (1, 0.0, False),
        (None, 3600.0, True),
        (None, 3601.0, False),
        (1, 60.0, True),
        (None, 1.0, True),
    ],
)
def test_deadlines(expires: int | None, longest: float, *, expected: bool) -> None:
    at = None if expires is None else NOW + timedelta(seconds=expires)
    one = session(1, expires_at=at)
    assert is_expired(one, SessionSettings(max_lifetime=longest), NOW) is expected


@pytest.mark.parametrize(
    ("restored", "set_at", "known"),
    [(None, None, True), (-3601, None, True), (-3600, None, True), (-3599, None, False), (0, 0, True), (1, 0, False)],
)
def test_a_deadline_is_known_if_it_was_set_since_the_restore(
    restored: int | None, set_at: int | None, *, known: bool
) -> None:
    restored_at, deadline_set_at = (None if at is None else NOW + timedelta(seconds=at) for at in (restored, set_at))
    due = session(1, expires_at=NOW, deadline_set_at=deadline_set_at)
    assert knows_deadline(due, restored_at) is known
    assert knows_deadline(evolve(due, expires_at=None), restored_at), "there is none that could have been extended"


def test_a_lost_session_takes_its_instance_back_only_for_a_while() -> None:
    lost = moved(session(1), SessionState.LOST, NOW)
    rules = SessionSettings(resurrection_window=60.0)
    assert may_come_back(lost, rules, NOW + timedelta(seconds=59))
    assert not may_come_back(lost, rules, NOW + timedelta(seconds=60))
    assert not may_come_back(evolve(lost, state=SessionState.ENDED), rules, NOW)
    assert not may_come_back(evolve(lost, ended_at=None), rules, NOW), "nobody knows since when it is lost"


@pytest.mark.parametrize("over", [SessionState.ENDED, SessionState.FAILED])
def test_what_a_late_answer_rented_goes_before_its_session_is_over_again(over: SessionState) -> None:
    before = session(1, over, ended_at=NOW - timedelta(hours=1), reason="the create had no clear answer")
    assert revived(before, "a", NOW) == evolve(
        before,
        state=SessionState.ENDING,
        instance_id="a",
        state_since=NOW,
        ended_at=None,
        reason="its create was answered when it was over",
    )


# --- what a snapshot moves --------------------------------------------------------------------------------------------

RULES = SessionSettings(create_deadline=600.0, resurrection_window=3600.0)

EXPECTED = session(1, SessionState.EXPECTED, create_outcome=CreateOutcome.NONE)
WAITING = session(1, SessionState.CREATING, create_outcome=CreateOutcome.NONE, create_deadline_at=NOW)
UNCLEAR = evolve(WAITING, create_outcome=CreateOutcome.UNCLEAR)
RUNNING = session(1, instance_id="a", price_per_hour=0.5)
DUE = evolve(RUNNING, expires_at=NOW)
ENDING = session(1, SessionState.ENDING, instance_id="a", reason="ended by request")
ENDING_UNCLEAR = evolve(UNCLEAR, state=SessionState.ENDING, reason="ended by request")
LOST = session(1, SessionState.LOST, instance_id="a", ended_at=NOW, reason="its instance is gone")
LOST_ID = evolve(LOST, reason="its id names another machine now")

THERE = track(instance("a", 1))
GONE = track(instance("a", 1), gone_at=NOW)
MISSED = track(instance("a", 1, price_per_hour=0.6), absences=1)


def minutes(count: float) -> datetime:
    return NOW + timedelta(minutes=count)


def stepped(
    before: Session, own: Track | None = None, tagged: Instance | None = None, *, complete: bool = True, **more: Any
) -> Step | None:
    """Where a snapshot at NOW moves a session of which `own` is remembered, and which holds `tagged` with its tag."""
    tracks = {} if own is None else {own.instance.id: own}
    return advance(before, tracks, () if tagged is None else (tagged,), snapshot(complete=complete), RULES, NOW, **more)


def told(**changed: Any) -> Track:
    """The instance of RUNNING, with something else to tell."""
    return track(instance("a", 1, **changed))


@pytest.mark.parametrize(
    ("before", "seen", "changed", "kind", "message"),
    [
        pytest.param(
            EXPECTED,
            {"tagged": instance("a", 1, gpu="RTX 4090", gpu_count=2)},
            {
                "state": SessionState.RUNNING,
                "state_since": NOW,
                "instance_id": "a",
                "gpu": "RTX 4090",
                "gpu_count": 2,
                "price_per_hour": 0.5,
            },
            "session.bound",
            "instance a carries its tag",
            id="found by its tag",
        ),
        pytest.param(
            WAITING,
            {"complete": False},
            {
                "state": SessionState.FAILED,
                "state_since": NOW,
                "ended_at": NOW,
                "reason": "the create was never requested before its deadline",
            },
            "session.failed",
            "the create was never requested before its deadline",
            id="never requested until its deadline",
        ),
        pytest.param(
            UNCLEAR,
            {},
            {
                "state": SessionState.FAILED,
                "state_since": NOW,
                "ended_at": NOW,
                "reason": "the create had no clear answer and no instance with its tag appeared",
            },
            "session.failed",
            "the create had no clear answer and no instance with its tag appeared",
            id="not found by a listing that began at its deadline",
        ),
        pytest.param(
            evolve(UNCLEAR, created_at=minutes(60), create_deadline_at=minutes(70)),
            {},
            {"create_deadline_at": minutes(10)},
            "",
            "",
            id="asked for by a clock that was put back",
        ),
        pytest.param(
            evolve(EXPECTED, expires_at=NOW),
            {},
            {"state": SessionState.ENDED, "state_since": NOW, "ended_at": NOW, "reason": "expired"},
            "session.ended",
            "its deadline passed before an instance was seen",
            id="expired without an instance",
        ),
        pytest.param(
            evolve(UNCLEAR, expires_at=NOW),
            {},
            {"state": SessionState.ENDING, "state_since": NOW, "reason": "expired"},
            "session.expired",
            "its deadline passed",
            id="expired while an instance may still come",
        ),
        pytest.param(
            DUE,
            {"own": THERE},
            {"state": SessionState.ENDING, "state_since": NOW, "reason": "expired"},
            "session.expired",
            "its deadline passed",
            id="expired with an instance",
        ),
        pytest.param(
            RUNNING,
            {"own": GONE, "tagged": instance("b", 1)},
            {"instance_id": "b"},
            "session.rebound",
            "instance a is gone and b carries its tag",
            id="moved to another instance",
        ),
        pytest.param(
            RUNNING,
            {"own": GONE, "tagged": instance("b", 1, state=InstanceState.STARTING)},
            {"instance_id": "b", "state": SessionState.STARTING, "state_since": NOW},
            "session.rebound",
            "instance a is gone and b carries its tag",
            id="moved to an instance that starts",
        ),
        pytest.param(
            RUNNING,
            {"own": GONE},
            {"state": SessionState.LOST, "state_since": NOW, "ended_at": NOW, "reason": "its instance is gone"},
            "session.lost",
            "instance a is proven gone",
            id="lost",
        ),
        pytest.param(
            RUNNING,
            {"own": GONE, "replaced": True},
            {
                "state": SessionState.LOST,
                "state_since": NOW,
                "ended_at": NOW,
                "reason": "its id names another machine now",
            },
            "session.lost",
            "the id a names another machine now",
            id="lost to a re-used id",
        ),
        pytest.param(
            RUNNING,
            {"own": told(state=InstanceState.STOPPED)},
            {"state": SessionState.STOPPED, "state_since": NOW},
            "session.stopped",
            "instance a is stopped",
            id="stopped",
        ),
        pytest.param(
            RUNNING,
            {"own": told(state=InstanceState.STARTING)},
            {"state": SessionState.STARTING, "state_since": NOW},
            "session.starting",
            "instance a is starting",
            id="starting again",
        ),
        pytest.param(RUNNING, {"own": told(price_per_hour=0.6)}, {"price_per_hour": 0.6}, "", "", id="at a new price"),
        pytest.param(RUNNING, {"own": told(gpu="RTX 4090")}, {"gpu": "RTX 4090"}, "", "", id="with its card told"),
        pytest.param(RUNNING, {"own": told(gpu_count=2)}, {"gpu_count": 2}, "", "", id="with its cards counted"),
        pytest.param(
            evolve(RUNNING, create_outcome=CreateOutcome.UNCLEAR),
            {"own": THERE},
            {"create_outcome": CreateOutcome.ACCEPTED},
            "",
            "",
            id="there, whatever the answer was",
        ),
        pytest.param(
            ENDING,
            {"own": GONE},
            {"state": SessionState.ENDED, "state_since": NOW, "ended_at": NOW},
            "session.ended",
            "instance a is proven gone",
            id="over with its instance",
        ),
        pytest.param(
            ENDING_UNCLEAR,
            {"tagged": instance("a", 1)},
            {"instance_id": "a", "price_per_hour": 0.5, "create_outcome": CreateOutcome.ACCEPTED},
            "session.bound",
            "instance a carries its tag, and goes",
            id="found after it was ended",
        ),
        pytest.param(
            ENDING_UNCLEAR,
            {},
            {"state": SessionState.ENDED, "state_since": NOW, "ended_at": NOW},
            "session.ended",
            "it never had an instance",
            id="not found after it was ended",
        ),
        pytest.param(
            evolve(ENDING_UNCLEAR, create_deadline_at=None),
            {"complete": False},
            {"state": SessionState.ENDED, "state_since": NOW, "ended_at": NOW},
            "session.ended",
            "it never had an instance",
            id="ended without a deadline to wait for",
        ),
        pytest.param(
            evolve(ENDING_UNCLEAR, create_outcome=CreateOutcome.REFUSED, create_deadline_at=minutes(5)),
            {"tagged": instance("a", 1)},
            {"state": SessionState.ENDED, "state_since": NOW, "ended_at": NOW},
            "session.ended",
            "it never had an instance",
            id="ended with a create that was refused, whatever carries its tag",
        ),
        pytest.param(
            LOST,
            {"own": track(instance("a", tag=None))},
            {"state": SessionState.RUNNING, "state_since": NOW, "ended_at": None, "price_per_hour": 0.5},
            "session.returned",
            "instance a is back",
            id="back, without its tag",
        ),
        pytest.param(
            LOST_ID,
            {"own": track(instance("a", tag=None)), "tagged": instance("b", 1)},
            {
                "state": SessionState.RUNNING,
                "state_since": NOW,
                "ended_at": None,
                "price_per_hour": 0.5,
                "instance_id": "b",
            },
            "session.returned",
            "instance b is back",
            id="back under another id",
        ),
        pytest.param(
            LOST,
            {"own": THERE, "replaced": True},
            {"reason": "its id names another machine now"},
            "",
            "",
            id="lost, and its id used again since",
        ),
        pytest.param(
            evolve(LOST, ended_at=minutes(60)),
            {},
            {"ended_at": NOW},
            "",
            "",
            id="lost by a clock that was put back",
        ),
    ],
)
def test_a_step_tells_what_moved_and_why(
    before: Session, seen: dict[str, Any], changed: dict[str, Any], kind: str, message: str
) -> None:
    assert stepped(before, **seen) == Step(evolve(before, **changed), kind, message)


@pytest.mark.parametrize(
    ("before", "seen"),
    [
        pytest.param(session(1, SessionState.ENDED, instance_id="a"), {"own": THERE}, id="ended"),
        pytest.param(session(1, SessionState.FAILED), {"tagged": instance("a", 1)}, id="failed"),
        pytest.param(EXPECTED, {}, id="registered, and not rented yet"),
        pytest.param(evolve(EXPECTED, create_deadline_at=minutes(-1)), {}, id="registered, with an old deadline"),
        pytest.param(evolve(WAITING, create_deadline_at=None), {}, id="waiting, without a deadline"),
        pytest.param(evolve(WAITING, create_deadline_at=minutes(1)), {}, id="waiting, before its deadline"),
        pytest.param(UNCLEAR, {"complete": False}, id="unclear, and looked for in half a listing"),
        pytest.param(
            evolve(UNCLEAR, created_at=NOW, create_deadline_at=minutes(11)), {}, id="asked for just now, for long"
        ),
        pytest.param(
            evolve(UNCLEAR, created_at=minutes(1), create_deadline_at=minutes(10)),
            {},
            id="asked for in the future, with a deadline as long as any",
        ),
        pytest.param(
            evolve(UNCLEAR, created_at=minutes(1), create_deadline_at=minutes(5)),
            {},
            id="asked for in the future, with a deadline that is near",
        ),
        pytest.param(evolve(EXPECTED, created_at=minutes(1)), {}, id="registered in the future"),
        pytest.param(DUE, {"own": THERE, "deadline_is_known": False}, id="due, by a deadline of before a restore"),
        pytest.param(RUNNING, {}, id="running, and never listed"),
        pytest.param(RUNNING, {"own": THERE}, id="running, as it was"),
        pytest.param(RUNNING, {"own": told(price_per_hour=None)}, id="running, without a word about its price"),
        pytest.param(RUNNING, {"own": told(state=InstanceState.UNKNOWN)}, id="running, in an unknown word"),
        pytest.param(RUNNING, {"own": MISSED}, id="running, and missed"),
        pytest.param(ENDING, {"own": THERE}, id="ending, and there"),
        pytest.param(ENDING, {}, id="ending, and never listed"),
        pytest.param(ENDING_UNCLEAR, {"complete": False}, id="ending, and looked for in half a listing"),
        pytest.param(LOST, {}, id="lost just now"),
        pytest.param(evolve(LOST, ended_at=None), {"own": THERE}, id="lost, and nobody knows since when"),
        pytest.param(LOST, {"own": GONE}, id="lost, and gone"),
        pytest.param(LOST, {"own": track(instance("a", tag="renamed"))}, id="lost, and named otherwise"),
        pytest.param(LOST_ID, {"own": track(instance("a", tag=None))}, id="lost to a re-used id"),
        pytest.param(LOST_ID, {"replaced": True}, id="lost to a re-used id, once more"),
        pytest.param(evolve(LOST, ended_at=minutes(-60)), {"own": THERE}, id="lost for too long"),
    ],
)
def test_a_session_that_nothing_moves_stays(before: Session, seen: dict[str, Any]) -> None:
    assert stepped(before, **seen) is None


@pytest.mark.parametrize(("began", "fails"), [(-1, False), (0, True)])
def test_a_create_is_given_up_by_a_listing_that_began_at_its_deadline_or_later(began: int, *, fails: bool) -> None:
    listing = snapshot(at=NOW + timedelta(seconds=began))
    step = advance(UNCLEAR, {}, (), listing, RULES, minutes(1))
    assert (step is not None and step.session.state is SessionState.FAILED) is fails

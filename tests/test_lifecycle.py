"""The session state machine."""

from datetime import timedelta

import pytest
from attrs import evolve

from shopperd.lifecycle import (
    FOLLOWS,
    IllegalTransition,
    best_claimant,
    bound,
    is_expired,
    may_come_back,
    moved,
)
from shopperd.model import CreateOutcome, InstanceState, SessionState
from shopperd.settings import SessionSettings
from tests.nouns import NOW, instance, session

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


def test_a_price_that_is_not_told_is_kept() -> None:
    running = session(1, instance_id="a", price_per_hour=0.7)
    assert bound(running, instance("a", 1, price_per_hour=None), NOW).price_per_hour == 0.7


def test_binding_an_ending_session_does_not_revive_it() -> None:
    ending = session(1, SessionState.ENDING)
    assert bound(ending, instance("a", 1), NOW).state is SessionState.ENDING


def test_the_running_one_is_bound_before_an_older_one() -> None:
    old = instance("a", 1, state=InstanceState.STOPPED, started_at=NOW - timedelta(days=1))
    assert best_claimant([old, instance("b", 1)]) == instance("b", 1)


def test_nobody_is_bound_where_nobody_is() -> None:
    assert best_claimant([]) is None


@pytest.mark.parametrize(
    ("expires", "longest", "expected"),
    [(None, 0.0, False), (0, 0.0, True), (1, 0.0, False), (None, 3600.0, True), (None, 3601.0, False), (1, 60.0, True)],
)
def test_deadlines(expires: int | None, longest: float, *, expected: bool) -> None:
    at = None if expires is None else NOW + timedelta(seconds=expires)
    one = session(1, expires_at=at)
    assert is_expired(one, SessionSettings(max_lifetime=longest), NOW) is expected


def test_a_lost_session_takes_its_instance_back_only_for_a_while() -> None:
    lost = moved(session(1), SessionState.LOST, NOW)
    rules = SessionSettings(resurrection_window=60.0)
    assert may_come_back(lost, rules, NOW + timedelta(seconds=59))
    assert not may_come_back(lost, rules, NOW + timedelta(seconds=60))
    assert not may_come_back(evolve(lost, state=SessionState.ENDED), rules, NOW)

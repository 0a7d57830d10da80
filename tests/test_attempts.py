"""The pace of destroys: how long from request to request, how many in an hour, whose turn it is, and what is stuck."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shopperd.attempts import (
    FREE_ATTEMPTS,
    FUTURE_SECONDS,
    HOUR_SECONDS,
    JITTER_SHARE,
    Recent,
    ages_seconds,
    attempts_per_hour,
    backoff_seconds,
    is_due,
    is_first,
    is_repeated,
    is_stuck,
    next_in_turn,
    pause_seconds,
    repeats_per_hour,
    wait_seconds,
)
from shopperd.model import DestroyJob, HoldReason
from shopperd.settings import DestroySettings
from tests.nouns import NOW, job

RULES = DestroySettings()
HARMLESS = (HoldReason.LAST_LOOK, HoldReason.LIMIT_PER_HOUR)

paces = st.tuples(st.floats(2.0, 300.0), st.floats(1.0, 100.0)).map(
    lambda pair: DestroySettings(retry_min=pair[0], retry_max=pair[0] * pair[1])
)
jobs = st.builds(
    job,
    st.text("ab", min_size=1, max_size=2),
    id=st.integers(1, 50),
    attempts=st.integers(0, 60),
    hold=st.none() | st.sampled_from(HoldReason),
    requested_at=st.integers(0, 90_000).map(lambda ago: NOW - timedelta(seconds=ago)),
    next_attempt_at=st.integers(-900, 900).map(lambda ahead: NOW + timedelta(seconds=ahead)),
)


def ago(seconds: float, **more: Any) -> DestroyJob:
    """A job that was recorded so long ago."""
    return job("7", requested_at=NOW - timedelta(seconds=seconds), **more)


class TestWaits:
    def test_they_double_from_the_first_to_the_longest(self) -> None:
        waits = [wait_seconds(job("7", attempts=sent), RULES, NOW) for sent in range(1, 10)]
        assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]

    def test_a_stuck_one_waits_an_hour_and_a_little_more_or_less(self) -> None:
        stuck = job("7", attempts=RULES.stuck_attempts)
        waits = [wait_seconds(stuck, RULES, NOW, jitter) for jitter in (0.9, 1.0, 1.1)]
        assert waits == pytest.approx([3240.0, 3600.0, 3960.0])

    @hypothesis_settings(deadline=None)
    @given(jobs, st.floats(1.0 - JITTER_SHARE, 1.0 + JITTER_SHARE))
    def test_none_is_longer_than_that_of_a_stuck_one(self, one: DestroyJob, jitter: float) -> None:
        """Whatever happened, a destroy is tried again: it is never given up."""
        assert 0.0 < wait_seconds(one, RULES, NOW, jitter) <= RULES.retry_stuck * (1.0 + JITTER_SHARE)

    def test_very_many_tries_make_no_number_overflow(self) -> None:
        assert backoff_seconds(10**9, RULES) == RULES.retry_max
        assert backoff_seconds(10**9, DestroySettings(retry_min=0.05, retry_max=1e9)) == 0.05 * 2.0**30

    def test_they_are_longer_and_shorter_by_the_jitter(self) -> None:
        assert [backoff_seconds(1, RULES, jitter) for jitter in (0.9, 1.1)] == pytest.approx([9.0, 11.0])


class TestStuck:
    def test_one_that_was_asked_for_very_often_is(self) -> None:
        assert not is_stuck(job("7", attempts=RULES.stuck_attempts - 1), RULES, NOW)
        assert is_stuck(job("7", attempts=RULES.stuck_attempts), RULES, NOW)

    def test_one_that_goes_on_for_very_long_is(self) -> None:
        assert not is_stuck(ago(RULES.stuck_after - 1, attempts=FREE_ATTEMPTS), RULES, NOW)
        assert is_stuck(ago(RULES.stuck_after, attempts=FREE_ATTEMPTS), RULES, NOW)

    def test_one_that_the_provider_accepted_long_ago_and_nobody_could_prove_is(self) -> None:
        asked = ago(RULES.stuck_after, attempts=1)
        assert is_stuck(evolve(asked, accepted_at=asked.requested_at), RULES, NOW)
        assert not is_stuck(evolve(asked, accepted_at=NOW - timedelta(seconds=60)), RULES, NOW)

    def test_one_whose_machine_cannot_be_looked_at_for_very_long_is(self) -> None:
        assert is_stuck(ago(RULES.stuck_after, hold=HoldReason.LAST_LOOK), RULES, NOW)

    def test_one_that_waited_while_shopperd_was_down_is_not(self) -> None:
        assert not is_stuck(ago(10 * RULES.stuck_after), RULES, NOW)
        assert not is_stuck(ago(10 * RULES.stuck_after, attempts=1), RULES, NOW)

    @pytest.mark.parametrize("hold", [reason for reason in HoldReason if reason not in HARMLESS])
    def test_one_that_a_guard_holds_only_waits(self, hold: HoldReason) -> None:
        assert not is_stuck(ago(10 * RULES.stuck_after, attempts=FREE_ATTEMPTS, hold=hold), RULES, NOW)

    def test_one_that_is_proven_gone_is_not(self) -> None:
        assert not is_stuck(ago(10 * RULES.stuck_after, attempts=99, gone_at=NOW), RULES, NOW)


class TestTurns:
    def test_what_was_never_tried_goes_before_what_was_and_that_before_what_is_stuck(self) -> None:
        late = NOW - timedelta(hours=1)
        stuck = job("stuck", id=1, attempts=RULES.stuck_attempts, next_attempt_at=late)
        again = job("again", id=2, attempts=1, next_attempt_at=late)
        blind = job("blind", id=3, hold=HoldReason.LAST_LOOK, next_attempt_at=late)
        first = job("first", id=4, next_attempt_at=NOW)
        left = [stuck, again, blind, first]
        order = []
        while (chosen := next_in_turn(left, RULES, NOW)) is not None:
            order.append(chosen.instance_id)
            left.remove(chosen)
        assert order == ["first", "again", "blind", "stuck"]

    def test_what_is_not_due_has_no_turn(self) -> None:
        assert next_in_turn([job("7", next_attempt_at=NOW + timedelta(seconds=1))], RULES, NOW) is None
        assert next_in_turn([], RULES, NOW) is None

    def test_what_waits_for_longer_than_anybody_waits_was_put_off_by_a_clock_ahead(self) -> None:
        longest = RULES.retry_max * (1.0 + JITTER_SHARE) + FUTURE_SECONDS
        assert not is_due(job("7", next_attempt_at=NOW + timedelta(seconds=longest)), RULES, NOW)
        assert is_due(job("7", next_attempt_at=NOW + timedelta(seconds=longest + 1)), RULES, NOW)

    @hypothesis_settings(deadline=None)
    @given(st.lists(jobs, max_size=8))
    def test_no_first_one_that_is_due_ever_waits_for_another_kind(self, some: list[DestroyJob]) -> None:
        chosen = next_in_turn(some, RULES, NOW)
        due = [one for one in some if is_due(one, RULES, NOW)]
        assert (chosen is None) is (due == [])
        if chosen is not None and any(is_first(one) for one in due):
            assert is_first(chosen)
        if chosen is not None and is_stuck(chosen, RULES, NOW):
            assert all(is_stuck(one, RULES, NOW) or not is_first(one) for one in due)


class TestLimits:
    def test_the_defaults(self) -> None:
        assert (attempts_per_hour(RULES), repeats_per_hour(RULES)) == (15, 120)

    def test_a_pace_that_never_slows_down_has_no_doublings_to_allow_for(self) -> None:
        assert attempts_per_hour(evolve(RULES, retry_min=600.0)) == 1 + 7

    def test_the_limit_for_one_machine_is_a_window_that_slides(self) -> None:
        limit = attempts_per_hour(RULES)
        ages = tuple(100.0 * (number + 1) for number in range(limit))
        assert pause_seconds(job("7"), RULES, [Recent(machine=ages[1:])]) == 0.0
        assert pause_seconds(job("7"), RULES, [Recent(machine=ages)]) == HOUR_SECONDS - ages[-1]
        assert pause_seconds(job("7"), RULES, [Recent(machine=(*ages, 10_000.0))]) == HOUR_SECONDS - ages[-1]

    def test_the_limit_of_an_account_holds_only_what_does_not_go_away(self) -> None:
        full = Recent(repeats=(600.0,) * repeats_per_hour(RULES))
        assert pause_seconds(job("7", attempts=FREE_ATTEMPTS - 1), RULES, [full]) == 0.0
        assert pause_seconds(job("7", attempts=FREE_ATTEMPTS), RULES, [full]) == 3000.0

    def test_two_hundred_orphans_may_each_be_asked_for_three_times_in_an_hour(self) -> None:
        """They are first requests and their two repetitions: the limiter's spacing alone bounds them."""
        sent = [number for number in range(200) for _ in range(FREE_ATTEMPTS)]
        repeats = tuple(1.0 for place, number in enumerate(sent) if is_repeated(job("7", attempts=place % 3)))
        assert repeats == ()
        assert pause_seconds(job("7", attempts=2), RULES, [Recent(repeats=repeats)]) == 0.0

    def test_of_several_histories_the_strictest_counts(self) -> None:
        """A clock that was set makes what is written down look old; what was measured does not."""
        full = (60.0,) * attempts_per_hour(RULES)
        assert pause_seconds(job("7"), RULES, [Recent(), Recent(machine=full)]) == 3540.0
        assert pause_seconds(job("7"), RULES, [Recent(machine=full), Recent()]) == 3540.0

    def test_what_lies_in_the_future_does_not_count(self) -> None:
        moments = [NOW + timedelta(seconds=offset) for offset in (-60.0, 2.0, FUTURE_SECONDS, 86400.0)]
        assert ages_seconds(moments, NOW) == (60.0, 0.0, 0.0)

    @given(paces)
    @hypothesis_settings(max_examples=60, deadline=None)
    def test_the_backoff_by_itself_never_reaches_it(self, rules: DestroySettings) -> None:
        rules = evolve(rules, stuck_attempts=1000, retry_stuck=rules.retry_max)
        limit = attempts_per_hour(rules)
        waits = [wait_seconds(job("7", attempts=sent), rules, NOW, 1.0 - JITTER_SHARE) for sent in range(1, limit + 1)]
        at = sum(waits)
        assert at >= HOUR_SECONDS - 1e-6

    @given(paces, st.lists(st.floats(0.0, 900.0), max_size=120))
    @hypothesis_settings(max_examples=100, deadline=None)
    def test_however_often_it_is_woken_no_hour_holds_more(self, rules: DestroySettings, wakes: list[float]) -> None:
        """Woken at any moment, it asks if it may: never more than the limit in any window of an hour."""
        now, sent = 0.0, list[float]()
        for pause in wakes:
            now += pause
            one = job("7", attempts=len(sent))
            ages = tuple(now - at for at in sent)
            wait = pause_seconds(one, rules, [Recent(machine=ages, repeats=ages[FREE_ATTEMPTS:])])
            assert 0.0 <= wait <= HOUR_SECONDS
            if wait == 0.0:
                sent.append(now)
            elif wait > 0.001:
                later = tuple(age + wait for age in ages)
                assert pause_seconds(one, rules, [Recent(machine=later, repeats=later[FREE_ATTEMPTS:])]) < 0.001
        for start in sent:
            within = [at for at in sent if start <= at < start + HOUR_SECONDS]
            assert len(within) <= attempts_per_hour(rules)

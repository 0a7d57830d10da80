"""The limiter in virtual time: what is asserted are the seconds that passed. How its pacer learns is in `test_pacing`."""

import asyncio
from itertools import pairwise

import pytest

from shopperd.providers.contract import Unclear, Withheld
from shopperd.providers.limiter import Blocks, Endpoint, Limiter, Published
from shopperd.providers.pacing import HINT_SECONDS_MAX, QUOTA_SECONDS_MAX
from shopperd.providers.spacing import GAP_SECONDS_MAX
from shopperd.settings import LimitSettings
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock

PUBLISHED = Published({Endpoint.LIST: 1.0, Endpoint.DESTROY: 3.0, Endpoint.CREATE: 4.5, Endpoint.OFFERS: 6.0})
LABELS = {"account": "main", "provider": "vastai"}


def limiter(
    clock: FakeClock, metrics: Metrics, published: Published = PUBLISHED, overrides: LimitSettings | None = None
) -> Limiter:
    return Limiter(clock, published, overrides or LimitSettings(), metrics=metrics, **LABELS)


async def called(subject: Limiter, endpoint: Endpoint, *, urgent: bool = False) -> None:
    """A call that is answered at once, and says nothing of the limit since it is given up."""
    ticket = await subject.wait(endpoint, urgent=urgent)
    subject.sent(ticket)
    subject.abandoned(ticket)


async def refused(
    subject: Limiter,
    endpoint: Endpoint,
    retry_after: float | None = None,
    threshold: float | None = None,
    blocks: Blocks | None = None,
) -> None:
    """A call that is refused for its frequency at once."""
    ticket = await subject.wait(endpoint)
    subject.sent(ticket)
    subject.refused(ticket, retry_after, threshold, blocks)


async def moments(clock: FakeClock, subject: Limiter, endpoint: Endpoint, count: int) -> list[float]:
    """When each of so many calls, asked for at once, may go."""
    went: list[float] = []

    async def call() -> None:
        await called(subject, endpoint)
        went.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(call())
    return went


def gaps(went: list[float]) -> list[float]:
    return [round(later - earlier, 6) for earlier, later in pairwise(went)]


async def test_the_first_call_goes_at_once_and_each_further_one_an_interval_later(
    clock: FakeClock, metrics: Metrics
) -> None:
    assert await moments(clock, limiter(clock, metrics), Endpoint.LIST, 4) == [0.0, 1.0, 2.0, 3.0]


async def test_classes_do_not_wait_for_each_other(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    for endpoint in Endpoint:
        await called(subject, endpoint)
    assert clock.monotonic() == 0.0


async def test_all_classes_share_the_rate_of_the_account(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics, Published(shared=0.6))
    for endpoint in Endpoint:
        await called(subject, endpoint)
    assert clock.monotonic() == pytest.approx(4 * 0.6)


async def test_the_settings_overrule_the_published_interval(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics, overrides=LimitSettings(list=0.25))
    assert await moments(clock, subject, Endpoint.LIST, 3) == [0.0, 0.25, 0.5]


async def test_while_no_answer_is_there_the_next_call_waits_for_the_latest_time_of_arrival(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    subject.sent(await subject.wait(Endpoint.LIST))
    await subject.wait(Endpoint.LIST)
    assert clock.monotonic() == pytest.approx(1.0 / 0.45)


async def test_nobody_of_a_class_goes_while_one_has_its_turn_and_is_not_sent(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    first = await subject.wait(Endpoint.LIST)
    second = asyncio.create_task(subject.wait(Endpoint.LIST))
    await clock.sleep(30.0)
    assert not second.done()
    await called(subject, Endpoint.DESTROY)
    assert clock.monotonic() == 30.0
    subject.sent(first)
    subject.abandoned(first)
    await second
    assert clock.monotonic() == 31.0


# Hints.


async def test_a_threshold_in_a_refusal_becomes_the_interval(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await refused(subject, Endpoint.LIST, threshold=10.0)
    went = await moments(clock, subject, Endpoint.LIST, 3)
    assert went[0] >= 10.0
    assert gaps(went) == [10.0, 10.0]
    assert subject.interval_seconds(Endpoint.LIST) == 10.0


async def test_a_threshold_below_the_interval_lowers_nothing(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await refused(subject, Endpoint.DESTROY, threshold=0.5)
    assert subject.interval_seconds(Endpoint.DESTROY) > 3.0


async def test_retry_after_shuts_the_class_for_that_long(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await refused(subject, Endpoint.LIST, 30.0)
    await subject.wait(Endpoint.LIST)
    assert 30.0 < clock.monotonic() < 31.0


async def test_retry_after_shuts_only_its_own_class(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await refused(subject, Endpoint.LIST, 30.0)
    await subject.wait(Endpoint.DESTROY)
    assert clock.monotonic() == 0.0


async def test_a_refusal_of_the_account_shuts_every_class(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await refused(subject, Endpoint.LIST, 30.0, blocks=Blocks.ACCOUNT)
    await subject.wait(Endpoint.DESTROY)
    assert clock.monotonic() > 30.0


async def test_a_published_habit_says_what_a_silent_refusal_shuts(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics, Published(shared=0.6, blocks=Blocks.ACCOUNT))
    await refused(subject, Endpoint.OFFERS)
    assert subject.blocked_seconds(Endpoint.DESTROY) >= 1.0


@pytest.mark.parametrize("hint", [0.0, -5.0, float("nan"), float("inf"), -float("inf")])
async def test_a_useless_hint_still_backs_off(clock: FakeClock, metrics: Metrics, hint: float) -> None:
    subject = limiter(clock, metrics)
    await refused(subject, Endpoint.LIST, hint)
    await subject.wait(Endpoint.LIST)
    assert 1.0 <= clock.monotonic() <= 2.0


async def test_a_hint_of_years_is_cut_to_an_hour(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await refused(subject, Endpoint.LIST, 1e9)
    await subject.wait(Endpoint.LIST)
    assert HINT_SECONDS_MAX < clock.monotonic() < HINT_SECONDS_MAX * 1.03


async def test_a_used_up_quota_shuts_until_its_reset_and_teaches_nothing(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await refused(subject, Endpoint.OFFERS, 7200.0, blocks=Blocks.QUOTA)
    assert subject.interval_seconds(Endpoint.OFFERS) == 6.0
    await subject.wait(Endpoint.LIST)
    assert clock.monotonic() == 0.0
    await subject.wait(Endpoint.OFFERS)
    assert 7200.0 < clock.monotonic() < 7210.0


async def test_a_quota_is_never_waited_for_longer_than_a_day_and_an_hour(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await refused(subject, Endpoint.OFFERS, 1e9, blocks=Blocks.QUOTA)
    await subject.wait(Endpoint.OFFERS)
    assert QUOTA_SECONDS_MAX < clock.monotonic() < QUOTA_SECONDS_MAX * 1.002


# Without hints.


async def test_refusals_without_a_hint_back_off_longer_each_time_up_to_a_bound(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    pauses: list[float] = []
    for _ in range(14):
        await refused(subject, Endpoint.LIST)
        pauses.append(subject.blocked_seconds(Endpoint.LIST))
    assert pauses[:6] == sorted(pauses[:6])
    assert pauses[0] > 1.0
    assert GAP_SECONDS_MAX <= pauses[-1] <= GAP_SECONDS_MAX * 1.25


@pytest.mark.parametrize("blocks", [Blocks.ACCOUNT, Blocks.ENDPOINT])
async def test_two_clients_that_are_refused_together_do_not_come_back_together(
    metrics: Metrics, blocks: Blocks
) -> None:
    waits: list[float] = []
    for seed in (1, 2):
        subject = limiter(FakeClock(seed=seed), metrics, Published(shared=0.6, blocks=blocks))
        await refused(subject, Endpoint.LIST)
        waits.append(subject.blocked_seconds(Endpoint.LIST))
    assert waits[0] != waits[1]


# Who goes first.


async def test_money_savers_go_first_whoever_came_first(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics, Published(shared=1.0))
    await called(subject, Endpoint.DESTROY)
    await called(subject, Endpoint.DESTROY)
    order: list[Endpoint] = []

    async def call(endpoint: Endpoint) -> None:
        await called(subject, endpoint)
        order.append(endpoint)

    async with asyncio.TaskGroup() as group:
        for endpoint in reversed(Endpoint):
            group.create_task(call(endpoint))
    assert order == list(Endpoint)


async def test_within_a_class_the_first_to_come_goes_first(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    order: list[int] = []

    async def call(number: int) -> None:
        await called(subject, Endpoint.LIST)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(call(number))
    assert order == list(range(6))


async def test_a_class_whose_own_interval_is_shut_does_not_hold_up_the_others(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics, Published({Endpoint.DESTROY: 100.0}, shared=1.0))
    await called(subject, Endpoint.DESTROY)
    waiting = asyncio.create_task(subject.wait(Endpoint.DESTROY))
    await asyncio.sleep(0)
    await called(subject, Endpoint.OFFERS)
    assert clock.monotonic() == 1.0
    await waiting
    assert clock.monotonic() == 100.0


# Cancelling.


async def test_a_cancelled_waiter_leaves_the_queue_at_once_and_takes_no_turn(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    await called(subject, Endpoint.LIST)
    tasks = [asyncio.create_task(subject.wait(Endpoint.LIST)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[1].cancel()
    await asyncio.wait(tasks[:2])
    assert clock.monotonic() == 0.0
    await tasks[2]
    assert clock.monotonic() == 1.0


async def test_a_waiter_that_is_cancelled_just_after_its_turn_came_gives_it_back(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    await called(subject, Endpoint.LIST)
    other = await subject.wait(Endpoint.DESTROY)
    first = asyncio.create_task(subject.wait(Endpoint.LIST))
    second = asyncio.create_task(subject.wait(Endpoint.LIST))
    await asyncio.sleep(0)
    clock.advance(1.0)
    subject.give_back(other)  # anything that makes it look at the queue: the first one's turn has come
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    await second
    assert clock.monotonic() == 1.0


async def test_one_that_is_cancelled_and_has_not_noticed_yet_when_its_turn_comes_gives_it_back_once(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    other = await subject.wait(Endpoint.OFFERS)
    await called(subject, Endpoint.LIST)
    waiting = asyncio.create_task(subject.wait(Endpoint.LIST))
    await asyncio.sleep(0)
    waiting.cancel()
    clock.advance(1.0)
    subject.give_back(other)  # anything that makes it look at the queue
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await called(subject, Endpoint.LIST)
    assert clock.monotonic() == 1.0


async def test_no_timer_is_left_when_nobody_waits(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await called(subject, Endpoint.LIST)
    task = asyncio.create_task(subject.wait(Endpoint.LIST))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 3
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Outages.


async def outage(subject: Limiter) -> None:
    for _ in range(5):
        ticket = await subject.wait(Endpoint.SHOW)
        subject.sent(ticket)
        subject.unanswered(ticket)


async def test_in_an_outage_reads_and_creates_are_held_back_and_destroys_slow_down(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    await outage(subject)
    for endpoint in (Endpoint.LIST, Endpoint.SHOW, Endpoint.OFFERS):
        with pytest.raises(Unclear, match="not answered"):
            await subject.wait(endpoint)
    with pytest.raises(Withheld, match="not answered"):
        await subject.wait(Endpoint.CREATE)
    assert clock.monotonic() == 0.0
    await called(subject, Endpoint.SHOW, urgent=True)
    assert clock.monotonic() == 0.0
    await called(subject, Endpoint.DESTROY)
    assert clock.monotonic() == 5.0


async def test_the_first_answer_after_an_outage_lets_destroys_go_at_once(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await outage(subject)
    looked = await subject.wait(Endpoint.SHOW, urgent=True)
    subject.sent(looked)
    subject.succeeded(looked)
    await called(subject, Endpoint.DESTROY)
    assert clock.monotonic() == 0.0


async def test_after_a_pause_one_call_asks_whether_the_outage_is_over_and_its_answer_lets_all_go(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    await outage(subject)
    clock.advance(7.0)
    probe = await subject.wait(Endpoint.SHOW)
    subject.sent(probe)
    with pytest.raises(Unclear):
        await subject.wait(Endpoint.LIST)
    subject.succeeded(probe)
    await subject.wait(Endpoint.LIST)


async def test_an_outage_that_goes_on_is_asked_about_ever_more_rarely(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await outage(subject)
    tried: list[float] = []
    while len(tried) < 8:
        clock.advance(1.0)
        try:
            ticket = await subject.wait(Endpoint.SHOW)
        except Unclear:
            continue
        subject.sent(ticket)
        subject.unanswered(ticket)
        tried.append(clock.monotonic())
    assert gaps(tried)[:3] == sorted(gaps(tried)[:3])
    assert max(gaps(tried)) <= 60.0 * 1.25 + 1.0


async def test_who_waits_in_the_queue_when_an_outage_begins_is_held_back_too(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    await called(subject, Endpoint.LIST)
    waiting = asyncio.create_task(subject.wait(Endpoint.LIST))
    await asyncio.sleep(0)
    await outage(subject)
    with pytest.raises(Unclear):
        await waiting


# What is shown.


async def test_the_metrics_tell_what_was_learned_and_why(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"shopperd_{name}", {**LABELS, **labels})

    assert value("ratelimit_interval_seconds", endpoint="create") == 4.5
    assert value("ratelimit_blocked_seconds", endpoint="create") == 0.0
    await refused(subject, Endpoint.CREATE, 20.0)
    await refused(subject, Endpoint.LIST, threshold=2.0)
    await refused(subject, Endpoint.OFFERS, 50.0, blocks=Blocks.QUOTA)
    await refused(subject, Endpoint.SHOW)
    for endpoint, cause in (
        ("create", "retry_after"),
        ("list", "threshold"),
        ("offers", "quota"),
        ("show", "no_hint"),
    ):
        assert value("ratelimit_backoffs_total", endpoint=endpoint, cause=cause) == 1.0
    blocked = value("ratelimit_blocked_seconds", endpoint="create")
    assert blocked is not None
    assert blocked > 20.0
    assert value("ratelimit_backoff_seconds_total", endpoint="create", cause="retry_after") == blocked
    clock.advance(5.0)
    assert value("ratelimit_blocked_seconds", endpoint="create") == pytest.approx(blocked - 5.0)


async def test_the_limits_tell_what_was_learned_from_what_and_how_the_last_hour_was(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics, overrides=LimitSettings(show=2.5))
    assert subject.limits.intervals == {
        "shared": 0.0,
        "destroy": 3.0,
        "create": 4.5,
        "list": 1.0,
        "show": 2.5,
        "offers": 6.0,
    }
    assert subject.limits.learned_from["show"] == "settings"
    await refused(subject, Endpoint.LIST, 36.0)
    await called(subject, Endpoint.LIST)
    limits = subject.limits
    assert (limits.calls_last_hour, limits.refused_last_hour) == (2, 1)
    assert limits.blocked_share == pytest.approx(1.0, abs=0.1)
    assert limits.learned_from["list"] == "retry_after"
    clock.advance(3700.0)
    assert subject.limits.calls_last_hour == 0
    assert subject.limits.blocked_share == 0.0


async def test_the_share_of_time_that_was_blocked_is_told_as_it_passes(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    clock.advance(3600.0)
    await refused(subject, Endpoint.OFFERS, retry_after=6 * 3600.0, blocks=Blocks.QUOTA)
    assert subject.limits.blocked_share == pytest.approx(0.0, abs=0.01)
    clock.advance(360.0)
    assert subject.limits.blocked_share == pytest.approx(0.1, abs=0.01)
    clock.advance(3600.0)
    assert subject.limits.blocked_share == pytest.approx(1.0, abs=0.01)
    clock.advance(5 * 3600.0)
    assert 0.5 < subject.limits.blocked_share < 1.0
    await refused(subject, Endpoint.LIST, retry_after=36.0)
    clock.advance(1800.0)
    await refused(subject, Endpoint.SHOW, retry_after=360.0)
    await refused(subject, Endpoint.LIST, retry_after=36.0)
    clock.advance(3400.0)
    assert subject.limits.blocked_share == pytest.approx(0.1, abs=0.03)


async def test_what_was_learned_a_week_ago_is_forgotten(clock: FakeClock, metrics: Metrics) -> None:
    before = limiter(clock, metrics)
    assert before.learned is None
    await refused(before, Endpoint.LIST, threshold=4.0)
    learned = before.learned
    assert learned is not None
    clock.advance(6 * 86_400.0)
    lately = limiter(clock, metrics)
    lately.recall(learned)
    assert lately.interval_seconds(Endpoint.LIST) == pytest.approx(4.4)
    clock.advance(2 * 86_400.0)
    late = limiter(clock, metrics)
    late.recall(learned)
    assert late.interval_seconds(Endpoint.LIST) == 1.0


async def test_what_a_clock_that_was_ahead_noted_shuts_nothing_for_longer_than_it_said(
    clock: FakeClock, metrics: Metrics
) -> None:
    before = limiter(clock, metrics)
    await refused(before, Endpoint.LIST, retry_after=30.0)
    learned = before.learned
    assert learned is not None
    clock.jump(-86_400.0)
    after = limiter(clock, metrics)
    after.recall(learned)
    assert 0.0 < after.blocked_seconds(Endpoint.LIST) < 60.0


def test_every_class_names_the_method_of_the_contract() -> None:
    assert {endpoint.operation for endpoint in Endpoint} == {
        "destroy_instance",
        "create_instance",
        "list_all_instances",
        "get_instance_status",
        "list_offers",
    }


async def test_an_urgent_read_goes_before_the_listings_that_wait(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics, Published(shared=1.0))
    went: list[str] = []

    async def call(name: str, endpoint: Endpoint, *, urgent: bool = False) -> None:
        await called(subject, endpoint, urgent=urgent)
        went.append(name)

    subject.sent(await subject.wait(Endpoint.OFFERS))
    async with asyncio.TaskGroup() as group:
        group.create_task(call("list", Endpoint.LIST))
        group.create_task(call("read", Endpoint.SHOW))
        group.create_task(call("urgent", Endpoint.SHOW, urgent=True))
    assert went == ["urgent", "list", "read"]

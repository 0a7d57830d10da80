"""The limiter in virtual time: what is asserted are the seconds that passed."""

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopperd.providers.limiter import Blocks, Endpoint, Limiter, Published
from shopperd.providers.pacing import (
    AGING_GRANTS,
    HINT_SECONDS_MAX,
    INTERVAL_SECONDS_MAX,
    QUOTA_SECONDS_MAX,
    Pacer,
)
from shopperd.settings import LimitSettings
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock

PUBLISHED = Published({Endpoint.LIST: 1.0, Endpoint.DESTROY: 3.0, Endpoint.CREATE: 4.5, Endpoint.OFFERS: 6.0})
LABELS = {"account": "main", "provider": "vastai"}


def limiter(
    clock: FakeClock, metrics: Metrics, published: Published = PUBLISHED, overrides: LimitSettings | None = None
) -> Limiter:
    return Limiter(clock, published, overrides or LimitSettings(), metrics=metrics, **LABELS)


def pacer(published: Published = PUBLISHED) -> Pacer:
    return Pacer(published, LimitSettings(), random.Random(3))


async def moments(clock: FakeClock, subject: Limiter, endpoint: Endpoint, count: int) -> list[float]:
    """When each of so many calls, asked for at once, may go."""
    went: list[float] = []

    async def call() -> None:
        await subject.wait(endpoint)
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
        await subject.wait(endpoint)
    assert clock.monotonic() == 0.0


async def test_all_classes_share_the_interval_of_the_account(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics, Published(shared=0.6))
    for endpoint in Endpoint:
        await subject.wait(endpoint)
    assert clock.monotonic() == pytest.approx(4 * 0.6)


async def test_the_settings_overrule_the_published_interval(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics, overrides=LimitSettings(list=0.25))
    assert await moments(clock, subject, Endpoint.LIST, 3) == [0.0, 0.25, 0.5]


async def test_an_interval_counts_from_halfway_to_the_answer(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await subject.wait(Endpoint.LIST)
    clock.advance(0.4)
    subject.succeeded(Endpoint.LIST)
    await subject.wait(Endpoint.LIST)
    assert clock.monotonic() == pytest.approx(1.2)


async def test_a_slow_answer_does_not_count_as_a_slow_way(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await subject.wait(Endpoint.CREATE)
    clock.advance(4.0)
    subject.succeeded(Endpoint.CREATE)
    await subject.wait(Endpoint.CREATE)
    assert clock.monotonic() == pytest.approx(5.0)


# Hints.


async def test_a_threshold_in_a_refusal_becomes_the_interval(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await subject.wait(Endpoint.LIST)
    subject.refused(Endpoint.LIST, threshold_seconds=10.0)
    went = await moments(clock, subject, Endpoint.LIST, 3)
    assert went[0] >= 10.0
    assert gaps(went) == [10.0, 10.0]
    assert subject.interval_seconds(Endpoint.LIST) == 10.0


async def test_a_threshold_below_the_interval_lowers_nothing(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.DESTROY, threshold_seconds=0.5)
    assert subject.interval_seconds(Endpoint.DESTROY) > 3.0


async def test_retry_after_shuts_the_class_for_that_long(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.LIST, retry_after_seconds=30.0)
    await subject.wait(Endpoint.LIST)
    assert 30.0 < clock.monotonic() < 31.0


async def test_retry_after_shuts_only_its_own_class(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.LIST, retry_after_seconds=30.0)
    await subject.wait(Endpoint.DESTROY)
    assert clock.monotonic() == 0.0


async def test_a_refusal_of_the_account_shuts_every_class(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.LIST, retry_after_seconds=30.0, blocks=Blocks.ACCOUNT)
    await subject.wait(Endpoint.DESTROY)
    assert clock.monotonic() > 30.0


async def test_a_published_habit_says_what_a_silent_refusal_shuts(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics, Published(shared=0.6, blocks=Blocks.ACCOUNT))
    subject.refused(Endpoint.OFFERS)
    assert subject.blocked_seconds(Endpoint.DESTROY) >= 1.0


@pytest.mark.parametrize("hint", [0.0, -5.0, float("nan"), float("inf"), -float("inf")])
async def test_a_useless_hint_still_backs_off(clock: FakeClock, metrics: Metrics, hint: float) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.LIST, retry_after_seconds=hint)
    await subject.wait(Endpoint.LIST)
    assert 1.0 <= clock.monotonic() <= 2.0


async def test_a_hint_of_years_is_cut_to_an_hour(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.LIST, retry_after_seconds=1e9)
    await subject.wait(Endpoint.LIST)
    assert HINT_SECONDS_MAX < clock.monotonic() < HINT_SECONDS_MAX * 1.03


async def test_a_used_up_quota_shuts_until_its_reset_and_teaches_nothing(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.OFFERS, retry_after_seconds=7200.0, blocks=Blocks.QUOTA)
    assert subject.interval_seconds(Endpoint.OFFERS) == 6.0
    await subject.wait(Endpoint.LIST)
    assert clock.monotonic() == 0.0
    await subject.wait(Endpoint.OFFERS)
    assert 7200.0 < clock.monotonic() < 7210.0


async def test_a_quota_is_never_waited_for_longer_than_a_day_and_an_hour(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.OFFERS, retry_after_seconds=1e9, blocks=Blocks.QUOTA)
    await subject.wait(Endpoint.OFFERS)
    assert QUOTA_SECONDS_MAX < clock.monotonic() < QUOTA_SECONDS_MAX * 1.002


# Without hints.


async def test_refusals_without_a_hint_back_off_longer_each_time_up_to_a_minute(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    pauses: list[float] = []
    for _ in range(12):
        await subject.wait(Endpoint.LIST)
        began = clock.monotonic()
        subject.refused(Endpoint.LIST)
        pauses.append(subject.blocked_seconds(Endpoint.LIST))
        assert clock.monotonic() == began
    assert pauses[:4] == sorted(pauses[:4])
    assert pauses[0] >= 1.0
    assert INTERVAL_SECONDS_MAX <= pauses[-1] <= INTERVAL_SECONDS_MAX * 1.25
    assert subject.interval_seconds(Endpoint.LIST) <= INTERVAL_SECONDS_MAX


async def test_two_clients_that_are_refused_together_do_not_come_back_together(metrics: Metrics) -> None:
    waits: list[float] = []
    for seed in (1, 2):
        subject = limiter(FakeClock(seed=seed), metrics)
        subject.refused(Endpoint.LIST)
        waits.append(subject.blocked_seconds(Endpoint.LIST))
    assert waits[0] != waits[1]


async def test_refusals_of_calls_that_were_under_way_together_slow_down_once(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.LIST)
    once = subject.interval_seconds(Endpoint.LIST)
    for _ in range(5):
        subject.refused(Endpoint.LIST)
    assert subject.interval_seconds(Endpoint.LIST) == once


async def test_success_brings_the_interval_back_slowly_and_never_below_its_start(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    subject.refused(Endpoint.LIST, threshold_seconds=10.0)
    seen: list[float] = []
    for _ in range(400):
        await subject.wait(Endpoint.LIST)
        subject.succeeded(Endpoint.LIST)
        seen.append(subject.interval_seconds(Endpoint.LIST))
    assert seen[:16] == [10.0] * 16
    assert seen == sorted(seen, reverse=True)
    assert all(later >= earlier * 0.97 or later == 1.0 for earlier, later in pairwise(seen))
    assert seen[-1] == 1.0


def test_a_wall_that_is_hit_again_is_left_alone_longer() -> None:
    subject = pacer()
    now = 0.0
    refusals: list[int] = []
    for number in range(1200):
        now += 1e-6 + max(0.0, subject.blocked_seconds(Endpoint.LIST, now))
        subject.enter(Endpoint.LIST)
        assert subject.grant(now) is not None
        if subject.spacings[Endpoint.LIST].interval < 5.0:
            subject.refused(Endpoint.LIST, now, threshold=5.0)
            refusals.append(number)
        else:
            subject.succeeded(Endpoint.LIST, now)
    assert len(refusals) <= 1200 * 0.02
    assert refusals[-1] - refusals[-2] > refusals[2] - refusals[1]


# Who goes first.


async def test_money_savers_go_first_whoever_came_first(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics, Published(shared=1.0))
    await subject.wait(Endpoint.LIST)
    order: list[Endpoint] = []

    async def call(endpoint: Endpoint) -> None:
        await subject.wait(endpoint)
        order.append(endpoint)

    async with asyncio.TaskGroup() as group:
        for endpoint in reversed(Endpoint):
            group.create_task(call(endpoint))
    assert order == list(Endpoint)
    assert clock.monotonic() == 5.0


async def test_within_a_class_the_first_to_come_goes_first(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    order: list[int] = []

    async def call(number: int) -> None:
        await subject.wait(Endpoint.LIST)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(call(number))
    assert order == list(range(6))


async def test_a_class_whose_own_interval_is_shut_does_not_hold_up_the_others(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics, Published({Endpoint.DESTROY: 100.0}, shared=1.0))
    await subject.wait(Endpoint.DESTROY)
    waiting = asyncio.create_task(subject.wait(Endpoint.DESTROY))
    await asyncio.sleep(0)
    await subject.wait(Endpoint.OFFERS)
    assert clock.monotonic() == 1.0
    await waiting
    assert clock.monotonic() == 100.0


@pytest.mark.parametrize("low", [endpoint for endpoint in Endpoint if endpoint.rank])
def test_the_lowest_class_goes_now_and_then_although_destroys_never_end(low: Endpoint) -> None:
    subject = pacer(Published(shared=1.0))
    subject.enter(low)
    served_after = 0
    for second in range(200):
        subject.enter(Endpoint.DESTROY)
        ticket = subject.grant(float(second))
        assert ticket is not None
        if ticket.endpoint is low:
            break
        served_after += 1
    assert served_after == AGING_GRANTS * low.rank


def test_a_destroy_waits_for_at_most_one_other_call_while_lower_classes_never_end() -> None:
    subject = pacer(Published(shared=1.0))
    for second in range(500):
        for endpoint in (Endpoint.LIST, Endpoint.SHOW, Endpoint.OFFERS):
            subject.enter(endpoint)
        if second % 10 == 5:
            destroy = subject.enter(Endpoint.DESTROY)
            served = {subject.grant(second + 0.0), subject.grant(second + 1.0)}
            assert destroy in served
        else:
            subject.grant(float(second))


# Cancelling.


async def test_a_cancelled_waiter_leaves_the_queue_at_once_and_takes_no_turn(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject = limiter(clock, metrics)
    await subject.wait(Endpoint.LIST)
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
    await subject.wait(Endpoint.LIST)
    first = asyncio.create_task(subject.wait(Endpoint.LIST))
    second = asyncio.create_task(subject.wait(Endpoint.LIST))
    await asyncio.sleep(0)
    clock.advance(1.0)
    subject.succeeded(Endpoint.DESTROY)  # anything that makes it look at the queue: the first one's turn has come
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    await second
    assert clock.monotonic() == 1.0


async def test_no_timer_is_left_when_nobody_waits(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)
    await subject.wait(Endpoint.LIST)
    task = asyncio.create_task(subject.wait(Endpoint.LIST))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 3
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Endpoint)), st.sampled_from(["go", "leave", "give back", "refuse", "fine"])),
        max_size=60,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_everybody_who_still_waits_is_served_and_no_spacing_is_broken(
    steps: list[tuple[Endpoint, str]],
) -> None:
    published = Published(dict.fromkeys(Endpoint, 2.0), shared=0.5)
    subject = pacer(published)
    now = 0.0
    used: list[tuple[float, Endpoint]] = []
    waiting = 0
    for endpoint, step in steps:
        ticket = subject.enter(endpoint)
        waiting += 1
        if step == "leave":
            subject.leave(ticket)
            waiting -= 1
        elif step == "refuse":
            subject.refused(endpoint, now)
        elif step == "fine":
            subject.succeeded(endpoint, now)
        now += 0.3
        served = subject.grant(now)
        if served is not None:
            waiting -= 1
            if step == "give back":
                subject.give_back(served)
            else:
                used.append((now, served.endpoint))
    while (at := subject.next_at()) is not None:
        now = max(now, at)
        served = subject.grant(now)
        assert served is not None
        waiting -= 1
        used.append((now, served.endpoint))
    assert waiting == 0
    assert all(later - earlier >= 0.5 - 1e-9 for (earlier, _), (later, _) in pairwise(used))
    for endpoint in Endpoint:
        own = [at for at, served_endpoint in used if served_endpoint is endpoint]
        assert all(later - earlier >= 2.0 - 1e-9 for earlier, later in pairwise(own))


# What is shown.


async def test_the_metrics_tell_what_was_learned_and_why(clock: FakeClock, metrics: Metrics) -> None:
    subject = limiter(clock, metrics)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"shopperd_{name}", {**LABELS, **labels})

    assert value("ratelimit_interval_seconds", endpoint="create") == 4.5
    assert value("ratelimit_blocked_seconds", endpoint="create") == 0.0
    subject.refused(Endpoint.CREATE, retry_after_seconds=20.0)
    subject.refused(Endpoint.LIST, threshold_seconds=2.0)
    subject.refused(Endpoint.OFFERS, retry_after_seconds=50.0, blocks=Blocks.QUOTA)
    subject.refused(Endpoint.SHOW)
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
        await subject.wait(endpoint, urgent=urgent)
        went.append(name)

    await subject.wait(Endpoint.OFFERS)
    async with asyncio.TaskGroup() as group:
        group.create_task(call("list", Endpoint.LIST))
        group.create_task(call("read", Endpoint.SHOW))
        group.create_task(call("urgent", Endpoint.SHOW, urgent=True))
    assert went == ["urgent", "list", "read"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (LimitSettings(), 0.6),
        (LimitSettings(list=5.0), 0.6),
        (LimitSettings(list=0.1), 0.1),
        (LimitSettings(list=0.1, shared=0.3), 0.3),
        (LimitSettings(shared=0.0), 0.0),
    ],
)
def test_the_accounts_own_spacing_is_never_longer_than_what_an_operator_set(
    overrides: LimitSettings, expected: float
) -> None:
    assert Pacer(Published(shared=0.6), overrides, random.Random(3)).shared.interval == expected


# What peers got wrong.


def test_clients_that_are_refused_again_and_again_do_not_come_back_together_either() -> None:
    subjects = [Pacer(PUBLISHED, LimitSettings(), random.Random(seed)) for seed in (1, 2, 3)]
    for round_ in range(5):
        now = round_ * 1000.0
        waits = [subject.refused(Endpoint.LIST, now).seconds for subject in subjects]
        assert len({round(wait, 3) for wait in waits}) == len(subjects)
        assert min(waits) >= min(2.0**round_, INTERVAL_SECONDS_MAX)

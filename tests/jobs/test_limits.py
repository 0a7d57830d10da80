"""What is kept of the limiters."""

from datetime import UTC, datetime, timedelta

from shopperd.jobs.limits import KeptLimits, keep, kept, limits_key
from shopperd.providers.learned import Layer, Learned
from shopperd.providers.limiter import Endpoint, Limiter, Published
from shopperd.settings import LimitSettings
from shopperd.store import Store, meta
from tests.jobs.desk import ACCOUNT, Desk

LEARNED = Learned(
    datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
    {
        "list": Layer(1.0, 4.5, 0.05, "threshold", 4.4, datetime(2026, 11, 22, 12, 5, tzinfo=UTC)),
        "shared": Layer(0.6, 0.8, 0.02, "probing"),
    },
)


async def test_what_was_learned_comes_back_from_the_store_as_it_was(store: Store) -> None:
    await store.run(keep, {"vast": LEARNED})
    assert await store.run(kept, ("vast", "dock")) == {"vast": LEARNED}


async def test_limits_that_cannot_be_read_are_learned_anew(store: Store) -> None:
    await store.run(meta.put, limits_key("vast"), {"at": "noon"})
    assert await store.run(kept, ("vast",)) == {}


async def test_what_a_clock_that_was_ahead_noted_is_written_over_at_once(desk: Desk) -> None:
    context = desk.context
    limiter = Limiter(
        desk.clock, Published({Endpoint.LIST: 1.0}), LimitSettings(), metrics=context.metrics, **desk.at.labels
    )
    desk.at.limiter = limiter
    await context.store.run(keep, {ACCOUNT: Learned(desk.clock.now() + timedelta(days=1), LEARNED.layers)})
    limits = KeptLimits(context)
    await limits.read()
    ticket = await limiter.wait(Endpoint.LIST)
    limiter.sent(ticket)
    limiter.refused(ticket, threshold_seconds=4.0)
    await limits.keep()
    assert (await context.store.run(kept, (ACCOUNT,)))[ACCOUNT].at == desk.clock.now()


async def test_what_stands_still_and_is_in_use_is_not_old_after_a_restart(desk: Desk) -> None:
    context = desk.context
    words = {"metrics": context.metrics, **desk.at.labels}
    limiter = Limiter(desk.clock, Published({Endpoint.LIST: 1.0}), LimitSettings(), **words)
    desk.at.limiter = limiter
    limits = KeptLimits(context)
    ticket = await limiter.wait(Endpoint.LIST)
    limiter.sent(ticket)
    limiter.refused(ticket, threshold_seconds=4.0)
    for _ in range(10):
        desk.clock.advance(86_400.0)
        await limits.keep()
    after = Limiter(desk.clock, Published({Endpoint.LIST: 1.0}), LimitSettings(), **words)
    after.recall((await context.store.run(kept, (ACCOUNT,)))[ACCOUNT])
    assert after.interval_seconds(Endpoint.LIST) == limiter.interval_seconds(Endpoint.LIST) * 1.1 > 4.0

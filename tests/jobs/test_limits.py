"""What is kept of the limiters."""

from datetime import UTC, datetime

from shopperd.jobs.limits import keep, kept, limits_key
from shopperd.providers.learned import Layer, Learned
from shopperd.store import Store, meta

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

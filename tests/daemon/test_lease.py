"""Two daemons on one store that no lock protects: one acts."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve
from prometheus_client import CollectorRegistry

from shopperd.daemon import Daemon, lease_seconds
from shopperd.settings import Settings
from shopperd.store import Store, StoreLocked
from shopperd.telemetry import Metrics
from tests.simulation.loop import VirtualClock, run

SETTINGS = Settings()
LEASE = lease_seconds(SETTINGS)


def shared_store() -> Store:
    store = Store.open("sqlite://", clock=VirtualClock(0), inline=True)
    store.binding = evolve(store.binding, shared=True)
    return store


def daemon_on(store: Store, number: int) -> Daemon:
    return Daemon(SETTINGS, store, Metrics(CollectorRegistry()), VirtualClock(number), environ={})


def test_a_second_daemon_waits_and_then_says_who_holds_the_store() -> None:
    store = shared_store()

    async def main() -> None:
        first, second = daemon_on(store, 1), daemon_on(store, 2)
        await first._wait_for_lease()
        beats = asyncio.create_task(first._beat())
        with pytest.raises(StoreLocked, match="another shopperd holds it"):
            await second._wait_for_lease()
        assert second.context.no_right
        assert not first.context.no_right
        beats.cancel()

    run(main)


def test_a_daemon_takes_over_from_one_that_died_once_its_lease_is_over() -> None:
    store = shared_store()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await daemon_on(store, 1)._wait_for_lease()
        began, second = loop.time(), daemon_on(store, 2)
        await second._wait_for_lease()
        assert LEASE <= loop.time() - began <= LEASE * 1.2
        assert not second.context.no_right

    run(main)


def test_a_daemon_that_could_not_renew_its_lease_stops_acting_before_another_one_may_begin() -> None:
    store = shared_store()

    async def main() -> None:
        first = daemon_on(store, 1)
        await first._wait_for_lease()
        await asyncio.sleep(LEASE * 0.7)
        assert "renew" in first.context.no_right
        await first._renew_lease()
        assert not first.context.no_right

    run(main)


def test_a_daemon_that_lost_its_lease_to_another_one_ends() -> None:
    store = shared_store()

    async def main() -> None:
        first, second = daemon_on(store, 1), daemon_on(store, 2)
        await first._wait_for_lease()
        await asyncio.sleep(LEASE + 1)  # as after a long standstill
        await second._wait_for_lease()
        beats = asyncio.create_task(first._beat())
        await asyncio.wait_for(first.wait(), LEASE)
        assert first.context.no_right
        beats.cancel()

    run(main)

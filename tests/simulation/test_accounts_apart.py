"""Accounts do not wait for each other: one that answers late, or never, makes no other one's view old."""

import asyncio

import pytest
from attrs import evolve

from shopperd.schedule import JITTER_SHARE
from tests.simulation import stores
from tests.simulation.hearing import silenced
from tests.simulation.house import House
from tests.simulation.loop import run
from tests.simulation.shapes import DOCK, VAST, Shape

HOURS = 1
LISTING_SECONDS = 2.0
"""One page, half a second each way at most, and a second until its turn."""


@pytest.mark.parametrize("delay", [60.0, 1e9], ids=["after a minute", "never"])
@pytest.mark.parametrize(("quick", "slow"), [(VAST, DOCK), (DOCK, VAST)])
def test_an_account_that_answers_late_or_never_makes_no_other_view_old(
    quick: str, slow: str, delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "SLOW_STORE_SHARE", 0.0)
    house = House.build(7, Shape(accounts=(quick, slow), sweep=60.0))
    accounts = {name: evolve(account, request_timeout=120.0) for name, account in house.settings.accounts.items()}
    house.settings = evolve(house.settings, accounts=accounts)
    interval = house.settings.jobs.status.interval

    async def watch() -> tuple[float, int]:
        """The greatest age of the quick account's view, in seconds, and how often the slow one's was whole."""
        provider = house.settings.accounts[slow].provider
        house.switch_on(name="slow", provider=provider, delay=delay, probability=1.0)
        life = await house.begin()
        await asyncio.sleep(interval)
        oldest, seen = 0.0, set()
        while asyncio.get_running_loop().time() < HOURS * 3600.0:
            await asyncio.sleep(0.5)
            at = life.context.accounts[quick].last_complete_at
            assert at is not None
            oldest = max(oldest, life.clock.now().timestamp() - at.timestamp())
            seen.add(life.context.accounts[slow].last_complete_at)
        house.close()
        return oldest, len(seen - {None})

    with silenced(house.ledger):
        oldest, seen = run(watch)
    assert oldest <= interval * (1 + JITTER_SHARE) + LISTING_SECONDS
    assert (seen > 0) is (delay < house.settings.accounts[slow].request_timeout)

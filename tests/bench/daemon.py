"""The daemon as a process, with its default intervals: what it uses beside a fleet, beside nothing, and until it is ready."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import aiohttp

from shopperd.clock import SystemClock
from shopperd.model import Session, tag_of
from shopperd.store import Store
from tests.bench.counted import Count, counted, watched
from tests.bench.filling import fill
from tests.bench.result import Result
from tests.nouns import session, sid
from tests.system.processes import Marketplace, marketplace

MACHINES = 1_000
SESSIONS_OF_A_START = 10_000
STARTS = 5
SETTLE_SECONDS = 60.0
WINDOW_SECONDS = 120.0
"""Six listings, two markets and one sweep of each account."""
MB = 1e6
ACCOUNTS = {"vast": "vastai", "dock": "tensordock"}

CONFIGURATION = """
[accounts.vast]
provider = "vastai"
base_url = "{vast}"
[accounts.dock]
provider = "tensordock"
base_url = "{dock}"
[web]
listen = "127.0.0.1:0"
[store]
url = "sqlite:///{store}"
[log]
level = "warning"
format = "json"
"""


def results() -> Iterable[Result]:
    """All of them."""
    with tempfile.TemporaryDirectory() as folder:
        fleet, idle, starts = asyncio.run(_measured(Path(folder)))
    yield Result("daemon.fleet.memory", fleet[1].rss_bytes / MB, "MB resident with 1,000 machines", 80.0)
    yield Result("daemon.fleet.cpu", _share(fleet) * 100, "% of a core with 1,000 machines", 2.0)
    yield Result("daemon.idle.cpu", _share(idle) * 100, "% of a core with none", 0.5)
    yield Result("daemon.start", median(starts), "s of CPU until ready with 10,000 sessions", 1.5)


def _share(window: tuple[Count, Count]) -> float:
    return (window[1].cpu_before - window[0].cpu_after) / WINDOW_SECONDS


async def _measured(folder: Path) -> tuple[tuple[Count, Count], tuple[Count, Count], list[float]]:
    async with aiohttp.ClientSession() as client, marketplace(client, folder, **{"rate-scale": 1}) as idle_market:
        starts = await _starts(idle_market, folder / "start")
        async with marketplace(client, folder, **{"rate-scale": 1}) as market:
            rented = [await _rent(market, number) for number in range(1, MACHINES + 1)]
            fleet = await asyncio.gather(
                _window(market, folder / "fleet", rented), _window(idle_market, folder / "idle", [])
            )
    return fleet[0], fleet[1], starts


async def _rent(market: Marketplace, number: int) -> Session:
    """A machine that runs, and the session that it belongs to."""
    name, provider = list(ACCOUNTS.items())[number % 2]
    wish = {"provider": provider, "tag": tag_of(sid(number)), "age_seconds": 3000}
    made = await market.ask("POST", "instances", wish)
    return _session(number, name, made["id"])


def _session(number: int, account: str, instance_id: str) -> Session:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    return session(number, account=account, provider=ACCOUNTS[account], instance_id=instance_id, created_at=hour_ago)


async def _window(market: Marketplace, folder: Path, claims: Sequence[Session]) -> tuple[Count, Count]:
    """What a daemon is made of at both ends of a while in which nothing changes."""
    async with watched(_house(market, folder, claims), folder) as (daemon, _):
        await asyncio.sleep(SETTLE_SECONDS)
        before = await counted(daemon)
        await asyncio.sleep(WINDOW_SECONDS)
        return before, await counted(daemon)


async def _starts(market: Marketplace, folder: Path) -> list[float]:
    """CPU seconds from the program's start to the line that tells that it is ready, several times on one store."""
    claims = [_session(number, list(ACCOUNTS)[number % 2], str(number)) for number in range(1, SESSIONS_OF_A_START + 1)]
    config, seconds = _house(market, folder, claims), []
    for _ in range(STARTS):
        async with watched(config, folder) as (daemon, _):
            seconds.append((await counted(daemon)).cpu_before)
    return seconds


def _house(market: Marketplace, folder: Path, claims: Sequence[Session]) -> Path:
    """A configuration, and a store that holds these sessions."""
    folder.mkdir()
    path = folder / "shopperd.db"
    store = Store.open(f"sqlite:///{path}", clock=SystemClock(), inline=True)
    store.run_sync(fill, claims)
    store.close_sync()
    config = folder / "config.toml"
    config.write_text(CONFIGURATION.format(vast=market.vastai_url, dock=market.tensordock_url, store=path))
    return config

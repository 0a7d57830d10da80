"""Half an hour of real time under every fault of the simulator, one after another: whether anything grows.

Not a part of the usual run: `make bench ARGS=soak`. The pace is some ten times that of the defaults, so that as much happens as in
five hours. What is counted in the last third is compared with the middle third; the first one is for the caches to fill.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
from attrs import define, field

from shopperd.simulator.faults import CATALOGUE
from tests.bench.counted import Count, counted, watched
from tests.bench.result import Result
from tests.simulation.faults import DRAWN, sized
from tests.system.processes import Marketplace, account, marketplace

MINUTES = 30.0
SWEEP_SECONDS = 12.0
HOUSEKEEPING_SECONDS = 30.0
COUNT_SECONDS = 15.0
FAULT_SECONDS = 5.0
PERSON_SECONDS = 2.0
SESSIONS_MAX = 16
ORPHAN_EVERY = 20
"""One in so many of a person's turns a machine appears that nobody asked for."""
PRICES_SECONDS = 300.0
"""How long prices are kept here. Events and sessions are kept for an hour at least; the simulated month looks at these."""
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA bench"
PAGES = ("/metrics", "/api/v1/sessions", "/api/v1/instances", "/api/v1/offers", "/api/v1/events", "/", "/readyz")
LIMITS = {"list": 0.1, "offers": 0.6, "show": 0.2, "create": 0.45, "destroy": 0.3, "shared": 0.05}

CONFIGURATION = """
{accounts}
[jobs]
offers = {{ interval = 15 }}
status = {{ interval = 4 }}
sweep = {{ interval = {sweep} }}
housekeeping = {{ interval = {housekeeping} }}
[orphans]
grace = 24
observe_sweeps = 0
max_share_per_hour = 1.0
[destroys]
retry_min = 1
retry_max = 30
[sessions]
create_deadline = 60
[web]
listen = "127.0.0.1:0"
[store]
url = "sqlite:///{store}"
keep_prices = {prices}
[log]
level = "error"
format = "json"
"""


@define
class Soak:
    """See the module."""

    session: aiohttp.ClientSession
    market: Marketplace
    url: str
    random: random.Random = field(factory=lambda: random.Random(4))
    asked: list[str] = field(factory=list)
    faults: int = 0

    async def troubles(self) -> None:
        """Switch every fault on in its turn, for a few seconds."""
        names = list(DRAWN)
        while True:
            self.random.shuffle(names)
            for name in names:
                values: dict[str, Any] = {"name": name, **sized(self.random, CATALOGUE[name], SWEEP_SECONDS)}
                if CATALOGUE[name].start is None or CATALOGUE[name].stop is not None:
                    values["seconds"] = round(self.random.uniform(1.0, 3.0) * FAULT_SECONDS, 1)
                await self.market.ask("POST", "faults", values)
                self.faults += 1
                await asyncio.sleep(FAULT_SECONDS)

    async def people(self) -> None:
        """Ask for sessions, end others, and look at every page."""
        for turn in itertools.count():
            await asyncio.sleep(PERSON_SECONDS)
            if turn % ORPHAN_EVERY == 0:
                tag = f"shopper-{self.random.getrandbits(128):032x}"
                tag = f"{tag[:16]}-{tag[16:20]}-4{tag[21:24]}-a{tag[25:28]}-{tag[28:40]}"
                await self.market.conjure("vastai", tag)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await self._ask("GET", PAGES[turn % len(PAGES)])
                if len(self.asked) >= SESSIONS_MAX:
                    await self._ask("POST", f"/api/v1/sessions/{self.asked.pop(0)}/end", {"reason": "not needed"})
                wish = {"account": ("vast", "dock")[turn % 2], "ssh_key": SSH_KEY, "max_price_per_hour": 50}
                made = await self._ask("POST", "/api/v1/sessions", wish)
                if isinstance(made, dict) and "id" in made:
                    self.asked.append(made["id"])

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self.session.request(method, f"{self.url}{path}", json=body) as reply:
            text = await reply.read()
            return await reply.json() if "json" in reply.content_type else text


async def soak(minutes: float, folder: Path) -> tuple[list[Count], int, dict[str, int]]:
    """What was counted, how many rows were kept for too long at the end, and how many faults and rows there were."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        marketplace(session, folder, **{"rate-scale": 0.1, "offers": 400, "boot-seconds": 2}) as market,
    ):
        store, config = folder / "shopperd.db", folder / "config.toml"
        accounts = "\n".join(
            account(name, provider, url, limits=LIMITS, exclusive=True, request_timeout=10)
            for name, provider, url in (
                ("vast", "vastai", market.vastai_url),
                ("dock", "tensordock", market.tensordock_url),
            )
        )
        config.write_text(
            CONFIGURATION.format(
                accounts=accounts,
                sweep=SWEEP_SECONDS,
                housekeeping=HOUSEKEEPING_SECONDS,
                store=store,
                prices=PRICES_SECONDS,
            )
        )
        async with watched(config, folder) as (daemon, url):
            at_work = Soak(session, market, url)
            working = [asyncio.create_task(at_work.troubles()), asyncio.create_task(at_work.people())]
            counts: list[Count] = []
            until = time.monotonic() + 60 * minutes
            while time.monotonic() < until:
                await asyncio.sleep(COUNT_SECONDS)
                counts.append(await counted(daemon))
                for task in working:
                    if task.done():
                        task.result()
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            rows, late = _rows(store)
            return counts, late, {"faults": at_work.faults} | rows


def _rows(store: Path) -> tuple[dict[str, int], int]:
    before = datetime.now(UTC) - timedelta(seconds=PRICES_SECONDS + 2 * HOUSEKEEPING_SECONDS)
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as conn:
        tables = ("sessions", "instances", "destroys", "events", "market_prices")
        rows = {table: conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}  # noqa: S608 - names from above
        late = conn.execute("SELECT count(*) FROM market_prices WHERE at < ?", (before.isoformat(),)).fetchone()[0]
    return rows, late


def growth(counts: list[Count], name: str) -> tuple[float, float]:
    """The medians of the middle third and of the last one."""
    third = len(counts) // 3
    middle, last = counts[third : 2 * third], counts[-third:]
    return median(_number(one, name) for one in middle), median(_number(one, name) for one in last)


def _number(count: Count, name: str) -> int:
    told = getattr(count, name)
    return told if isinstance(told, int) else sum(told.values())


def results() -> Iterable[Result]:
    """All of them. SOAK_MINUTES in the environment makes it shorter."""
    minutes = float(os.environ.get("SOAK_MINUTES", MINUTES))
    with tempfile.TemporaryDirectory() as folder:
        counts, late, happened = asyncio.run(soak(minutes, Path(folder)))
    print(happened, *counts, sep="\n", file=sys.stderr)
    yield Result("soak.faults", happened["faults"], "faults switched on", 10 * minutes, at_least=True)
    for name in ("rss_bytes", "objects"):
        before, now = growth(counts, name)
        yield Result(f"soak.{name}", now / before, "of the third before", 1.1)
    for name, most in (("tasks", SESSIONS_MAX / 2), ("handles", 3), ("threads", 0)):
        before, now = growth(counts, name)
        yield Result(f"soak.{name}", now - before, "more than in the third before", most)
    yield Result("soak.rows_kept_too_long", late, "rows", 0)

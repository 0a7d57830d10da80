"""A simulated month of the whole daemon, in virtual time, with people, orphans and faults: whether anything grows.

The jobs run a twentieth as often as by default, and the heart beats every five minutes, or a month would take an hour. What is kept
for 30 days by default or longer is kept for three here, so that most of the month lies beyond that. What is counted at the end of each
of the last days is compared with a week in the middle.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import sqlalchemy as sa
from attrs import define, evolve, frozen
from sqlalchemy import Connection

from shopperd import daemon
from shopperd.control import Wish
from shopperd.decisions import RequestError
from shopperd.model import Spec, tag_of
from shopperd.simulator.faults import CATALOGUE
from shopperd.simulator.request_log import RequestLog
from shopperd.store.schema import metadata
from tests.bench.result import Result, resident_bytes
from tests.nouns import sid
from tests.simulation.faults import DRAWN, sized
from tests.simulation.hearing import silenced
from tests.simulation.house import House
from tests.simulation.ledger import Sent
from tests.simulation.life import Life
from tests.simulation.loop import run
from tests.simulation.people import PRICE_MAX, SSH_KEY
from tests.simulation.shapes import DOCK, PROVIDERS, VAST, Shape

DAYS = 30
DAY_SECONDS = 86400.0
SWEEP_SECONDS = 2400.0
BEAT_SECONDS = 300.0
KEPT_SECONDS = 3 * DAY_SECONDS
CREATE_EVERY = 3600.0
LIFE_SECONDS = 4 * 3600.0
ORPHAN_EVERY = 8 * 3600.0
FAULT_EVERY = 3 * 3600.0
MIDDLE, END = slice(10, 17), slice(23, 30)
"""Days that are compared."""
FOREVER = ("tombstones",)
"""Rows that are meant to stay: an id for each session that there ever was."""


@define(eq=False)
class ForgetfulHouse(House):
    """One that judges nothing, so it need not remember anything: only what the daemon keeps shall be measured."""

    def crossed(self, kind: str) -> int:
        """Cut nobody."""
        return 0

    def note(self, sent: Sent) -> None:
        """Forget it."""

    def forget(self) -> None:
        """Forget what else was noted, and the machines of the past."""
        self.ledger.runs.clear()
        self.ledger.slow.clear()
        self.ledger.memory.clear()
        self.world.truth.past.clear()
        self.world.requests = RequestLog()


@frozen
class Day:
    """What there is at the end of one.

    Attributes:
        objects: what the garbage collector knows.
        rows: in the tables of the store.
    """

    rss_bytes: int
    objects: int
    tasks: int
    handles: int
    rows: Mapping[str, int]


def results() -> Iterable[Result]:
    """All of them."""
    days = month()
    middle, end = days[MIDDLE], days[END]

    def both(what: str) -> tuple[float, float]:
        return median(getattr(day, what) for day in middle), median(getattr(day, what) for day in end)

    for name in ("rss_bytes", "objects"):
        before, after = both(name)
        yield Result(f"month.{name}", after / before, "of the second week", 1.05)
    for name in ("tasks", "handles"):
        before, after = both(name)
        yield Result(f"month.{name}", after - before, "more than in the second week", 2.0)
    rows = {
        table: median(day.rows[table] for day in end) / max(1.0, median(day.rows[table] for day in middle))
        for table in days[0].rows
        if table not in FOREVER
    }
    yield Result("month.rows", max(rows.values()), "of the second week, of the table that grows most", 1.25)
    yield Result("month.sessions", days[-1].rows["tombstones"], "sessions that came and went", 500.0, at_least=True)


def month(days: int = DAYS) -> list[Day]:
    """What there is at the end of each day."""
    shape = Shape(accounts=(VAST, DOCK), exclusive=(VAST, DOCK), sweep=SWEEP_SECONDS)
    house = ForgetfulHouse.build(1, shape)
    house.settings = evolve(
        house.settings,
        store=evolve(
            house.settings.store,
            keep_events=KEPT_SECONDS,
            keep_sessions=KEPT_SECONDS,
            keep_prices=KEPT_SECONDS,
            keep_costs=KEPT_SECONDS,
        ),
    )
    with silenced(house.ledger), mock.patch.object(daemon, "BEAT_SECONDS", BEAT_SECONDS):
        return run(lambda: _lived(house, days))


async def _lived(house: ForgetfulHouse, days: int) -> list[Day]:
    life = await house.begin()
    await asyncio.sleep(1.0)
    rng = random.Random(2)
    around = [asyncio.create_task(_people(house, life)), asyncio.create_task(_troubles(house, rng))]
    found = []
    for _ in range(days):
        await asyncio.sleep(DAY_SECONDS)
        for task in around:
            if task.done():
                task.result()
        house.forget()
        found.append(_counted(house))
        print(found[-1], file=sys.stderr)
    for task in around:
        task.cancel()
    await asyncio.gather(*around, return_exceptions=True)
    if house.ledger.crashes:
        raise AssertionError(house.ledger.crashes[0])
    house.close()
    return found


def _counted(house: House) -> Day:
    gc.collect()
    return Day(
        rss_bytes=resident_bytes(),
        objects=len(gc.get_objects()),
        tasks=len(asyncio.all_tasks()),
        handles=len(list(Path("/proc/self/fd").iterdir())),
        rows=house.store.run_sync(_rows),
    )


def _rows(conn: Connection) -> dict[str, int]:
    return {
        name: conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for name, table in metadata.tables.items()
    }


async def _people(house: House, life: Life) -> None:
    """Somebody asks for a session every hour, and ends it some hours later; now and then there is a machine that nobody asked for."""
    loop = asyncio.get_running_loop()
    number, orphan_at = 0, 0.0
    open_ones: list[tuple[float, Any]] = []
    while True:
        number += 1
        account = house.shape.accounts[number % 2]
        wish = Wish(Spec(ssh_key=SSH_KEY, max_price_per_hour=PRICE_MAX), account, None)
        with contextlib.suppress(RequestError):
            made = await life.control.create(wish, str(number), str(number))
            open_ones.append((loop.time() + LIFE_SECONDS, made.session.id))
        while open_ones and open_ones[0][0] <= loop.time():
            _, session_id = open_ones.pop(0)
            with contextlib.suppress(RequestError):
                await life.control.end(session_id, "not needed any more")
        if loop.time() >= orphan_at:
            orphan_at = loop.time() + ORPHAN_EVERY
            house.world.conjure({"provider": PROVIDERS[account], "tag": tag_of(sid(10**9 + number))})
        await asyncio.sleep(CREATE_EVERY)


async def _troubles(house: House, rng: random.Random) -> None:
    """Every few hours something goes wrong for a while."""
    while True:
        await asyncio.sleep(FAULT_EVERY)
        name = rng.choice(DRAWN)
        values: dict[str, Any] = {"name": name, **sized(rng, CATALOGUE[name], SWEEP_SECONDS)}
        if CATALOGUE[name].start is None or CATALOGUE[name].stop is not None:
            values["seconds"] = rng.uniform(0.5, 2.0) * SWEEP_SECONDS
        house.switch_on(**values)

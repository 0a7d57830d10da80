"""Stores in memory that are made from images: one that was prepared once, or a copy that was taken of another."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol, TypeVar
from uuid import UUID

from attrs import frozen
from sqlalchemy import Connection, Engine

from shopperd.jobs.knowledge import FROZEN_KEY
from shopperd.model import Session, Track
from shopperd.store import Binding, Store, StoreError, destroys, instances, lease, memory, meta, sessions
from shopperd.store.databases import sqlite_engine
from tests.simulation.loop import VirtualClock

SLOW_STORE_SHARE = 0.01
SLOW_STORE_SECONDS = 3.0

T = TypeVar("T")


@cache
def empty_image() -> bytes:
    """The image of a new store with its tables made."""
    store = Store.open("sqlite://", clock=VirtualClock("store"), inline=True)
    try:
        return image_of(store)
    finally:
        store.close_sync()


def image_of(store: Store) -> bytes:
    """What the store holds now, between two transactions."""
    return store.run_sync(lambda conn: _raw(conn).serialize())


@cache
def _engine() -> Engine:
    """One for all stores of this process, one after another: what it compiled once, it need not compile again."""
    return sqlite_engine(None)


_newest: list[Store] = []


def open_image(image: bytes) -> Store:
    """A store in memory that holds what the image does. There is one at a time: the one before is closed."""
    while _newest:
        # Left open by a run that failed, it would give its connection back, and roll back, whenever it is found to be garbage.
        _newest.pop().close_sync()
    engine = _engine().execution_options()
    with engine.connect() as conn:
        _raw(conn).deserialize(image)
    store = Store(engine, "the store in memory", clock=VirtualClock("store"), inline=True)
    _newest.append(store)
    return store


def _raw(conn: Connection) -> sqlite3.Connection:
    raw = conn.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


@frozen
class Known:
    """What a store tells at one moment.

    Attributes:
        sessions: those of the ids asked for that it knows.
        tracks: of each account the machines that are not proven gone.
    """

    sessions: Mapping[UUID, Session]
    tracks: Mapping[str, Mapping[str, Track]]
    frozen: bool
    open_destroys: int


def known(conn: Connection, ids: Sequence[UUID], accounts: Sequence[str]) -> Known:
    """What the store tells of these sessions and accounts."""
    return Known(
        sessions.known(conn, ids),
        {account: instances.tracks(conn, account) for account in accounts},
        bool(meta.get(conn, FROZEN_KEY)),
        sum(len(destroys.open_jobs(conn, account)) for account in accounts),
    )


class Mortal(Protocol):
    """A process that may be cut where it comes by."""

    async def boundary(self, kind: str) -> None:
        """Go no further than here if the process is cut."""

    def is_busy(self) -> bool:
        """Whether the disk is busy, so that every transaction waits."""

    def slowed(self, seconds: float) -> None:
        """Note that a transaction waits so long from now on."""

    def transacted(self, name: str, result: object) -> None:
        """Note what a transaction came to."""

    def beaten(self, beat: datetime) -> None:
        """Note the newest heartbeat beside the store."""

    def epoch(self) -> float:
        """The true time, epoch seconds."""


class MortalStore:
    """The store as one life sees it: transactions take their turn, and a dead process starts none.

    Attributes:
        created: it was new when the process found it.
    """

    def __init__(self, store: Store, place: Binding, life: Mortal, rng: random.Random, *, created: bool) -> None:
        self._store = store
        self._life = life
        self._rng = rng
        self._answers = asyncio.Lock()  # one thread has the store, so answers come in the order of the transactions
        self.location = store.location
        self.binding = place
        self.created = created

    @property
    def problem(self) -> StoreError | None:
        return self._store.problem

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        await self._wait()
        name = getattr(function, "__name__", "")
        await self._life.boundary(f"transaction {name}")
        if function is lease.hold:  # PostgreSQL tells a lease's end by its own clock, whatever that of a process says
            process, _, seconds = args
            args = (process, datetime.fromtimestamp(self._life.epoch(), UTC), seconds)
        result = await self._store.run(function, *args, **kwargs)
        wrote = self._store.wrote
        async with self._answers:
            self._life.transacted(name, result)
            await self._life.boundary(f"commit {name}" if wrote else f"read {name}")
            await self._wait()
        return result

    async def beat(self, now: datetime, max_gap_seconds: float, last: datetime | None = None) -> datetime:
        """As the store's own, with the house in the place of the lock file."""
        beaten = await self.run(memory.beat, now, max_gap_seconds, last)
        self._life.beaten(beaten)
        return beaten

    async def check(self) -> None:
        await self._life.boundary("transaction check")
        await self._store.check()

    async def close(self) -> None:
        """The store outlives the process."""

    async def _wait(self) -> None:
        """The store has a thread of its own, so others run meanwhile; now and then its disk is busy."""
        if self._rng.random() < SLOW_STORE_SHARE or self._life.is_busy():
            seconds = self._rng.uniform(0.0, SLOW_STORE_SECONDS)
            self._life.slowed(seconds)
            await asyncio.sleep(seconds)
        else:
            for _ in range(self._rng.randrange(3)):
                await asyncio.sleep(0)

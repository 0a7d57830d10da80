"""The store itself: opened once, it runs whole transactions one after another on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar
from uuid import UUID

import sqlalchemy as sa
from prometheus_client import Histogram
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shopperd.clock import Clock
from shopperd.store import databases, memo, memory, meta, schema
from shopperd.store.columns import UnreadableValueError
from shopperd.store.errors import (
    RESTORE_ADVICE,
    Conflict,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
    is_busy,
    is_worth_repeating,
    store_error,
)
from shopperd.store.files import StoreFile, host_id
from shopperd.store.memo import Memo
from shopperd.store.meta import Binding

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS_AT_ONCE = 5
"""Of two transactions that collide one gets through, so most collisions are over with the first repetition."""

COLLISION_PAUSES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Seconds at most between further rounds of attempts, each drawn at random, so that two replicas fall out of step."""

_OPENS = "store.opens"
_VERSIONS = sa.table("alembic_version", sa.column("version_num"))
_VERSION = sa.select(_VERSIONS.c.version_num)
_PROBE = "store.probe"


class _CollidedError(Exception):
    """Every attempt so far collided with another writer's; nothing was changed."""

    def __init__(self, cause: DBAPIError) -> None:
        super().__init__(cause)
        self.cause = cause


class _ChangedMeanwhileError(Exception):
    """Another program wrote to the file between what was remembered and what was read: nothing was changed."""


class StoreMetrics(Protocol):
    """What of the metrics the store needs."""

    @property
    def store_duration_seconds(self) -> Histogram:
        """The seconds of a transaction, by ``operation``."""


class Store:
    """What survives. One transaction at a time, each a plain function of a connection, whole or not at all.

    A transaction may be repeated before it succeeds (two replicas that collide), so it must do nothing but read and
    write the store.

    Attributes:
        location: the file or the URL, without a password.
        created: this opening made the schema; the store remembers nothing.
        binding: where the store lives, for `meta.bind`.
        problem: the failure that still stands, None when all is well. A success takes it away; only a *written* success does
            after `StoreFull` or `StoreReadOnly`; nothing but a restart does after lasting damage.
        wrote: the newest transaction wrote something.
    """

    def __init__(
        self,
        engine: Engine,
        location: str,
        *,
        clock: Clock,
        metrics: StoreMetrics | None = None,
        inline: bool = False,
        file: StoreFile | None = None,
    ) -> None:
        self.location = location
        self.created = False
        self.binding = Binding(host_id(), location, "", continuous=False)
        self.problem: StoreError | None = None
        self._engine = engine
        self._clock = clock
        self._metrics = metrics
        self._file = file
        self._executor = None if inline else ThreadPoolExecutor(1, thread_name_prefix="store")
        self._closed = False
        self.wrote = False
        self._memo = Memo() if _is_ours_alone(engine) else None
        self._held: Connection | None = None
        self._others_changes = 0
        event.listen(engine, "after_cursor_execute", self._note_write)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        clock: Clock,
        metrics: StoreMetrics | None = None,
        password: Callable[[], str] | None = None,
        inline: bool = False,
    ) -> Store:
        """Open the store, and make or migrate its schema. This blocks; call it before the loop runs.

        Args:
            url: ``sqlite:////path``, ``sqlite://`` (in memory) or ``postgresql://...``.
            password: for PostgreSQL, asked for at each connect; None if the URL has it, or none is needed.
            inline: run transactions in the caller's thread, where a thread has no place in virtual time.

        Raises:
            StoreError: and nothing was changed. In particular, what is damaged or empty is never taken for new.
        """
        parsed = databases.parse(url)
        location = databases.location(parsed)
        if databases.is_file(parsed) and parsed.database:
            return cls._open_file(Path(parsed.database), clock=clock, metrics=metrics, inline=inline)
        if parsed.get_backend_name() == "sqlite":
            engine = databases.sqlite_engine(None)
        else:
            engine = databases.postgres_engine(parsed, password)
        store = cls(engine, location, clock=clock, metrics=metrics, inline=inline)
        identity = _new_identity(clock)
        try:
            store.created = store._transact(_prepare, (location, *identity), {})
            if engine.dialect.name == "postgresql":
                store.binding = store._transact(databases.postgres_binding, (), {})
        except BaseException:
            store._dispose()
            raise
        return store

    @classmethod
    def _open_file(cls, path: Path, *, clock: Clock, metrics: StoreMetrics | None, inline: bool) -> Store:
        file = StoreFile(path)
        location = str(file.path)
        file.lock()
        try:
            created = not file.exists()
            if created:
                _build(file, clock)
            store = cls(
                databases.sqlite_engine(file.path), location, clock=clock, metrics=metrics, inline=inline, file=file
            )
        except BaseException:
            file.release()
            raise
        try:
            store._transact(_inspect, (location,), {})
            store._transact(_prepare, (location, *_new_identity(clock)), {})
            opens, beat = store._transact(_count_opening, (), {})
            store.created = created
            store.binding = file.binding(opens - 1, beat)
            file.note_opens(opens)
            file.tighten()
            file.anchor()
        except BaseException:
            store._dispose()
            raise
        return store

    async def run(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one transaction on the store's own thread, and commit it before this returns.

        If the waiting task is cancelled, a transaction that has not begun never does; one that has goes on to its end.

        Raises:
            StoreError: the store cannot be relied on; nothing was changed, unless the message says that this is unknown.
            Conflict, or whatever the function raises: nothing was changed.
        """
        for pause in COLLISION_PAUSES:
            try:
                return await self._attempt(function, args, kwargs)
            except _CollidedError:
                await self._clock.sleep(pause * self._clock.random.random())
        try:
            return await self._attempt(function, args, kwargs)
        except _CollidedError as error:
            self._fail(error.cause)

    async def beat(self, now: datetime, max_gap_seconds: float, last: datetime | None = None) -> datetime:
        """See `memory.beat`; and have the lock file remember the beat, so that an older copy in the store's place is noticed.

        Raises:
            StoreError: as `run`.
        """
        beaten = await self.run(memory.beat, now, max_gap_seconds, last)
        if self._file is not None:
            if self._executor is None:
                self._file.note_beat(beaten)
            else:
                await asyncio.wrap_future(self._executor.submit(self._file.note_beat, beaten))
        return beaten

    def run_sync(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same without a loop, for commands and tests."""
        try:
            if self._executor is None:
                self._must_be_open()
                return self._transact(function, args, kwargs)
            return self._submit(function, args, kwargs).result()
        except _CollidedError as error:
            self._fail(error.cause)

    async def check(self) -> None:
        """Write a row and read it back: a full disk, a lost right or a file that moved is noticed without waiting for work.

        Raises:
            StoreError: what is the matter, in `problem` too.
        """
        await self.run(_probe, self._clock.now())

    async def close(self) -> None:
        """Let what was asked for finish, then give up the connection and the lock. To close twice is harmless."""
        if self._closed:
            return
        self._closed = True
        if self._executor is None:
            self._dispose()
            return
        await asyncio.wrap_future(self._executor.submit(self._dispose))
        self._executor.shutdown(wait=False)

    def close_sync(self) -> None:
        """The same without a loop."""
        if self._closed:
            return
        self._closed = True
        if self._executor is None:
            self._dispose()
            return
        self._executor.submit(self._dispose).result()
        self._executor.shutdown()

    async def _attempt(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
        if self._executor is None:
            self._must_be_open()
            return self._transact(function, args, kwargs)
        return await asyncio.wrap_future(self._submit(function, args, kwargs))

    def _must_be_open(self) -> None:
        if self._closed:
            raise StoreUnreachable(self.location, "the store is closed")

    def _submit(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Future[T]:
        self._must_be_open()
        assert self._executor is not None  # noqa: S101 - both callers have looked
        return self._executor.submit(self._transact, function, args, kwargs)

    def _transact(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
        started = self._clock.monotonic()
        try:
            return self._repeat(function, args, kwargs)
        finally:
            if self._metrics is not None:
                operation = getattr(function, "__name__", type(function).__name__).lstrip("_")
                duration = self._clock.monotonic() - started
                self._metrics.store_duration_seconds.labels(operation=operation).observe(duration)

    def _repeat(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
        if self.problem is not None and self.problem.lasting:
            raise self.problem
        waits = False
        for left in reversed(range(ATTEMPTS_AT_ONCE)):
            try:
                result = self._once(function, args, kwargs, waits=waits)
            except StoreError as error:
                self.problem = error
                raise
            except _ChangedMeanwhileError:
                continue
            except DBAPIError as error:
                if waits or not is_worth_repeating(error) or (is_busy(error) and isinstance(self.problem, StoreLocked)):
                    self._fail(error)  # whoever comes after one that has waited in vain does not wait as well
                if not left:
                    raise _CollidedError(error) from error
                waits = is_busy(error)
            except (SQLAlchemyError, UnreadableValueError, UnicodeDecodeError) as error:
                self._fail(error)
            else:
                if self.wrote or not isinstance(self.problem, StoreFull | StoreLocked | StoreReadOnly):
                    self.problem = None
                return result
        self.problem = StoreUnreachable(self.location, "another program writes to it all the time; only shopperd may")
        raise self.problem

    def _once(
        self, function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, waits: bool = False
    ) -> T:
        """One try. With `waits` it begins as a writer, for which alone SQLite waits while another program writes."""
        if self._file is not None:
            self._file.verify()
        self.wrote = False
        with self._connection() as conn:
            if waits:
                conn.info[databases.AS_WRITER] = True
            try:
                self._remember(conn)
                result = function(conn, *args, **kwargs)
                self._before_commit(conn, result)
            except BaseException:
                self._forget()
                conn.rollback()
                raise
            try:
                conn.commit()
            except DBAPIError as error:
                self._forget()
                if error.connection_invalidated:
                    raise StoreUnreachable(
                        self.location,
                        "the connection was lost during a commit, so it is unknown whether it was kept; read before writing again",
                    ) from error
                conn.rollback()
                raise
            return result

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection outside of a transaction; one begins by itself with the first statement.

        To SQLite there is one for good; what a server's connection is worth is looked at each time.
        """
        if self._memo is None:
            with self._engine.connect() as conn:
                yield conn
            return
        if self._held is None:
            self._held = self._engine.connect()
        yield self._held

    def _remember(self, conn: Connection) -> None:
        """Let this transaction use what earlier ones read, unless somebody else wrote to the file since."""
        if self._memo is None:
            return
        changes = self._changes_by_others(conn)
        if changes != self._others_changes:
            self._memo.clear()
            self._others_changes = changes
        memo.attach(conn, self._memo)

    def _forget(self) -> None:
        if self._memo is not None:
            self._memo.clear()

    def _changes_by_others(self, conn: Connection) -> int:
        """A number that differs when another connection has changed the file; inside a transaction it stands still."""
        raw = conn.connection.driver_connection
        if self._file is None or not isinstance(raw, sqlite3.Connection):
            return 0
        (changes,) = raw.execute("PRAGMA data_version").fetchone()
        return int(changes)

    def _before_commit(self, conn: Connection, result: object) -> None:
        """What must hold for the commit to mean that everything is done and kept."""
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(f"{result.__qualname__} is a coroutine function; a transaction is a plain one")
        if self._file is not None:
            self._file.verify()
        if not conn.in_transaction():
            return
        raw = conn.connection.driver_connection
        if isinstance(raw, sqlite3.Connection) and not raw.in_transaction:
            # SQLite ends a transaction by itself after some errors; whoever swallowed such an error wrote on without one.
            raise StoreUnreachable(self.location, "SQLite ended the transaction by itself after an error")
        if self._memo is not None and self._changes_by_others(conn) != self._others_changes:
            raise _ChangedMeanwhileError

    def _fail(self, error: Exception) -> NoReturn:
        meaning = store_error(error, self.location)
        if isinstance(meaning, StoreError):
            self.problem = meaning
        if isinstance(meaning, Conflict | StoreDamaged):
            raise meaning from None  # the database's own text can quote a value or the whole row, secrets and all
        if meaning is error:
            raise error
        raise meaning from error

    def _note_write(
        self,
        _conn: Connection,
        _cursor: DBAPICursor,
        _statement: str,
        _parameters: object,
        context: ExecutionContext | None,
        _executemany: bool,
    ) -> None:
        self.wrote = self.wrote or (
            isinstance(context, DefaultExecutionContext) and (context.isinsert or context.isupdate or context.isdelete)
        )

    def _dispose(self) -> None:
        try:
            if self._held is not None:
                self._held.close()
            self._engine.dispose()
        finally:
            if self._file is not None:
                self._file.release()


def _is_ours_alone(engine: Engine) -> bool:
    """Whether a lock keeps every other shopperd away; what any other program writes to a SQLite file can be noticed."""
    return engine.dialect.name == "sqlite"


def _new_identity(clock: Clock) -> tuple[UUID, datetime]:
    return UUID(int=clock.random.getrandbits(128), version=4), clock.now()


def _build(file: StoreFile, clock: Clock) -> None:
    """Make a new store beside its place, complete with its schema, and only then put it there."""
    location = str(file.path)
    draft = Store(databases.sqlite_engine(file.draft(), durable=False), location, clock=clock, inline=True)
    try:
        draft._transact(_prepare, (location, *_new_identity(clock)), {})
    finally:
        draft.close_sync()
    file.publish()


def _inspect(conn: Connection, location: str) -> None:
    """Refuse a file whose structure is broken, or that another program made."""
    trouble = conn.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if trouble != "ok":
        raise StoreDamaged(location, f"is damaged ({trouble}); {RESTORE_ADVICE}", lasting=True)
    if conn.exec_driver_sql("PRAGMA application_id").scalar_one() != databases.APPLICATION_ID:
        raise StoreDamaged(location, "is the database of another program; give shopperd a file of its own")


def _prepare(conn: Connection, location: str, store_id: UUID, now: datetime) -> bool:
    created = False
    if not _is_of_today(conn):
        # Imported when needed: it takes a tenth of a start, and as much memory as a thousand machines.
        from shopperd.store.migrate import migrate

        created = migrate(conn, location)
    if created:
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql(f"PRAGMA application_id = {databases.APPLICATION_ID}")
        meta.christen(conn, store_id, now)
    meta.identity(conn)
    return created


def _is_of_today(conn: Connection) -> bool:
    """Whether the schema needs no step. PostgreSQL is not asked: a migration must be the first in its transaction there."""
    if conn.dialect.name != "sqlite" or not sa.inspect(conn).has_table(_VERSIONS.name):
        return False
    return list(conn.scalars(_VERSION)) == [schema.REVISION]


def _count_opening(conn: Connection) -> tuple[int, datetime | None]:
    opens = meta.get(conn, _OPENS, 0) + 1
    meta.put(conn, _OPENS, opens)
    return int(opens), memory.newest_beat(conn)


def _probe(conn: Connection, now: datetime) -> None:
    meta.put(conn, _PROBE, now)
    if meta.get(conn, _PROBE) is None:
        raise UnreadableValueError("a row that was written cannot be read back")

"""The two databases: how each is reached, and what a connection to it is told first."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool, StaticPool

from shopperd.store.errors import StoreUnreachable
from shopperd.store.meta import Binding

BUSY_SECONDS = 5.0
"""How long another program's lock on the SQLite file is waited for. The store's thread stands meanwhile, so not longer."""

AS_WRITER = "as writer"
"""In a connection's `info`: its next transaction begins with the right to write, and waits for it."""

_NO_WAIT = "busy_timeout=0"
"""SQLite waits in some places and not in others; so it never does, and the transaction is begun again as a writer's."""

_SMALL_CACHE = "cache_size=-256"
"""KiB of pages that SQLite keeps. The store reads hardly anything twice, and the system keeps the file's pages too."""

STATEMENT_SECONDS = 30
"""After this long PostgreSQL gives a statement up, so that a stuck server becomes an error and not a silence."""

CONNECT_SECONDS = 5

APPLICATION_ID = 0x73686F70
"""Written into the header of our SQLite files ("shop"), so that another program's database is never taken for ours."""

SPOOL_SUFFIX = ".spool"


def parse(url: str) -> URL:
    """The URL with the driver that we use.

    Raises:
        StoreUnreachable: it names no database that we can use.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise StoreUnreachable("store.url", "it is not a URL such as sqlite:////path/to/file") from None
    backend = parsed.drivername.split("+", 1)[0]
    if backend == "sqlite":
        if parsed.query:
            raise StoreUnreachable(location(parsed), "a SQLite URL takes no options after the question mark")
        return parsed.set(drivername="sqlite+pysqlite")
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreUnreachable("store.url", "it must begin with sqlite:// or postgresql://")


def location(url: URL) -> str:
    """The store's name for people: the file, or the URL without password and options."""
    if url.get_backend_name() == "sqlite":
        return str(Path(url.database).resolve()) if is_file(url) and url.database else "the store in memory"
    # `URL.set` reads None as "unchanged", so the name is put together anew, of the parts that are no secret.
    return URL.create(
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database
    ).render_as_string()


def is_file(url: URL) -> bool:
    """Whether it is a SQLite file; else it is SQLite in memory or PostgreSQL."""
    return url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")


def spool_path(url: str, folder: Path) -> Path | None:
    """Where the spool of a store belongs: beside its file, or in the folder for one on a server; None for one in memory.

    Its name tells servers' stores apart, so that none is given what another one could not take.

    Raises:
        StoreUnreachable: the URL names no database that we can use.
    """
    parsed = parse(url)
    if is_file(parsed):
        path = Path(location(parsed))
        return path.with_name(path.name + SPOOL_SUFFIX)
    if parsed.get_backend_name() == "sqlite":
        return None
    mark = hashlib.blake2b(location(parsed).encode(), digest_size=4).hexdigest()
    return folder / f"shopperd-{mark}{SPOOL_SUFFIX}"


def sqlite_engine(path: Path | None, *, durable: bool = True) -> Engine:
    """An engine with one connection, to a file or to memory.

    With `durable`, the write-ahead log is used, and a commit returns when it is on the disk. Without, the file is complete
    in itself after each commit, which a draft that will be renamed needs.
    """
    engine = sa.create_engine(
        URL.create("sqlite+pysqlite", database=None if path is None else str(path)),
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        hide_parameters=True,  # a spec's environment must not appear in an error
        **({"poolclass": StaticPool} if path is None else _one_connection()),
    )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions by its own rules, and never around DDL or a first SELECT.
        connection.isolation_level = None
        # A damaged text reaches whoever reads it, who can tell where it was; the driver would tell nothing but that.
        connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
        mode = "WAL" if durable else "DELETE"
        (answer,) = connection.execute(f"PRAGMA journal_mode={mode}").fetchone()
        if path is not None and answer.upper() != mode:
            raise StoreUnreachable(str(path), "its file system cannot keep a write-ahead log (is it a network share?)")
        connection.execute(f"PRAGMA {_SMALL_CACHE}")
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF", "cell_size_check=ON", _NO_WAIT):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def postgres_engine(url: URL, password: Callable[[], str] | None = None) -> Engine:
    """An engine with one connection, which is looked at before it is used and made anew if it died.

    The password is asked for at each connect, so that one that was replaced is the new one then.

    Transactions are serializable, as SQLite's are, so that one set of queries means one thing. Nothing is kept in the
    server's session (prepared statements, settings): there may be a pooler in between.
    """
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "shopperd",
        "tcp_user_timeout": STATEMENT_SECONDS * 1000,  # milliseconds
    }
    try:
        engine = sa.create_engine(
            url,
            connect_args={key: value for key, value in defaults.items() if key not in url.query}
            | {"prepare_threshold": None},
            isolation_level="SERIALIZABLE",
            pool_pre_ping=True,
            hide_parameters=True,
            **_one_connection(),
        )
    except ImportError:
        raise StoreUnreachable(location(url), "PostgreSQL needs its driver; install shopperd[postgres]") from None
    if password is not None:

        def with_password(_dialect: object, _record: object, _args: object, words: dict[str, Any]) -> None:
            words["password"] = password()

        event.listen(engine, "do_connect", with_password)
    event.listen(engine, "begin", _begin_postgres)
    return engine


def postgres_binding(conn: Connection) -> Binding:
    """Which database of which cluster this is; a dump that was restored elsewhere differs."""
    cluster = ""
    if conn.scalar(sa.text("SELECT has_function_privilege('pg_catalog.pg_control_system()', 'execute')")):
        cluster = conn.scalar(sa.text("SELECT system_identifier::text FROM pg_control_system()")) or ""
    # A dump that is loaded into the same database makes its tables anew.
    query = (
        "SELECT datname AS name, oid::text || ':' || 'meta'::regclass::oid::text AS number"
        " FROM pg_database WHERE datname = current_database()"
    )
    row = conn.execute(sa.text(query)).one()
    return Binding(host=cluster, path=row.name, inode=row.number, shared=True)


def _one_connection() -> dict[str, Any]:
    return {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}


def _begin_sqlite(conn: Connection) -> None:
    if not conn.info.pop(AS_WRITER, False):
        conn.exec_driver_sql("BEGIN")
        return
    conn.exec_driver_sql(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")
    try:
        conn.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        conn.exec_driver_sql(f"PRAGMA {_NO_WAIT}")


def _begin_postgres(conn: Connection) -> None:
    conn.exec_driver_sql(
        f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'; SET LOCAL lock_timeout = '{STATEMENT_SECONDS // 2}s';"
        f" SET LOCAL idle_in_transaction_session_timeout = '{STATEMENT_SECONDS * 2}s'"
    )

"""What can go wrong with the store, and the one place where a database's error becomes one of ours.

StoreError            the store cannot be relied on now: stop acting, keep observing, say it loudly
  StoreLocked         somebody else holds it
  StoreFull           no room for another row
  StoreDamaged        what is there cannot be read as a store of ours
  StoreUnreachable    nobody answers, or the disk does not
  StoreTooNew         its schema was written by a newer shopperd
  StoreReadOnly       it may be read but not written
  StoreMoved          the file was deleted or replaced while it was in use

Conflict              the store is well; the row changed since it was read, or exists already
BadCursor             a cursor that no page of ours handed out
"""

from __future__ import annotations

import sqlite3

from sqlalchemy import exc

from shopperd.store.columns import UnreadableValueError
from shopperd.store.seals import BrokenSealError


class StoreError(Exception):
    """The store cannot be relied on. The message names the store (never its password) and says what to do.

    Attributes:
        location: the file, or the URL without its password.
        lasting: no later success can take it back; only a restart with a store set right.
    """

    def __init__(self, location: str, what: str, *, lasting: bool = False) -> None:
        super().__init__(f"{location}: {what}")
        self.location = location
        self.lasting = lasting


class StoreLocked(StoreError):
    """Another process holds the store, longer than we wait."""


class StoreOfAnother(StoreError):
    """It belongs to a deployment of another name."""


class StoreFull(StoreError):
    """There is no room for another row."""


class StoreDamaged(StoreError):
    """What is there cannot be read as a store of ours. It is never taken for a new one."""


class StoreUnreachable(StoreError):
    """The database or the disk does not answer, or refuses us."""


class StoreTooNew(StoreError):
    """The schema was written by a newer shopperd than this one."""


class StoreReadOnly(StoreError):
    """The store can be read but not written."""


class StoreMoved(StoreError):
    """The store's file was deleted, moved or replaced while it was in use: what is written would be lost."""


class Conflict(Exception):
    """The row is not as the writer believed: somebody changed it first, or it exists already. Read again, then decide."""


class BadCursor(ValueError):
    """A cursor that is not one of this list, or not in this order."""


class UnknownCursor(BadCursor):
    """A text that looks like a cursor and was handed out by no page at all."""


FULL_ADVICE = "no room left to write; free or add disk space"
READ_ONLY_ADVICE = "can be read but not written; check the owner, the permissions and how the file system is mounted"
RESTORE_ADVICE = "stop shopperd, keep the files, and restore a backup; an empty store is never assumed"

_SQLITE_ADVICE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreLocked, "is locked by another program; let its backup or transaction end"),
    sqlite3.SQLITE_LOCKED: (StoreLocked, "is locked by another transaction"),
    sqlite3.SQLITE_FULL: (StoreFull, FULL_ADVICE),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, READ_ONLY_ADVICE),
    sqlite3.SQLITE_PERM: (StoreReadOnly, READ_ONLY_ADVICE),
    sqlite3.SQLITE_CANTOPEN: (StoreUnreachable, "cannot be opened; check that its folder exists and may be written"),
    sqlite3.SQLITE_IOERR_WRITE: (
        StoreFull,
        "no write succeeds; free disk space, and check the disk, its quota and the limit on file sizes",
    ),
    sqlite3.SQLITE_IOERR: (StoreUnreachable, "the disk refuses to read or write; check it and its quota"),
}
_SQLITE_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_NO_TEXT = f"is damaged (a text in it is none); {RESTORE_ADVICE}"
_SQLITE_DAMAGE_TEXTS = ("unsupported file format", "malformed database schema")
_SQLITE_LOST_SYNC = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
"""After a failed fsync the kernel may drop the pages and report success next time, so nothing after it can be trusted."""

_POSTGRES_ADVICE: tuple[tuple[str, type[StoreError], str], ...] = (
    ("40", StoreLocked, "too many concurrent writers; it is tried again later"),
    ("55P03", StoreLocked, "a row stays locked by another transaction; look for one that was left open"),
    ("53100", StoreFull, FULL_ADVICE),
    ("25006", StoreReadOnly, "is a read-only server (a standby?); point store.url at the primary"),
    ("XX001", StoreDamaged, f"the server reports damaged data; {RESTORE_ADVICE}"),
    ("XX002", StoreDamaged, f"the server reports a damaged index; {RESTORE_ADVICE}"),
    ("42P01", StoreDamaged, f"a table is missing; {RESTORE_ADVICE}"),
    ("42703", StoreDamaged, f"a column is missing; {RESTORE_ADVICE}"),
    ("42501", StoreReadOnly, "the database user lacks the right; grant it all rights on its tables"),
    ("28", StoreUnreachable, "the server refuses the user or the password in store.url"),
    ("3D000", StoreUnreachable, "the database does not exist; create it first"),
    ("53300", StoreUnreachable, "the server has too many connections"),
    ("57014", StoreUnreachable, "a statement took too long; look at the server's load"),
)


def is_worth_repeating(error: exc.DBAPIError) -> bool:
    """Whether the whole transaction failed only because of another one, and had no effect.

    PostgreSQL: serialization_failure and deadlock_detected (its manual asks to repeat the transaction). SQLite: a read
    transaction that became a write one after somebody else had written (SQLITE_BUSY_SNAPSHOT), or while somebody else was
    writing (SQLITE_BUSY): neither waits.
    """
    if isinstance(error.orig, sqlite3.Error):
        return is_busy(error) or getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY_SNAPSHOT
    return getattr(error.orig, "sqlstate", None) in {"40001", "40P01"}


def is_busy(error: exc.DBAPIError) -> bool:
    """Whether another program writes to the SQLite file just now."""
    return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def store_error(error: Exception, location: str) -> Exception:
    """What an error of the database means: a `StoreError`, a `Conflict`, or the error of a caller's bad value."""
    if isinstance(error, BrokenSealError):
        return StoreDamaged(location, f"is damaged ({error}); {RESTORE_ADVICE}", lasting=True)
    if isinstance(error, UnreadableValueError):
        return StoreDamaged(location, f"{error}; {RESTORE_ADVICE}")
    if isinstance(error, UnicodeDecodeError):
        return StoreDamaged(location, _NO_TEXT, lasting=True)
    if not isinstance(error, exc.DBAPIError):
        if isinstance(error, exc.StatementError) and error.orig is not None:
            return error.orig if isinstance(error.orig, Exception) else error
        return error
    if isinstance(error.orig, sqlite3.Error):
        return _of_sqlite(error, error.orig, location)
    return _of_postgres(error, location)


def _of_sqlite(error: exc.DBAPIError, cause: sqlite3.Error, location: str) -> Exception:
    code = getattr(cause, "sqlite_errorcode", None) or 0
    name = getattr(cause, "sqlite_errorname", "no code")
    if code & 0xFF == sqlite3.SQLITE_CONSTRAINT:
        return Conflict(f"{cause}")
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return StoreMoved(location, "its file was deleted or replaced while in use; stop shopperd and put it back")
    if code in _SQLITE_LOST_SYNC:
        return StoreDamaged(location, "the disk failed to keep what was written; check it, then restart", lasting=True)
    if code & 0xFF in _SQLITE_DAMAGE or str(cause).startswith(_SQLITE_DAMAGE_TEXTS):
        return StoreDamaged(location, f"is damaged ({cause}); {RESTORE_ADVICE}", lasting=True)
    if isinstance(error, exc.OperationalError) and str(cause).startswith(("no such table", "no such column")):
        return StoreDamaged(location, f"is not complete ({cause}); {RESTORE_ADVICE}")
    if known := _SQLITE_ADVICE.get(code) or _SQLITE_ADVICE.get(code & 0xFF):
        kind, advice = known
        return kind(location, f"{advice} ({name})")
    if isinstance(error, exc.OperationalError) and not isinstance(cause, sqlite3.ProgrammingError):
        return StoreUnreachable(location, f"{cause} ({name})")
    return error


def _of_postgres(error: exc.DBAPIError, location: str) -> Exception:
    state = getattr(error.orig, "sqlstate", None)
    if state is None or error.connection_invalidated:
        # The driver's first line names the host and the cause, such as a refused password; never the password.
        said = str(error.orig).strip().partition("\n")[0]
        return StoreUnreachable(location, f"the server does not answer or refuses us; check that it runs ({said})")
    if state.startswith("23"):
        # The rest of its text, the detail, can quote the whole row with the secrets in it.
        return Conflict(f"{getattr(getattr(error.orig, 'diag', None), 'message_primary', state)}")
    for prefix, kind, advice in _POSTGRES_ADVICE:
        if state.startswith(prefix):
            return kind(location, f"{advice} ({state})")
    if isinstance(error, exc.OperationalError):
        return StoreUnreachable(location, f"the server does not serve us ({state})")
    return error

"""Who may act on a store that several processes can open, as PostgreSQL's: one at a time, for as long as it says so again and again.

A lease is a row and not a lock of the server's session, which would stay behind with a pooler's connection. Its end is told by the
database's clock, since that is one for all.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from attrs import frozen
from sqlalchemy import Connection

from shopperd.store import meta

_KEY = "store.holder"


@frozen
class Holder:
    """The process that holds a store, and until when if it does not renew that."""

    process: str
    until: datetime


def hold(conn: Connection, process: UUID, now: datetime, seconds: float) -> Holder | None:
    """Take or renew the lease for so many seconds; if another process holds it, that one is the answer and nothing changes."""
    moment = _moment(conn, now)
    other = _holder(conn, moment)
    if other is not None and other.process != process.hex:
        return other
    meta.put(conn, _KEY, {"process": process.hex, "until": (moment + timedelta(seconds=seconds)).isoformat()})
    return None


def holder(conn: Connection) -> Holder | None:
    """The process that holds a store on PostgreSQL now."""
    return _holder(conn, _clock_of(conn))


def release(conn: Connection, process: UUID) -> None:
    """Give the lease up, if it is this process's."""
    raw = meta.get(conn, _KEY, {})
    if isinstance(raw, dict) and raw.get("process") == process.hex:
        meta.remove(conn, _KEY)


def _holder(conn: Connection, moment: datetime) -> Holder | None:
    raw = meta.get(conn, _KEY, {})
    if not isinstance(raw, dict) or raw.get("process") is None:
        return None
    found = Holder(str(raw["process"]), datetime.fromisoformat(str(raw["until"])))
    return found if moment < found.until else None


def _moment(conn: Connection, now: datetime) -> datetime:
    return _clock_of(conn) if conn.dialect.name == "postgresql" else now


def _clock_of(conn: Connection) -> datetime:
    told: datetime = conn.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    return told

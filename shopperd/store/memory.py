"""The store's heartbeats, kept as spans: inside of one, nothing can have been missed or forgotten.

A backup that was restored carries an older last beat, and every start opens a new span; so whatever happened between the
backup and the restart lies in a gap, with nothing else to detect.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from shopperd.model import MemorySpan
from shopperd.store.schema import memory

BACKWARDS_TOLERATED = timedelta(seconds=5)
"""A clock that is set back by this much is being slewed or a leap second; more is a jump, and breaks the span."""


def wake(conn: Connection, now: datetime) -> None:
    """Open a new span: a start never continues an older one."""
    conn.execute(sa.insert(memory).values(started_at=now, last_beat_at=now))


def beat(conn: Connection, now: datetime, max_gap_seconds: float) -> None:
    """Extend the newest span, or open a new one if the last beat is further away than that, or lies in the future."""
    newest = conn.execute(sa.select(memory).order_by(memory.c.id.desc()).limit(1)).mappings().one_or_none()
    if newest is None:
        return wake(conn, now)
    passed = now - newest["last_beat_at"]
    if passed > timedelta(seconds=max_gap_seconds) or passed < -BACKWARDS_TOLERATED:
        return wake(conn, now)
    if passed > timedelta():
        conn.execute(sa.update(memory).where(memory.c.id == newest["id"]).values(last_beat_at=now))
    return None


def spans(conn: Connection, since: datetime | None = None) -> list[MemorySpan]:
    """The spans in the order in which they were opened; with `since`, those that had a beat at that moment or later."""
    query = sa.select(memory.c.started_at, memory.c.last_beat_at).order_by(memory.c.id)
    if since is not None:
        query = query.where(memory.c.last_beat_at >= since)
    return [MemorySpan(**row) for row in conn.execute(query).mappings()]


def prune_spans(conn: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` spans whose last beat is older than that moment; the newest one stays. The answer is how many."""
    newest = sa.select(sa.func.max(memory.c.id)).scalar_subquery()
    old = sa.select(memory.c.id).where(memory.c.last_beat_at < before, memory.c.id < newest)
    return conn.execute(sa.delete(memory).where(memory.c.id.in_(old.order_by(memory.c.id).limit(limit)))).rowcount

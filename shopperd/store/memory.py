"""The store's heartbeats, kept as spans: inside of one, nothing can have been missed or forgotten.

A backup that was restored carries an older last beat, and every start opens a new span; so whatever happened between the
backup and the restart lies in a gap, with nothing else to detect.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from shopperd.model import MemorySpan
from shopperd.store import memo
from shopperd.store.schema import memory

BACKWARDS_TOLERATED = timedelta(seconds=5)
"""A clock that is set back by this much is being slewed or a leap second; more is a jump, and breaks the span."""

STEP = timedelta(microseconds=1)
"""By so much a beat is later than the one before at least, whatever the clock does: of a copy of the store it can be told that it is older."""

_OPEN = sa.insert(memory)
_NEWEST = sa.select(memory.c.id, memory.c.started_at, memory.c.last_beat_at).order_by(memory.c.id.desc()).limit(1)
_EXTEND = sa.update(memory).where(memory.c.id == sa.bindparam("span")).values(last_beat_at=sa.bindparam("now"))
_LATEST = sa.select(sa.func.max(memory.c.last_beat_at))
_CUT = (
    sa.update(memory)
    .where(memory.c.last_beat_at > sa.bindparam("now"), memory.c.started_at <= sa.bindparam("now"))
    .values(last_beat_at=sa.bindparam("now"))
)
_EMPTY = sa.update(memory).where(memory.c.started_at > sa.bindparam("now")).values(last_beat_at=memory.c.started_at)
_SPANS = sa.select(memory.c.started_at, memory.c.last_beat_at).order_by(memory.c.id)


def wake(conn: Connection, now: datetime) -> datetime:
    """Open a new span: a start never continues an older one. The answer is its first beat.

    If the newest beat lies in the future, the clock was set back, and nobody knows which of the two times was right. So older spans
    end now at the latest, and the new one begins only when the clock has caught up.
    """
    newest = newest_beat(conn)
    begins = now
    if newest is not None and newest > now + BACKWARDS_TOLERATED:
        begins = newest + STEP
        conn.execute(_CUT, {"now": now})
        conn.execute(_EMPTY, {"now": now})
    conn.execute(_OPEN, {"started_at": begins, "last_beat_at": begins})
    memo.room(conn, "memory").clear()
    return begins


def beat(conn: Connection, now: datetime, max_gap_seconds: float, last: datetime | None = None) -> datetime:
    """Extend the newest span, or open a new one if the last beat is further away than that, or lies in the future.

    `last` is the beat that this process knows to be the newest one, as this function answered it; one that the store does not
    have was lost, with whatever was written around it, and that breaks the span too.
    """
    kept = memo.room(conn, "memory")
    if "newest" not in kept:
        kept["newest"] = conn.execute(_NEWEST).one_or_none()
    if kept["newest"] is None:
        return wake(conn, now)
    number, started_at, last_beat_at = kept["newest"]
    passed = now - last_beat_at
    is_lost = last is not None and last_beat_at < last
    waits = started_at > now + BACKWARDS_TOLERATED  # for a clock that was set back
    jumped = passed > timedelta(seconds=max_gap_seconds) or passed < -BACKWARDS_TOLERATED
    if is_lost or (jumped and not waits):
        return wake(conn, now)
    last_beat_at = max(now, last_beat_at + STEP)
    conn.execute(_EXTEND, {"span": number, "now": last_beat_at})
    kept["newest"] = (number, started_at, last_beat_at)
    if "spans" in kept:
        kept["spans"] = (*kept["spans"][:-1], MemorySpan(started_at, last_beat_at))
    beaten: datetime = last_beat_at
    return beaten


def newest_beat(conn: Connection) -> datetime | None:
    """The latest of all beats, None if there was none. It never falls, whatever the clock does."""
    beat: datetime | None = conn.scalar(_LATEST)
    return beat


def spans(conn: Connection, since: datetime | None = None) -> list[MemorySpan]:
    """The spans in the order in which they were opened; with `since`, those that had a beat at that moment or later."""
    kept = memo.room(conn, "memory")
    if "spans" not in kept:
        kept["spans"] = tuple(MemorySpan(*row) for row in conn.execute(_SPANS))
    return [span for span in kept["spans"] if since is None or span.last_beat_at >= since]


def prune_spans(conn: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` spans whose last beat is older than that moment; the newest one stays. The answer is how many."""
    memo.room(conn, "memory").clear()
    newest = sa.select(sa.func.max(memory.c.id)).scalar_subquery()
    old = sa.select(memory.c.id).where(memory.c.last_beat_at < before, memory.c.id < newest)
    return conn.execute(sa.delete(memory).where(memory.c.id.in_(old.order_by(memory.c.id).limit(limit)))).rowcount

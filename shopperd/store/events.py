"""The audit trail."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from attrs import evolve, fields
from sqlalchemy import Connection

from shopperd.model import Event
from shopperd.store import dialect
from shopperd.store.columns import UnreadableValueError
from shopperd.store.schema import events

_COLUMNS = tuple(attribute.name for attribute in fields(Event) if attribute.name != "id")
_APPEND = sa.insert(events).returning(events.c.id)


def append(conn: Connection, event: Event) -> Event:
    """Write an event, and answer it with its number. Numbers grow in the order in which transactions are committed."""
    dialect.wait_for_turn(conn)
    number = conn.scalar(_APPEND, {name: getattr(event, name) for name in _COLUMNS})
    if number is None:
        raise UnreadableValueError("an event that was written has no number")
    return evolve(event, id=number)


def page(
    conn: Connection,
    *,
    after: int = 0,
    limit: int = 100,
    session: UUID | None = None,
    instance: str | None = None,
    account: str | None = None,
    newest_first: bool = False,
) -> list[Event]:
    """Up to `limit` events with a number above `after`, in the order of their numbers, or backwards from the newest."""
    query = sa.select(events).where(events.c.id > after).limit(limit)
    query = query.order_by(events.c.id.desc() if newest_first else events.c.id)
    for column, value in (
        (events.c.session_id, session),
        (events.c.instance_id, instance),
        (events.c.account, account),
    ):
        if value is not None:
            query = query.where(column == value)
    return [Event(**row) for row in conn.execute(query).mappings()]


def since(conn: Connection, kind: str, moment: datetime, *, account: str, instance: str | None = None) -> list[Event]:
    """The events of one kind and account from that moment on, or those of one machine, oldest first."""
    query = sa.select(events).where(events.c.kind == kind, events.c.account == account, events.c.at >= moment)
    if instance is not None:
        query = query.where(events.c.instance_id == instance)
    return [Event(**row) for row in conn.execute(query.order_by(events.c.id)).mappings()]


def last_id(conn: Connection) -> int:
    """The number of the newest event; 0 if there is none."""
    return conn.scalar(sa.select(sa.func.max(events.c.id))) or 0


def prune(conn: Connection, before: datetime, batch: int) -> list[tuple[int, str]]:
    """Delete up to `batch` events older than that moment; the answer is the number and kind of each."""
    old = sa.select(events.c.id).where(events.c.at < before).order_by(events.c.at).limit(batch)
    gone = conn.execute(sa.delete(events).where(events.c.id.in_(old)).returning(events.c.id, events.c.kind))
    return [(number, kind) for number, kind in gone]

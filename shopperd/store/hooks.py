"""How far each hook has come in the audit trail, which is its outbox."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa
from attrs import frozen
from sqlalchemy import Connection

from shopperd.model import Event
from shopperd.store import events, meta
from shopperd.store.columns import UnreadableValueError
from shopperd.store.schema import events as table
from shopperd.store.schema import meta as values

_PREFIX = "hook."


@frozen
class Place:
    """A place in the audit trail.

    Attributes:
        cursor: every event up to this number is done with.
        ahead: numbers beyond it that were delivered already, in rising order.
    """

    cursor: int
    ahead: tuple[int, ...] = ()


@frozen
class Window:
    """The next events that a hook wants.

    Attributes:
        reach: the number up to which there is no other.
    """

    events: list[Event]
    reach: int


def window(conn: Connection, after: int, patterns: Sequence[str], limit: int) -> Window:
    """Up to `limit` events behind a number, of kinds such as ``*``, ``session.*`` and ``orphan.detected``."""
    query = sa.select(table).where(table.c.id > after, _wanted(patterns)).order_by(table.c.id).limit(limit)
    found = [Event(**row) for row in conn.execute(query).mappings()]
    return Window(found, found[-1].id if len(found) == limit else max(after, events.last_id(conn)))


def count(conn: Connection, after: int, patterns: Sequence[str]) -> int:
    """How many events behind a number are of these kinds."""
    return conn.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.id > after, _wanted(patterns))) or 0


def _wanted(patterns: Sequence[str]) -> sa.ColumnElement[bool]:
    return sa.or_(
        *(
            table.c.kind.startswith(pattern[:-1], autoescape=True) if pattern.endswith("*") else table.c.kind == pattern
            for pattern in patterns
        )
    )


def begin(conn: Connection, name: str) -> Place:
    """Where a hook goes on; a new one begins behind the newest event."""
    value = meta.get(conn, _PREFIX + name)
    if value is not None:
        try:
            return msgspec.convert(value, Place)
        except msgspec.ValidationError as error:
            raise UnreadableValueError(f"{_PREFIX}{name} cannot be read: {error}") from None
    place = Place(events.last_id(conn))
    keep(conn, name, place)
    return place


def keep(conn: Connection, name: str, place: Place) -> None:
    """Record how far a hook has come."""
    meta.put(conn, _PREFIX + name, place)


def forget_others(conn: Connection, names: Collection[str]) -> None:
    """Forget the places of all hooks but these: one that is declared again later is a new one."""
    keys = conn.scalars(sa.select(values.c.key).where(values.c.key.startswith(_PREFIX, autoescape=True))).all()
    for key in keys:
        if key.removeprefix(_PREFIX) not in names:
            meta.remove(conn, key)

"""Single values by their key, and the identity of the store."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from attrs import frozen
from sqlalchemy import Connection

from shopperd.store import dialect, memo
from shopperd.store.columns import UnreadableValueError
from shopperd.store.schema import meta

_IDENTITY = "store.identity"
_BINDING = "store.binding"

_GET = sa.select(meta.c.value).where(meta.c.key == sa.bindparam("wanted"))


@frozen
class Binding:
    """Where a store lives, as its process finds it.

    Attributes:
        host: of the machine, or of the PostgreSQL cluster.
        path: of the file, or the database's name.
        inode: device and inode of the file, or the database's number.
        continuous: the store and what lies beside it tell the same history; False for one put back from a backup.
        shared: no lock keeps other processes away, so that a lease must say who acts.
    """

    host: str
    path: str
    inode: str
    continuous: bool = True
    shared: bool = False

    def continues(self, before: StoreIdentity) -> bool:
        """Whether it is the very store that was bound before, be it on another host or device, and not a copy put in its place."""
        return self.continuous and _number(self.inode) == _number(before.inode or "")


@frozen
class StoreIdentity:
    """Which store this is, and where it was when it was last bound; None as long as it never was.

    Attributes:
        bound_at: when it was first found in this place.
    """

    store_id: UUID
    created_at: datetime
    host: str | None = None
    path: str | None = None
    inode: str | None = None
    bound_at: datetime | None = None


@frozen
class _Origin:
    store_id: UUID
    created_at: datetime


@frozen
class _Place:
    host: str
    path: str
    inode: str
    bound_at: datetime


def get(conn: Connection, key: str, default: Any = None) -> Any:
    """The value of a key, as JSON has it (times and ids come back as text)."""
    kept = memo.room(conn, "meta")
    if key not in kept:
        kept[key] = conn.scalar(_GET, {"wanted": key})
    value = kept[key]
    return default if value is None else value


def put(conn: Connection, key: str, value: Any) -> None:
    """Set the value of a key: anything that JSON can say, except null."""
    if value is None:
        raise ValueError("null is no value; remove the key")
    conn.execute(_put(conn.dialect.name), {"key": key, "value": value})
    memo.room(conn, "meta")[key] = msgspec.json.decode(msgspec.json.encode(value))  # what a reader will find


def remove(conn: Connection, key: str) -> None:
    """Take a key away, if it is there."""
    conn.execute(sa.delete(meta).where(meta.c.key == key))
    memo.room(conn, "meta").pop(key, None)


def identity(conn: Connection) -> StoreIdentity:
    """Which store this is."""
    origin = _read(conn, _IDENTITY, _Origin)
    if origin is None:
        raise UnreadableValueError("the store does not say which one it is")
    place = _read(conn, _BINDING, _Place)
    if place is None:
        return StoreIdentity(origin.store_id, origin.created_at)
    return StoreIdentity(origin.store_id, origin.created_at, place.host, place.path, place.inode, place.bound_at)


def christen(conn: Connection, store_id: UUID, now: datetime) -> None:
    """Give a new store its identity; done once, in the transaction that makes its tables."""
    put(conn, _IDENTITY, _Origin(store_id, now))


def bind(conn: Connection, binding: Binding, now: datetime) -> bool:
    """Record where the store lives. True if it is new, moved, copied or put back since it was last bound."""
    place = _read(conn, _BINDING, _Place)
    if place is not None and (place.host, place.path, place.inode) == (binding.host, binding.path, binding.inode):
        return not binding.continuous
    put(conn, _BINDING, _Place(binding.host, binding.path, binding.inode, now))
    return True


@cache
def _put(database: str) -> sa.Insert:
    statement = dialect.insert(database, meta)
    return statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})


def _number(inode: str) -> str:
    """The file's own number: that of its device differs from mount to mount."""
    return inode.rpartition(":")[2]


def _read(conn: Connection, key: str, shape: type[Any]) -> Any:
    value = get(conn, key)
    if value is None:
        return None
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise UnreadableValueError(f"{key} cannot be read: {error}") from None

"""What was read from the store, kept from one transaction to the next, so that what nobody changed is not read again.

It stands only where no other process can write unnoticed (`Store` sees to that), and only for what `shopperd.store`'s own modules
read and write: each of them brings what is kept up to date with its writes, in the same transaction. (What the heart leaves at
rest is kept here too; that needs nobody, as it is compared with what the store tells each time.) A transaction that fails, or another program's write, empties it whole.

What a reader is given is immutable, or its own, or is replaced and never changed in place: it may go on using it after its
transaction.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from sqlalchemy import Connection

_KEY = "shopperd.memo"

Room = dict[Hashable, Any]
"""What is kept of one kind, by a key of the module that keeps it."""


class Memo:
    """All that is kept of one store."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def room(self, name: str) -> Room:
        """What is kept under that name."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = {}
        return room

    def clear(self) -> None:
        """Forget everything."""
        self._rooms.clear()


def attach(conn: Connection, memo: Memo) -> None:
    """Have the queries over this connection use that memo."""
    conn.info[_KEY] = memo


def room(conn: Connection, name: str) -> Room:
    """What is kept under that name; where nothing may be kept, an empty room that nobody will see again."""
    memo = conn.info.get(_KEY)
    return memo.room(name) if memo is not None else {}

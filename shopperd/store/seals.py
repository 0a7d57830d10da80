"""The seal of a row: a checksum of what it holds, written with it and checked whenever the row becomes one of our nouns.

A database sees that its own structure is broken. A bit that flips inside of a value leaves the structure whole, and the value may
still be a possible one: an earlier deadline, another machine's id. So each row that a destroy may follow from has a seal.

It is of the values as they are stored, and of the table's name: BLAKE2b over MessagePack, 64 bits of it, which a column of
whole numbers holds. (A CRC of 32 bits costs as much beside the rest, and lets a damage of many bytes pass four billion times as often.)
NULLs at the end are left out, so a column that a migration adds there changes no seal until it is used.

A row without a seal is believed. None of ours is; whoever sets a row right by hand makes its seal NULL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Table, TypeDecorator
from sqlalchemy.types import UserDefinedType

from shopperd.store.columns import UnreadableValueError

SEAL = "seal"
"""The name of the column, in every table that has one."""

_BYTES = 8


class BrokenSealError(UnreadableValueError):
    """A row is not as it was written. It names the row, and none of its other values."""


def seal_of(table: str, stored: Sequence[Any]) -> int:
    """The seal of a row with these values, as they are stored, in the order of the table's columns and without the seal."""
    end = len(stored)
    while end and stored[end - 1] is None:
        end -= 1
    text = msgspec.msgpack.encode((table, *stored[:end]))
    return int.from_bytes(hashlib.blake2b(text, digest_size=_BYTES).digest(), "big", signed=True)


class _AsStored(UserDefinedType[Any]):
    """A value just as the database's driver takes and gives it."""

    cache_ok = True


class Sealed:
    """A table whose rows have seals: how they are asked for, read and written. There is no other way to do either.

    Attributes:
        columns: what to select, for `read`: all of the row as it is stored.
        values: what to write, for what `sealed` gives.
    """

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        """The values of a row are read in the order of `names`, which are those of all its columns but the seal."""
        self._name = str(table.name)  # SQLAlchemy's is of a kind of text of its own
        self._order = tuple(column.name for column in table.columns if column.name != SEAL)
        if sorted(names) != sorted(self._order):
            raise ValueError(f"a row of {table.name} is sealed as a whole, so it is read as a whole")
        kinds = {column.name: column.type for column in table.columns if isinstance(column.type, TypeDecorator)}
        self._takes = tuple(
            (name, kinds[name].process_bind_param if _has(kinds.get(name), "process_bind_param") else None)
            for name in self._order
        )
        self._gives = tuple(
            (place, kinds[name].process_result_value)
            for place, name in enumerate(self._order)
            if _has(kinds.get(name), "process_result_value")
        )
        self._parameters = tuple(f"new_{name}" for name in self._order)
        self._chosen = itemgetter(*(self._order.index(name) for name in names))
        self._key = [self._order.index(column.name) for column in table.primary_key]
        stored = (sa.type_coerce(table.c[name], _AsStored()).label(name) for name in self._order)
        self.columns: tuple[sa.ColumnElement[Any], ...] = (*stored, table.c[SEAL])
        self.values = {name: sa.bindparam(f"new_{name}", type_=_AsStored()) for name in (*self._order, SEAL)}

    def read(self, conn: Connection, query: sa.Select[Any], wanted: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """The values of the rows that a query for `columns` finds.

        Raises:
            BrokenSealError: a row is not as it was written.
            UnreadableValueError: it has no seal, and holds what none of ours would have written.
        """
        name, gives, chosen, dialect = self._name, self._gives, self._chosen, conn.dialect
        with conn.execute(query, wanted) as rows:
            for *stored, seal in rows:
                if seal is not None and not _is_whole(name, stored, seal):
                    key = ", ".join(repr(stored[place]) for place in self._key)
                    raise BrokenSealError(f"the row {key} of its table {name} is not as it was written")
                for place, process in gives:
                    stored[place] = process(stored[place], dialect)
                yield chosen(stored)

    def sealed(self, conn: Connection, values: Mapping[str, Any]) -> dict[str, Any]:
        """A whole row as it will be stored, with its seal: the parameters of an INSERT or UPDATE of `values`.

        Raises:
            ValueError: one of them cannot be stored.
        """
        dialect = conn.dialect
        stored = [values[name] if take is None else take(values[name], dialect) for name, take in self._takes]
        parameters = dict(zip(self._parameters, stored, strict=True))
        parameters[f"new_{SEAL}"] = seal_of(self._name, stored)
        return parameters


def _is_whole(table: str, stored: Sequence[Any], seal: int) -> bool:
    try:
        return seal == seal_of(table, stored)
    except UnicodeEncodeError:  # bytes that are no text
        return False


def _has(kind: TypeDecorator[Any] | None, method: str) -> bool:
    """Whether it is a type of ours that does this to a value; the others store what they are given."""
    return kind is not None and getattr(type(kind), method) is not getattr(TypeDecorator, method)

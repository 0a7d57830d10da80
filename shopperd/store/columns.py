"""How our values lie in a column: the same meaning in SQLite and in PostgreSQL, and nothing that reads back differently.

SQLite's tables are STRICT, so every type here becomes TEXT, INTEGER or REAL there.
"""

from __future__ import annotations

import enum
import math
import re
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import TIMESTAMP, BigInteger, Boolean, Dialect, Double, Integer, Text, TypeDecorator
from sqlalchemy.dialects.sqlite import REAL
from sqlalchemy.types import TypeEngine

E = TypeVar("E", bound=enum.StrEnum)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL has no place in PostgreSQL's text, a lone surrogate none in UTF-8; a provider's JSON can hold both."""


_NO_TEXT = re.compile("[\ud800-\udfff]")
"""What bytes that are no text become where they are read."""


def is_storable(*texts: str | None) -> bool:
    """Whether `Words` would be read back just as they were written."""
    return not any(text is not None and _UNSTORABLE.search(text) for text in texts)


class UnreadableValueError(Exception):
    """A column holds what no shopperd of this schema wrote there."""


def key_text() -> Key:
    """Text that is compared and ordered by its bytes, in every database alike."""
    return Key()


def row_number() -> TypeEngine[int]:
    """A key that the database counts up."""
    return BigInteger().with_variant(Integer(), "sqlite")


def count() -> Count:
    """A whole number of 64 bits."""
    return Count()


def _text(value: str | None) -> str | None:
    """A text as it was read: bytes that are none are in it as surrogates (see `databases.sqlite_engine`), and never got there by us."""
    if value is not None and not value.isascii() and _NO_TEXT.search(value):
        raise UnreadableValueError("a text in it is none")
    return value


class Count(TypeDecorator[int]):
    """A whole number of 64 bits. A plug-in may tell one as 24.0: it is written as what the database would make of it."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """SQLite's INTEGER has 64 bits."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        """Refuse what is no number; a fraction is rounded."""
        return value if value is None or type(value) is int else round(float(value))


class Key(TypeDecorator[str]):
    """Text that is compared and ordered by its bytes. A plug-in may tell an id as a number: it is written as its text."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """SQLite does so by itself."""
        return dialect.type_descriptor(Text(collation="C") if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Write it as text."""
        return value if value is None or type(value) is str else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Read it back."""
        return _text(value)


class Words(TypeDecorator[str]):
    """Text of people or providers. What cannot be stored in it becomes U+FFFD, so that no odd answer stops the store."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what cannot be stored."""
        return None if value is None else _UNSTORABLE.sub("\ufffd", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Read it back."""
        return _text(value)


class Moment(TypeDecorator[datetime]):
    """An aware time in UTC to the microsecond: text of fixed width in SQLite (it sorts), a timestamptz in PostgreSQL."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """PostgreSQL has a type for it."""
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse a naive time: nobody knows when it is."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value.isoformat()}")
        value = value.astimezone(UTC)
        if dialect.name == "postgresql":
            return value
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read it back in UTC."""
        if value is None:
            return None
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise UnreadableValueError(f"{value!r} is no time") from None
        if moment.tzinfo is None:
            raise UnreadableValueError(f"{value!r} is a time without a zone")
        return moment.astimezone(UTC)


class Id(TypeDecorator[UUID]):
    """A UUID as its 36 characters, as people and tags write it."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Order by bytes."""
        return dialect.type_descriptor(Text(collation="C") if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> str | None:
        """Write the canonical form."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """Read it back."""
        try:
            return None if value is None else UUID(value)
        except ValueError:
            raise UnreadableValueError(f"{value!r} is no id") from None


class Choice(TypeDecorator[E]):
    """One word of an enumeration."""

    impl = Text
    cache_ok = True

    def __init__(self, words: type[E]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        """Refuse a word that could not be read back."""
        return None if value is None else self.words(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> E | None:
        """Read it back."""
        try:
            return None if value is None else self.words(value)
        except ValueError:
            raise UnreadableValueError(f"{value!r} is no {self.words.__name__}") from None


class Number(TypeDecorator[float]):
    """A finite number of 64 bits: NaN and the infinities would compare as nobody expects."""

    impl = Double
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """SQLite's STRICT tables know REAL only; in PostgreSQL that word would mean half of the precision."""
        return dialect.type_descriptor(REAL() if dialect.name == "sqlite" else Double())

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """Refuse what is not finite; what is left is a float, and SQLite would keep no zero's sign."""
        if value is None:
            return None
        if not math.isfinite(value):
            raise ValueError(f"not a finite number: {value}")
        return float(value) + 0.0


class Flag(TypeDecorator[bool]):
    """Yes or no."""

    impl = Boolean
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """SQLite has no type for it."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else Boolean())

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> int | bool | None:
        """Write it as it will be there."""
        return int(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:
        """Read it back as a bool."""
        return None if value is None else bool(value)


class Json(TypeDecorator[Any]):
    """A value as JSON text; with `shape`, read back as that attrs class. Errors never show the text: it may hold secrets."""

    impl = Text
    cache_ok = True

    def __init__(self, shape: type[Any] | None = None) -> None:
        super().__init__()
        self.shape = shape

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write it; times, ids and enumerations become their text."""
        return None if value is None else msgspec.json.encode(value, order="sorted").decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Read it back."""
        if value is None:
            return None
        try:
            return msgspec.json.decode(value, type=Any if self.shape is None else self.shape)
        except (msgspec.MsgspecError, UnicodeError):
            raise UnreadableValueError("a column of JSON cannot be read") from None

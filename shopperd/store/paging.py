"""Pages by key, not by offset: what is inserted meanwhile neither shifts nor repeats a row."""

from __future__ import annotations

import base64
from typing import Generic, TypeVar

import msgspec
from attrs import frozen

from shopperd.store.errors import BadCursor, UnknownCursor

T = TypeVar("T")

CURSOR_PATTERN = "Wy[I-L][A-Za-z0-9_-]+"
"""What every cursor looks like: the base64 of a JSON array of texts."""

CURSOR_LENGTH_MAX = 2000
"""Far above any cursor of ours; a longer text is not worth decoding."""


@frozen
class Page(Generic[T]):
    """A piece of a list.

    Attributes:
        next: an opaque cursor for the following piece; None at the end.
    """

    items: tuple[T, ...]
    next: str | None = None


def write_cursor(*key: str) -> str:
    """A cursor that names the last row of a page by its key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def read_cursor(cursor: str, parts: int) -> list[str]:
    """The key in a cursor, in that many parts.

    Raises:
        BadCursor: it is none of this list, or none of ours.
    """
    if len(cursor) > CURSOR_LENGTH_MAX:
        raise BadCursor("the cursor is too long")
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = msgspec.json.decode(base64.urlsafe_b64decode(padded.encode("ascii")), type=list[str])
    except (ValueError, msgspec.MsgspecError):
        raise UnknownCursor("this cursor was handed out by no page; begin without one") from None
    if len(key) != parts or any("\x00" in part for part in key):
        raise BadCursor("this cursor belongs to another list")
    return key

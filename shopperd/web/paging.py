"""Pages of lists that are put together for each request, by the same rules as the store's: by key, not by offset."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from shopperd.store import BadCursor, Page
from shopperd.store.paging import read_cursor, write_cursor

T = TypeVar("T")

Key = tuple[str | float | bool, ...]
"""What a list is ordered by; unique to a row."""


def piece(rows: Iterable[T], key: Callable[[T], Key], order: str, limit: int, cursor: str | None) -> Page[T]:
    """One page of the rows, smallest key first.

    Args:
        order: names the list and its order; a cursor of another one is refused.

    Raises:
        BadCursor: the cursor is not from a page of this list in this order.
    """
    ordered = sorted(rows, key=key)
    start = 0
    if cursor is not None:
        start = _start(ordered, key, order, cursor)
    items = tuple(ordered[start : start + limit])
    if start + limit >= len(ordered) or not items:
        return Page(items)
    return Page(items, write_cursor(order, msgspec.json.encode(key(items[-1])).decode()))


def _start(ordered: list[T], key: Callable[[T], Key], order: str, cursor: str) -> int:
    named, last = read_cursor(cursor, 2)
    try:
        if named != order:
            raise BadCursor("this cursor belongs to another list, or to this one in another order")
        return bisect.bisect_right(ordered, tuple(msgspec.json.decode(last, type=list[str | float | bool])), key=key)
    except (msgspec.MsgspecError, TypeError):
        raise BadCursor("this cursor was not handed out by a page of this list") from None

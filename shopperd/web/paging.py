"""Pages of lists that are put together for each request, by the same rules as the store's: by key, not by offset."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

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
        try:
            start = bisect.bisect_right(ordered, read_key(order, cursor), key=key)
        except TypeError:
            raise BadCursor("this cursor was not handed out by a page of this list") from None
    return cut(iter(ordered[start:]), key, order, limit)


def cut(rows: Iterator[T], key: Callable[[T], Key], order: str, limit: int) -> Page[T]:
    """One page of rows that are in their order already and begin after the cursor."""
    items = tuple(islice(rows, limit))
    if next(rows, None) is None or not items:
        return Page(items)
    return Page(items, write_cursor(order, msgspec.json.encode(key(items[-1])).decode()))


def read_key(order: str, cursor: str) -> Any:
    """The key of the last row of the page before. Whether its parts are of the right types shows when it is compared.

    Raises:
        BadCursor: the cursor is not from a page of that order.
    """
    named, last = read_cursor(cursor, 2)
    if named != order:
        raise BadCursor("this cursor belongs to another list, or to this one in another order")
    try:
        return tuple(msgspec.json.decode(last, type=list[str | float | bool]))
    except msgspec.MsgspecError:
        raise BadCursor("this cursor was not handed out by a page of this list") from None

"""The rows of a list in a JSON answer, read while the answer comes in, so that it is never in memory as a whole.

A piece of the list that ends where a row seems to end is put between brackets and decoded at once. If that works, the row
ended there indeed, since a string or an object that was cut through is no JSON. If it does not, because the guess was wrong
or a row is bad, the rows of that piece are told apart by their brackets and read one by one: a bad row costs itself.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from shopperd.providers.contract import BadAnswer

HEAD_BYTES_MAX = 2**16
"""What may stand before the list; an answer where it comes later is read as a whole, by whoever reads what is left."""
ROW_BYTES_MAX = 2**20
"""A real row has three thousand. What has not ended by then is no row, and would be looked through again and again."""
SCAN_BYTES_MIN = 2**16
"""With more than this and no end of a row in sight, the brackets are counted."""
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\]:,]', re.DOTALL)
"""Whole strings, brackets, colons and commas. A quote by itself opens a string that has not ended yet."""
_FIRST_KEY = re.compile(rb'[ \t\r\n]*(\{"[^"\\]{1,64}":)')
"""How the first row begins. Most begin alike, and what is nested in a row does not."""
_SPACES = b" \t\r\n"
_OPEN, _CLOSE = b"{[", b"}]"

T = TypeVar("T")
Row_co = TypeVar("Row_co", covariant=True)


class RowReader(Protocol[Row_co]):
    """Makes records of rows."""

    def many(self, rows: bytes) -> Iterable[Row_co | None] | None:
        """The records of a JSON list, None for a row that is unreadable; None for all if it is no list of whole rows."""

    def one(self, row: bytes) -> Row_co | None:
        """The record of one row, None if it is unreadable, whatever it is."""


class _At(enum.Enum):
    HEAD = enum.auto()
    ROWS = enum.auto()
    REST = enum.auto()


class Rows(Generic[T]):
    """An intake (see `transport.Intake`) that hands the rows of one list to `take`, in their order.

    What it leaves is the document with that list empty. If there is no such list in the first `HEAD_BYTES_MAX`, the whole
    document is left.
    """

    def __init__(self, key: str, reader: RowReader[T], take: Callable[[Iterable[T | None]], None]) -> None:
        """`key` names the list in the object that the document is."""
        self._key = f'"{key}"'.encode()
        self._reader = reader
        self._take = take
        self._begin()

    def _begin(self) -> None:
        self._at = _At.HEAD
        self._left: list[bytes] = []
        self._open = b""
        self._beginning = b"{"

    def feed(self, chunk: bytes) -> None:
        """Read on. The time it takes is that of reading the chunk's rows.

        Raises:
            BadAnswer: a row does not end, or the brackets do not fit together.
        """
        if self._at is _At.ROWS:
            self._read_on(chunk)
        elif self._at is _At.HEAD:
            self._open += chunk
            self._find_list()
        else:
            self._left.append(chunk)

    def finish(self) -> bytes:
        """What is left of the document. The next one may be fed then: a refused call is asked again.

        Raises:
            BadAnswer: the list was cut off, which must never read as a shorter one.
        """
        if self._at is _At.ROWS:
            self._read_one_by_one()
            if self._at is _At.ROWS:
                raise BadAnswer("the answer is cut off in the middle of its list")
        left = b"".join([*self._left, self._open])
        self._begin()
        return left

    def _find_list(self) -> None:
        start = _start_of(self._key, self._open)
        if start is not None:
            self._left.append(self._open[:start])
            first, self._open = self._open[start:], b""
            self._at = _At.ROWS
            if (begin := _FIRST_KEY.match(first)) is not None:
                self._beginning = begin[1]
            self._read_on(first)
        elif len(self._open) > HEAD_BYTES_MAX:
            self._left.append(self._open)
            self._open = b""
            self._at = _At.REST

    def _read_on(self, chunk: bytes) -> None:
        end, start = _last_end_of_a_row(chunk, self._beginning)
        if not end:
            end, start = _last_end_of_a_row(chunk, b"{")
        if end:
            # Copied once: with what was left open before it, and in brackets.
            records = self._reader.many(b"".join((b"[", self._open, memoryview(chunk)[:end], b"]")))
            if records is not None:
                self._open = chunk[start:]
                self._take(records)
                return
        self._open += chunk
        if end or len(self._open) >= SCAN_BYTES_MIN:
            self._read_one_by_one()

    def _read_one_by_one(self) -> None:
        """Read the rows that have ended, and notice the end of the list."""
        rows, read, ended = _told_apart(self._open)
        rest, self._open = self._open[read:], b""
        if ended:
            self._left.append(rest)
            self._at = _At.REST
        elif len(rest) > ROW_BYTES_MAX:
            raise BadAnswer(f"a row of the answer does not end within {ROW_BYTES_MAX} bytes")
        else:
            self._open = rest
        self._take([self._reader.one(row) for row in rows])


def _start_of(key: bytes, head: bytes) -> int | None:
    """Where the rows begin: right after the bracket of the list that `key` names in the outermost object."""
    depth = 0
    before = name = b""
    for match in _TOKENS.finditer(head):
        token = match[0]
        if depth == 1 and token == b":":
            name = before
        elif token in _OPEN:
            if depth == 1 and token == b"[" and before == b":" and name == key:
                return match.end()
            depth += 1
        elif token in _CLOSE:
            depth -= 1
        before = token
    return None


def _last_end_of_a_row(rows: bytes, begin: bytes) -> tuple[int, int]:
    """Where the last row that seems to have ended ends, and where the next one, with this beginning, starts; zeros if none seems so."""
    end = len(rows)
    while (end := rows.rfind(b"},", 0, end)) >= 0:
        start = end + 2
        while rows[start : start + 1] in _WHITE:
            start += 1
        seen = rows[start : start + len(begin)]
        if seen and begin.startswith(seen):  # the piece may end in it
            return end + 1, start
    return 0, 0


_WHITE = frozenset(bytes((space,)) for space in _SPACES)


def _told_apart(rows: bytes) -> tuple[Sequence[bytes], int, bool]:
    """The rows that have ended for certain, how many bytes that is, and whether the list ended after them."""
    found: list[bytes] = []
    start = depth = 0
    for match in _TOKENS.finditer(rows):
        token = match[0]
        if token in _OPEN:
            depth += 1
        elif token in _CLOSE and depth:
            depth -= 1
        elif token == b"," and not depth:
            found.append(rows[start : match.start()])
            start = match.end()
        elif token == b"]":
            last = rows[start : match.start()]
            if found or last.strip(_SPACES):
                found.append(last)
            return found, match.start(), True
        elif token == b"}":
            raise BadAnswer("the answer is not JSON: a bracket closes what was not opened")
        elif token == b'"':
            break
    return found, start, False

"""What GPUs cost, each time that a market was read: one small row a market and time."""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from shopperd.gpu_prices import GpuPrices, MarketPrices
from shopperd.store import dialect
from shopperd.store.columns import UnreadableValueError
from shopperd.store.errors import BadCursor
from shopperd.store.paging import Page, read_cursor, write_cursor
from shopperd.store.schema import market_prices

PRECISION = 100_000
"""Prices are kept to a thousandth of a cent; as whole numbers they take half of the room."""
_KEYS = (market_prices.c.at, market_prices.c.account)
_FETCH = 500
"""Rows in one query: far below what a database takes in one condition."""

_Key = tuple[datetime, str]
_Packed = tuple[str, bool, int, int, int, int, int]


def record(conn: Connection, prices: MarketPrices) -> None:
    """Keep what was read. A second time for the same moment replaces the first."""
    told = {"partial": prices.partial, "gpus": _packed(prices.gpus)}
    statement = dialect.insert(conn.dialect.name, market_prices).values(account=prices.account, at=prices.at, **told)
    conn.execute(statement.on_conflict_do_update(index_elements=["at", "account"], set_=told))


def page(
    conn: Connection,
    since: datetime,
    until: datetime,
    *,
    accounts: Collection[str] | None = None,
    step_seconds: float = 0.0,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[MarketPrices]:
    """Up to `limit` of what was read from `since` on and before `until`, oldest first.

    With a step, of each so long time (by the epoch) and account only the last.

    Raises:
        BadCursor: the cursor is not from a page of prices.
    """
    query = sa.select(*_KEYS).where(market_prices.c.at >= since, market_prices.c.at < until).order_by(*_KEYS)
    if accounts is not None:
        query = query.where(market_prices.c.account.in_(accounts))
    if cursor is not None:
        query = query.where(sa.tuple_(*_KEYS) > sa.tuple_(*_after(cursor), types=[key.type for key in _KEYS]))
    if not step_seconds:
        query = query.limit(limit + 1)
    keys = _last_of_each_step([(row.at, row.account) for row in conn.execute(query)], step_seconds)
    found = _fetched(conn, keys[:limit])
    if len(keys) <= limit or not found:
        return Page(found)
    return Page(found, write_cursor(found[-1].at.isoformat(), found[-1].account))


def prune(conn: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` of what was read before that moment; the answer is how many."""
    old = sa.select(*_KEYS).where(market_prices.c.at < before).order_by(*_KEYS).limit(limit)
    return conn.execute(sa.delete(market_prices).where(sa.tuple_(*_KEYS).in_(old))).rowcount


def _last_of_each_step(keys: Sequence[_Key], seconds: float) -> list[_Key]:
    if not seconds:
        return list(keys)
    last = {(math.floor(at.timestamp() / seconds), account): (at, account) for at, account in keys}
    return sorted(last.values())


def _fetched(conn: Connection, keys: Sequence[_Key]) -> tuple[MarketPrices, ...]:
    found: list[MarketPrices] = []
    for start in range(0, len(keys), _FETCH):
        chosen = sa.tuple_(*_KEYS).in_(keys[start : start + _FETCH])
        rows = conn.execute(sa.select(market_prices).where(chosen).order_by(*_KEYS))
        found.extend(MarketPrices(row.account, row.at, row.partial, _unpacked(row.gpus)) for row in rows)
    return tuple(found)


def _after(cursor: str) -> _Key:
    moment, account = read_cursor(cursor, 2)
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        raise BadCursor("this cursor was not handed out by a page of this list") from None
    if at.tzinfo is None:
        raise BadCursor("this cursor was not handed out by a page of this list")
    return at, account


def _packed(gpus: Sequence[GpuPrices]) -> bytes:
    def whole(dollars: float) -> int:
        return round(dollars * PRECISION)

    rows: list[_Packed] = [
        (of.gpu, of.interruptible, of.offers, whole(of.least), whole(of.p10), whole(of.p50), whole(of.p90))
        for of in gpus
    ]
    return zlib.compress(msgspec.msgpack.encode(rows))


def _unpacked(packed: bytes) -> tuple[GpuPrices, ...]:
    try:
        rows = msgspec.msgpack.decode(zlib.decompress(packed), type=list[_Packed])
    except (zlib.error, msgspec.MsgspecError) as error:
        raise UnreadableValueError(f"prices that cannot be read: {error}") from None
    return tuple(
        GpuPrices(gpu, spot, offers, *(price / PRECISION for price in prices)) for gpu, spot, offers, *prices in rows
    )

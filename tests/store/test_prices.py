from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from attrs import evolve

from shopperd.gpu_prices import GpuPrices, MarketPrices
from shopperd.store import BadCursor, Store, prices
from shopperd.store.schema import market_prices
from tests.store.nouns import START

H100 = GpuPrices("H100 SXM", False, 40, 1.89, 2.00001, 2.5, 3.25)
SPOT = GpuPrices("H100 SXM", True, 4, 0.5, 0.5, 0.6, 0.7)


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _read(seconds: float, account: str = "main", **changes: object) -> MarketPrices:
    return evolve(MarketPrices(account, _at(seconds), False, (H100, SPOT)), **changes)  # type: ignore[arg-type]


def _record(store: Store, *reads: MarketPrices) -> None:
    def record(conn: sa.Connection) -> None:
        for read in reads:
            prices.record(conn, read)

    store.run_sync(record)


def _page(store: Store, since: float = 0, until: float = 1e6, **wishes: object) -> list[MarketPrices]:
    found = store.run_sync(lambda conn: prices.page(conn, _at(since), _at(until), **wishes))  # type: ignore[arg-type]
    return list(found.items)


def test_what_was_read_is_read_back_oldest_first(store: Store) -> None:
    reads = [_read(0), _read(60, "dock", gpus=()), _read(60, partial=True)]
    _record(store, *reversed(reads))
    assert _page(store) == reads


def test_a_time_has_a_beginning_and_an_end(store: Store) -> None:
    _record(store, *(_read(seconds) for seconds in (0, 60, 120, 180)))
    assert _page(store, 60, 180) == [_read(60), _read(120)]


def test_the_same_moment_is_kept_once(store: Store) -> None:
    _record(store, _read(0, gpus=()), _read(0))
    assert _page(store) == [_read(0)]


def test_accounts_can_be_chosen(store: Store) -> None:
    _record(store, _read(0, "a"), _read(0, "b"), _read(0, "c"))
    assert [read.account for read in _page(store, accounts=["a", "c"])] == ["a", "c"]
    assert _page(store, accounts=[]) == []


def test_of_each_step_the_last_of_each_account_is_told(store: Store) -> None:
    first = -START.timestamp() % 300
    _record(store, *(_read(first + seconds, account) for seconds in (0, 60, 299, 300, 900) for account in ("a", "b")))
    told = [((read.at - _at(first)).total_seconds(), read.account) for read in _page(store, step_seconds=300.0)]
    assert told == [(299, "a"), (299, "b"), (300, "a"), (300, "b"), (900, "a"), (900, "b")]


@pytest.mark.parametrize("step", [0.0, 60.0])
def test_pages_follow_each_other(store: Store, step: float) -> None:
    _record(store, *(_read(60 * number, account) for number in range(700) for account in ("a", "b")))
    found: list[MarketPrices] = []
    cursor: str | None = None
    while True:
        page = store.run_sync(
            lambda conn, cursor=cursor: prices.page(conn, _at(0), _at(1e6), step_seconds=step, limit=601, cursor=cursor)
        )
        found.extend(page.items)
        cursor = page.next
        if cursor is None:
            break
    assert [(read.at, read.account) for read in found] == [
        (_at(60 * number), account) for number in range(700) for account in ("a", "b")
    ]


@pytest.mark.parametrize("cursor", ["x", "WyJhIiwiYiJd", "WyIyMDI2LTAxLTAxIiwiYiJd"])
def test_a_cursor_of_something_else_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursor):
        _page(store, cursor=cursor)


def test_what_is_old_goes_in_pieces(store: Store) -> None:
    _record(store, *(_read(seconds) for seconds in (0, 60, 120, 180)))
    assert store.run_sync(prices.prune, _at(180), 2) == 2
    assert store.run_sync(prices.prune, _at(180), 2) == 1
    assert store.run_sync(prices.prune, _at(180), 2) == 0
    assert _page(store) == [_read(180)]


def test_a_market_of_all_gpus_takes_little_room(store: Store) -> None:
    gpus = tuple(GpuPrices(f"RTX {n}", n % 2 == 0, n * 7, n / 3, n / 2.9, n / 2.5, n / 1.7) for n in range(100))
    _record(store, _read(0, gpus=gpus))
    length = sa.select(sa.func.length(market_prices.c.gpus))
    assert store.run_sync(lambda conn: conn.scalar(length)) < 2500

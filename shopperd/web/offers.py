"""``/offers``: the markets of all accounts as one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Annotated

from aiohttp import web
from attrs import asdict, frozen

from shopperd.gpu_prices import MarketPrices
from shopperd.jobs.context import AccountAtWork, Context
from shopperd.model import Offer
from shopperd.offer_index import CHEAPEST, Key, OfferIndex, Order, Wish
from shopperd.providers.gpus import matches
from shopperd.providers.tensordock.countries import fits as is_at
from shopperd.settings import Bounds, Duration
from shopperd.store import BadCursor, prices
from shopperd.turns import in_turns
from shopperd.web.answers import (
    GpuPricesAnswer,
    ListAnswer,
    MarketPricesAnswer,
    OfferAnswer,
    answer,
    offer_answer,
)
from shopperd.web.door import API, DOOR
from shopperd.web.health import LATE_INTERVALS, LATE_SECONDS
from shopperd.web.paging import cut, read_key
from shopperd.web.reading import Cursor, Limit, Word, check_range, read_query

routes = web.RouteTableDef()

DEFAULT_HISTORY = timedelta(days=1)


class Interruptible(StrEnum):
    """Whether to list offers that another renter may outbid."""

    FALSE = "false"
    TRUE = "true"
    ANY = "any"


class Sort(StrEnum):
    """What to sort by, smallest first; with a minus, largest first. Offers that do not tell it come last either way."""

    PRICE = "price"
    PRICE_DOWN = "-price"
    PRICE_PER_HOUR = "price_per_hour"
    PRICE_PER_HOUR_DOWN = "-price_per_hour"
    RELIABILITY = "reliability"
    RELIABILITY_DOWN = "-reliability"
    GPU = "gpu"
    GPU_COUNT = "gpu_count"
    GPU_COUNT_DOWN = "-gpu_count"
    VRAM = "vram"
    VRAM_DOWN = "-vram"
    VRAM_GB = "vram_gb"
    VRAM_GB_DOWN = "-vram_gb"
    LOCATION = "location"


@frozen
class OffersQuery:
    """Which offers to list. `location`: part of its text, or a country's two letters."""

    gpu: Word | None = None
    gpu_count: Annotated[int, Bounds(1, 1024)] | None = None
    min_vram_gb: Annotated[int, Bounds(0, 65536)] | None = None
    max_price_per_hour: Annotated[float, Bounds(0.0, 1_000_000.0)] | None = None
    provider: Word | None = None
    account: Word | None = None
    location: Word | None = None
    interruptible: Interruptible = Interruptible.FALSE
    sort: Sort = Sort.PRICE
    limit: Limit = 100
    cursor: Cursor | None = None


@routes.get(f"{API}/offers")
async def list_offers(request: web.Request) -> web.Response:
    """What can be rented, as each account's market was last read."""
    context = request.app[DOOR].context
    asked = read_query(request, OffersQuery)
    ages = {name: _age_and_staleness(context, account) for name, account in context.accounts.items()}
    order, name = _ORDERS[asked.sort], f"offers:{asked.sort}"
    after = None if asked.cursor is None else read_key(name, asked.cursor)
    indexes = _indexes(context, asked)
    for index in indexes:
        await in_turns(index.preparing(order), context.clock)
    try:
        page = cut(_fitting(indexes, asked, order, after), order.key, name, asked.limit)
    except TypeError:
        raise BadCursor("this cursor was not handed out by a page of this list") from None
    return answer(
        ListAnswer[OfferAnswer]([offer_answer(offer, *ages[offer.account]) for offer in page.items], page.next)
    )


@frozen
class HistoryQuery:
    """Which prices to list.

    Attributes:
        since: a day ago if it is not given.
        step: of each so long time the last; 0 for all.
    """

    gpu: Word | None = None
    account: Word | None = None
    provider: Word | None = None
    interruptible: Interruptible = Interruptible.FALSE
    since: datetime | None = None
    until: datetime | None = None
    step: Duration = 0.0
    limit: Limit = 100
    cursor: Cursor | None = None


@routes.get(f"{API}/offers/history")
async def list_prices(request: web.Request) -> web.Response:
    """What GPUs cost each time that a market was read, oldest first."""
    context = request.app[DOOR].context
    asked = read_query(request, HistoryQuery)
    check_range(asked.since, asked.until)
    until = asked.until if asked.until is not None else context.clock.now() + timedelta(seconds=1)
    accounts = None
    if asked.account is not None or asked.provider is not None:
        accounts = [
            account.name
            for account in context.accounts.values()
            if asked.account in (None, account.name) and asked.provider in (None, account.provider_name)
        ]
    page = await context.store.run(
        prices.page,
        asked.since if asked.since is not None else until - DEFAULT_HISTORY,
        until,
        accounts=accounts,
        step_seconds=asked.step,
        limit=asked.limit,
        cursor=asked.cursor,
    )
    return answer(ListAnswer[MarketPricesAnswer]([_prices_answer(read, asked) for read in page.items], page.next))


def _prices_answer(read: MarketPrices, asked: HistoryQuery) -> MarketPricesAnswer:
    wanted = [
        GpuPricesAnswer(**asdict(prices))
        for prices in read.gpus
        if (asked.gpu is None or matches(asked.gpu, prices.gpu))
        and _is_of_kind(prices.interruptible, asked.interruptible)
    ]
    return MarketPricesAnswer(read.at, read.account, read.partial, wanted)


def _is_of_kind(interruptible: bool, asked: Interruptible) -> bool:
    return asked is Interruptible.ANY or interruptible is (asked is Interruptible.TRUE)


def _age_and_staleness(context: Context, account: AccountAtWork) -> tuple[float, bool]:
    market = account.market
    if market.refreshed_at is None:
        return 0.0, True
    age = max(0.0, (context.clock.now() - market.refreshed_at).total_seconds())
    late = LATE_INTERVALS * context.settings.jobs.offers.interval + LATE_SECONDS
    return age, market.stale or age > late


def _indexes(context: Context, asked: OffersQuery) -> list[OfferIndex]:
    """Of the accounts that are asked for, the freshest first."""
    chosen = [
        account
        for account in context.accounts.values()
        if asked.account in (None, account.name) and asked.provider in (None, account.provider_name)
    ]
    return [account.market.index for account in sorted(chosen, key=_freshness, reverse=True)]


def _fitting(indexes: Sequence[OfferIndex], asked: OffersQuery, order: Order, after: Key | None) -> Iterator[Offer]:
    """The offers that fit, each machine once: accounts of one marketplace see the same ones, the freshest list counts."""
    wish = _wish(asked)
    found = [
        _only_in(index.found(wish, order, after), fresher=indexes[:number]) for number, index in enumerate(indexes)
    ]
    return heapq.merge(*found, key=order.key) if len(found) > 1 else chain(*found)


def _only_in(offers: Iterator[Offer], fresher: Sequence[OfferIndex]) -> Iterator[Offer]:
    if not fresher:
        return offers
    return (offer for offer in offers if all(index.get(offer.id) is None for index in fresher))


def _freshness(account: AccountAtWork) -> tuple[bool, datetime | str]:
    refreshed_at = account.market.refreshed_at
    return (False, "") if refreshed_at is None else (True, refreshed_at)


def _wish(asked: OffersQuery) -> Wish:
    """What is asked for, as questions to an index."""

    def kind(gpu: str, vram_gb: int | None, interruptible: bool) -> bool:
        return (
            _is_of_kind(interruptible, asked.interruptible)
            and (asked.min_vram_gb is None or (vram_gb is not None and vram_gb >= asked.min_vram_gb))
            and (asked.gpu is None or matches(asked.gpu, gpu, vram_gb))
        )

    def location(place: str | None) -> bool:
        country = place.rpartition(",")[2] if place is not None else None
        return is_at(asked.location or "", place, country)

    any_kind = asked.interruptible is Interruptible.ANY and asked.min_vram_gb is None and asked.gpu is None
    return Wish(
        kind=None if any_kind else kind,
        gpu_count=None if asked.gpu_count is None else asked.gpu_count.__eq__,
        location=None if asked.location is None else location,
        max_price_per_hour=asked.max_price_per_hour,
    )


_ORDERS: dict[Sort, Order] = {
    Sort.PRICE: CHEAPEST,
    Sort.PRICE_DOWN: Order("price_per_hour", down=True),
    Sort.RELIABILITY: Order("reliability"),
    Sort.RELIABILITY_DOWN: Order("reliability", down=True),
    Sort.GPU: Order("gpu"),
    Sort.GPU_COUNT: Order("gpu_count"),
    Sort.GPU_COUNT_DOWN: Order("gpu_count", down=True),
    Sort.VRAM: Order("vram_gb"),
    Sort.VRAM_DOWN: Order("vram_gb", down=True),
    Sort.PRICE_PER_HOUR: CHEAPEST,
    Sort.PRICE_PER_HOUR_DOWN: Order("price_per_hour", down=True),
    Sort.VRAM_GB: Order("vram_gb"),
    Sort.VRAM_GB_DOWN: Order("vram_gb", down=True),
    Sort.LOCATION: Order("location"),
}

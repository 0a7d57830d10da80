"""``/offers``: the markets of all accounts as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from aiohttp import web
from attrs import frozen

from shopperd.jobs.context import AccountAtWork, Context
from shopperd.model import Offer
from shopperd.providers.gpus import matches
from shopperd.providers.tensordock.countries import fits as is_at
from shopperd.settings import Bounds
from shopperd.web.answers import ListAnswer, OfferAnswer, answer, offer_answer
from shopperd.web.door import API, DOOR
from shopperd.web.health import LATE_INTERVALS, LATE_SECONDS
from shopperd.web.paging import Key, piece
from shopperd.web.reading import Cursor, Limit, Word, read_query

routes = web.RouteTableDef()


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
    page = piece(_fitting(context, asked), _KEYS[asked.sort], f"offers:{asked.sort}", asked.limit, asked.cursor)
    return answer(
        ListAnswer[OfferAnswer]([offer_answer(offer, *ages[offer.account]) for offer in page.items], page.next)
    )


def _age_and_staleness(context: Context, account: AccountAtWork) -> tuple[float, bool]:
    market = account.market
    if market.refreshed_at is None:
        return 0.0, True
    age = max(0.0, (context.clock.now() - market.refreshed_at).total_seconds())
    late = LATE_INTERVALS * context.settings.jobs.offers.interval + LATE_SECONDS
    return age, market.stale or age > late


def _fitting(context: Context, asked: OffersQuery) -> Iterator[Offer]:
    """The offers that fit, each machine once: accounts of one marketplace see the same ones, the freshest list counts."""
    seen: set[str] = set()
    chosen = [
        account
        for account in context.accounts.values()
        if asked.account in (None, account.name) and asked.provider in (None, account.provider_name)
    ]
    for account in sorted(chosen, key=_freshness, reverse=True):
        for offer in account.market.offers:
            if offer.id not in seen and _fits(offer, asked):
                seen.add(offer.id)
                yield offer


def _freshness(account: AccountAtWork) -> tuple[bool, datetime | str]:
    refreshed_at = account.market.refreshed_at
    return (False, "") if refreshed_at is None else (True, refreshed_at)


def _fits(offer: Offer, asked: OffersQuery) -> bool:
    if asked.interruptible is not Interruptible.ANY and offer.interruptible is not (
        asked.interruptible is Interruptible.TRUE
    ):
        return False
    if asked.gpu_count is not None and offer.gpu_count != asked.gpu_count:
        return False
    if asked.max_price_per_hour is not None and offer.price_per_hour > asked.max_price_per_hour:
        return False
    if asked.min_vram_gb is not None and (offer.vram_gb is None or offer.vram_gb < asked.min_vram_gb):
        return False
    if asked.gpu is not None and not matches(asked.gpu, offer.gpu, offer.vram_gb):
        return False
    if asked.location is None:
        return True
    country = offer.location.rpartition(",")[2] if offer.location is not None else None
    return is_at(asked.location, offer.location, country)


def _by(value: Callable[[Offer], float | str | None], *, down: bool = False) -> Callable[[Offer], Key]:
    def key(offer: Offer) -> Key:
        found = value(offer)
        if found is None:
            return (True, "", offer.price_per_hour, offer.id)
        return (False, -found if down and not isinstance(found, str) else found, offer.price_per_hour, offer.id)

    return key


_KEYS: dict[Sort, Callable[[Offer], Key]] = {
    Sort.PRICE: _by(lambda offer: offer.price_per_hour),
    Sort.PRICE_DOWN: _by(lambda offer: offer.price_per_hour, down=True),
    Sort.RELIABILITY: _by(lambda offer: offer.reliability),
    Sort.RELIABILITY_DOWN: _by(lambda offer: offer.reliability, down=True),
    Sort.GPU: _by(lambda offer: offer.gpu.casefold()),
    Sort.GPU_COUNT: _by(lambda offer: offer.gpu_count),
    Sort.GPU_COUNT_DOWN: _by(lambda offer: offer.gpu_count, down=True),
    Sort.VRAM: _by(lambda offer: offer.vram_gb),
    Sort.VRAM_DOWN: _by(lambda offer: offer.vram_gb, down=True),
    Sort.PRICE_PER_HOUR: _by(lambda offer: offer.price_per_hour),
    Sort.PRICE_PER_HOUR_DOWN: _by(lambda offer: offer.price_per_hour, down=True),
    Sort.VRAM_GB: _by(lambda offer: offer.vram_gb),
    Sort.VRAM_GB_DOWN: _by(lambda offer: offer.vram_gb, down=True),
    Sort.LOCATION: _by(lambda offer: None if offer.location is None else offer.location.casefold()),
}

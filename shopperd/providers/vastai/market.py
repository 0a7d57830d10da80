"""Vast.ai's market: what to ask for, what a row means, and how to see all of it.

A search answers with a limited number of rows, and not with the cheapest ones, so that one with exactly the
limit was cut off and a walk up the price would not page through the rest. What was cut off is asked for again
in parts: by GPU name, since a row has exactly one, and a single name by price.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from operator import attrgetter
from typing import Any

from attrs import evolve, fields, frozen, make_class

from shopperd.clock import Clock
from shopperd.model import Offer
from shopperd.providers.contract import (
    BadAnswer,
    OfferFilter,
    OfferList,
    RateLimited,
    Unclear,
)
from shopperd.providers.filters import fits
from shopperd.providers.gpus import Gpu, all_vastai_names, canonical, usable_mb, vastai_names
from shopperd.providers.vastai import wire
from shopperd.providers.vastai.instances import GPUS_MAX, NAME, PRICE_PER_HOUR_MAX
from shopperd.turns import RUN, in_turns, sorting

DEFAULT_DISK_GB = 16.0
"""What is rented if nobody says otherwise. It is part of the price, so the search must know of it too."""
ROWS_MAX = 70_000
"""The limit that is sent: without one the API chooses. A market of all there is has had at most 64,000 rows."""
CAP_ROWS = 64
"""However much is asked for, some searches end here."""
SEARCHES_MAX = 60
"""One after the other at 6 s, this is as long as a market may take to be seen; then it stays partial."""
PRICE_RATIO_MIN = 1.02
"""A band of prices this narrow is not split any more."""
BID_SUFFIX = "-bid"
NOT_WANTED = "not_wanted"
TOLD_MAX = 2**15
"""Of what rows tell alike: a market of 64,000 has a few thousand."""


@frozen
class Part:
    """A part of the market: the GPU names that are asked for, and a band of prices.

    Attributes:
        names: display names; None for all.
        others: `names` are those that are *not* asked for.
        price_from, price_below: USD per hour; None for open.
    """

    names: tuple[str, ...] | None = None
    others: bool = False
    price_from: float | None = None
    price_below: float | None = None


Take = Callable[[Iterable[wire.OfferRow | None]], None]
"""Is handed the rows of a search as they come in; None for one that is unreadable."""

Search = Callable[[Part, Take], Awaitable[None]]
"""Sends one search and hands its rows out. If it raises, those rows count for nothing."""


_Words = tuple[str | None, float | None, str | None, wire.Word | None, wire.Word | None]
"""What a row tells of the GPU's name and memory, the place, and whether the machine is verified."""
_Meaning = tuple[Gpu | None, str | None, bool | None]
"""The GPU, the place, and whether the machine is verified."""


class Seen:
    """What a search of a part came to: its offers, and what a further search must know. The rows themselves are not kept.

    Attributes:
        offers: those that fit.
        rejected: why a row is none, with its id where it has one.
        names: the GPU names in the rows.
        prices: USD per hour of the rows that have a sane one.
    """

    def __init__(self, part: Part, filter: OfferFilter, account: str) -> None:
        self.part = part
        self.offers: list[Offer] = []
        self.rejected: list[tuple[str | None, str]] = []
        self.names: set[str] = set()
        self.prices = array("d")
        self._filter = filter
        self._account = account
        self._picky = filter != OfferFilter(interruptible=filter.interruptible)
        self._rows = 0
        self._told: dict[_Words, _Meaning] = {}

    @property
    def cut_off(self) -> bool:
        """Whether there are as many rows as a search may have."""
        return self._rows in (CAP_ROWS, ROWS_MAX)

    def take(self, rows: Iterable[wire.OfferRow | None]) -> None:
        """Further rows."""
        note_price, keep = self.prices.append, self.offers.append
        number = 0
        for row in rows:
            number += 1
            if row is None:
                self.rejected.append((None, "unreadable"))
                continue
            price = row.dph_total
            if price is not None and 0 < price <= PRICE_PER_HOUR_MAX:
                note_price(price)
            offer = self._offer(row)
            if isinstance(offer, str):
                self.rejected.append((_offer_id(row), offer))
            elif self._picky and not _fits(offer, self._filter):
                self.rejected.append((offer.provider_id, NOT_WANTED))
            else:
                keep(offer)
        self._rows += number

    def _offer(self, row: wire.OfferRow) -> Offer | str:
        """The offer that a row tells of, or why it is none: one of a bounded set of words."""
        words = row.gpu_name, row.gpu_ram, row.geolocation, row.verified, row.verification
        gpu, location, verified = self._told.get(words) or self._read(words)
        interruptible = self._filter.interruptible
        provider_id = _offer_id(row)
        if provider_id is None:
            return "no_id"
        if gpu is None:
            return "no_gpu"
        gpu_count = row.num_gpus
        if gpu_count is None or not 0 < gpu_count <= GPUS_MAX:
            return "no_gpu_count"
        price = row.dph_total
        if price is None:
            # Another field never stands in for it.
            return "no_price"
        if interruptible and row.min_bid is not None and row.min_bid > price:
            # The least bid can be above what the row promises, and less than that rents nothing.
            price = row.min_bid
        if not 0 < price <= PRICE_PER_HOUR_MAX:
            return "bad_price"
        if row.rentable is False or row.rented is True or row.external is True:
            return "not_rentable"
        if row.is_bid is True and not interruptible:
            # Its price would be a bid, which is a promise of less.
            return "other_market"
        reliability = row.reliability2
        if reliability is None or not 0 <= reliability <= 1:
            reliability = row.reliability
            if reliability is not None and not 0 <= reliability <= 1:
                reliability = None
        disk_gb = row.disk_space
        draft = _Draft(
            f"{NAME}-{provider_id}{BID_SUFFIX}" if interruptible else f"{NAME}-{provider_id}",
            NAME,
            provider_id,
            self._account,
            gpu.name,
            gpu_count,
            gpu.vram_gb,
            price,
            location,
            reliability,
            verified,
            True,
            interruptible,
            disk_gb if disk_gb is not None and disk_gb >= 0 else None,
        )
        draft.__class__ = Offer
        offer: Offer = draft
        return offer

    def _read(self, words: _Words) -> _Meaning:
        """What so many rows tell alike that it is read once."""
        raw_name, ram_mb, place, verified, verification = words
        name = wire.stripped(raw_name)
        if name is not None:
            self.names.add(name)
        gpu = None if name is None else canonical(NAME, name, ram_mb)
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        meaning = self._told[words] = gpu, _location(place), _verified(verified, verification)
        return meaning


def first_part(filter: OfferFilter) -> Part:
    """The whole of what a filter asks for. A GPU that Vast.ai may call anything is looked for among all."""
    return Part(names=(vastai_names(filter.gpu) or None) if filter.gpu is not None else None)


def query(filter: OfferFilter, part: Part) -> dict[str, object]:
    """The body of a search.

    `verified` is always sent, since what its absence means differs from time to time: as documented only
    verified machines, as recorded all of them. `rented` and `external` are what official clients send too.
    """
    body: dict[str, object] = {
        "verified": {"in": [True, False]} if filter.verified is None else {"eq": filter.verified},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "external": {"eq": False},
        "order": [["dph_total", "asc"]],
        "type": "bid" if filter.interruptible else "on-demand",
        "limit": ROWS_MAX,
        "allocated_storage": DEFAULT_DISK_GB,
    }
    if part.names is not None:
        body["gpu_name"] = {"notin" if part.others else "in": list(part.names)}
    if filter.gpu_count is not None:
        body["num_gpus"] = {"eq": filter.gpu_count}
    if filter.min_vram_gb is not None:
        body["gpu_ram"] = {"gte": usable_mb(filter.min_vram_gb)}
    if filter.min_reliability is not None:
        body["reliability"] = {"gte": filter.min_reliability}
    if filter.location is not None and (country := _country(filter.location)) is not None:
        body["geolocation"] = {"eq": country}
    price: dict[str, float] = {}
    if part.price_from is not None:
        price["gte"] = part.price_from
    if part.price_below is not None:
        price["lt"] = part.price_below
    if filter.max_price_per_hour is not None:
        price["lte"] = filter.max_price_per_hour
    if price:
        body["dph_total"] = price
    return body


async def survey(filter: OfferFilter, account: str, search: Search, clock: Clock, known_names: set[str]) -> OfferList:
    """All offers that fit, with as many searches as it takes, up to `SEARCHES_MAX`.

    `known_names` are GPU names met before that our table lacks; new ones are added.

    Raises:
        ProviderError: the first search failed. When a later one fails the market stays partial.
    """
    tally = _Tally()
    open_parts = [first_part(filter)]
    searches = 0
    while open_parts:
        if searches >= SEARCHES_MAX:
            tally.partial = True
            break
        seen = Seen(open_parts.pop(), filter, account)
        try:
            await search(seen.part, seen.take)
        except (RateLimited, Unclear, BadAnswer):
            if searches == 0:
                raise
            tally.partial = True
            break
        searches += 1
        await tally.take(seen, clock)
        known_names.update(seen.names)
        if seen.cut_off:
            parts = split(seen, known_names)
            tally.partial |= not parts
            open_parts.extend(parts)
    return await tally.offers(clock)


def split(seen: Seen, known_names: Iterable[str]) -> list[Part]:
    """The parts of a part that was cut off; none if it cannot be split any further."""
    part = seen.part
    if part.names is None or part.others:
        known = {*all_vastai_names(), *known_names}
        fresh = tuple(sorted(known - set(part.names or ())))
        if not fresh:
            return _by_price(seen)
        return [evolve(part, names=tuple(sorted(known)), others=True), *_halves(evolve(part, others=False), fresh)]
    if len(part.names) > 1:
        return _halves(part, part.names)
    return _by_price(seen)


def _halves(part: Part, names: tuple[str, ...]) -> list[Part]:
    middle = len(names) // 2
    return [evolve(part, names=half) for half in (names[middle:], names[:middle]) if half]


def _by_price(seen: Seen) -> list[Part]:
    """Two bands that meet at the middle of the prices that were seen, if that leaves two."""
    part = seen.part
    prices = sorted(seen.prices)
    if not prices or prices[-1] < prices[0] * PRICE_RATIO_MIN:
        return []
    middle = prices[len(prices) // 2]
    low, high = part.price_from or 0.0, part.price_below or PRICE_PER_HOUR_MAX
    if middle <= max(low, prices[0]) or middle >= high:
        middle = (prices[0] + prices[-1]) / 2
    if not max(low, prices[0]) < middle < high:
        return []
    return [evolve(part, price_from=middle), evolve(part, price_below=middle)]


class _Tally:
    """Puts the answers of several searches together: each offer once, whatever fell out counted by reason."""

    def __init__(self) -> None:
        self._offers: dict[str, Offer] = {}
        self._rejected: Counter[str] = Counter()
        self._rejected_ids: set[tuple[str, str]] = set()
        self._unknown: set[str] = set()
        self.partial = False

    async def take(self, seen: Seen, clock: Clock) -> None:
        for start in range(0, len(seen.offers), RUN):
            for offer in seen.offers[start : start + RUN]:
                known = self._offers.setdefault(offer.id, offer)
                if offer.price_per_hour > known.price_per_hour:
                    # Of two prices for one offer the higher one is promised.
                    self._offers[offer.id] = offer
            await clock.sleep(0)
        self._unknown.update(name for name in seen.names if not canonical(NAME, name, None).known)
        for offer_id, reason in seen.rejected:
            self._reject(offer_id, reason)

    async def offers(self, clock: Clock) -> OfferList:
        """What came of it, cheapest first."""
        return OfferList(
            offers=tuple(await in_turns(sorting(self._offers.values(), attrgetter("price_per_hour", "id")), clock)),
            partial=self.partial,
            rejected={reason: count for reason, count in self._rejected.items() if count},
            unknown_gpus=tuple(sorted(self._unknown)),
        )

    def _reject(self, offer_id: str | None, reason: str) -> None:
        """Counted once, although the parts of a market repeat rows of the answer that was cut off."""
        if offer_id is not None:
            if (offer_id, reason) in self._rejected_ids:
                return
            self._rejected_ids.add((offer_id, reason))
        self._rejected[reason] += 1


_Draft: Any = make_class("_Draft", [field.name for field in fields(Offer)], slots=True, weakref_slot=False)
"""An offer that is not frozen yet, and is one by a change of its class: to fill in a frozen one takes five times as long, and
there are 64,000 of them. Both have the same slots, or Python would refuse."""


def _fits(offer: Offer, filter: OfferFilter) -> bool:
    return fits(offer, filter) and (filter.location is None or _is_at(offer.location, filter.location))


def _offer_id(row: wire.OfferRow) -> str | None:
    raw = row.id
    if raw.__class__ is int and 0 < raw < wire.WHOLE_MAX:
        return str(raw)  # as nearly always
    return wire.identifier(raw) or wire.identifier(row.ask_contract_id)


def _verified(verified: wire.Word | None, verification: wire.Word | None) -> bool | None:
    """By the word in ``verification``; ``unverified`` and ``deverified`` are both a no."""
    if (told := wire.truth(verified)) is not None:
        return told
    word = wire.stripped(verification) or wire.stripped(verified)
    return None if word is None else word.lower() == "verified"


def _location(raw: str | None) -> str | None:
    """``Quebec, CA``; where the region is empty (``, US``) only the country."""
    location = (wire.stripped(raw) or "").strip(" ,")
    return location or None


def _country(location: str) -> str | None:
    code = location.rpartition(",")[2].strip().upper()
    return code if len(code) == 2 and code.isascii() and code.isalpha() else None


def _is_at(location: str | None, wanted: str) -> bool:
    if location is None:
        return False
    asked = wanted.strip(" ,")
    if len(asked) == 2:
        return _country(location) == asked.upper()
    return asked.casefold() in location.casefold()

"""An index over the offers of one market, made once when it was read: any page of it is found without looking at all of it.

A column holds what is told of all offers as small numbers, so a wish is asked once for each different value and becomes a mask
of one byte an offer. An order holds the numbers of the offers in that order. The rest is done by loops in C.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any, Final

from attrs import evolve, field, frozen

from shopperd.model import Offer
from shopperd.turns import RUN, Steps, at_once, sorting

Key = tuple[bool, str | float, float, str]
"""What an offer is ordered by: whether the value is missing, the value, then price and id."""

_BYTE = 256
_PRICE_AND_ID = attrgetter("price_per_hour", "id")


@frozen
class Order:
    """An order of offers: by an attribute, then cheapest first. Offers that do not tell it come last either way."""

    by: str
    down: bool = False

    def key(self, offer: Offer) -> Key:
        """The place of an offer in it."""
        return (*self.rank(getattr(offer, self.by)), offer.price_per_hour, offer.id)

    def rank(self, value: str | float | None) -> tuple[bool, str | float]:
        """The place of a value in it. Texts are ordered upwards only, whatever their case."""
        if value is None:
            return (True, "")
        if isinstance(value, str):
            return (False, value.casefold())
        return (False, -value if self.down else value)


CHEAPEST: Final = Order("price_per_hour")
ORDERS: Final = (
    CHEAPEST,
    Order("price_per_hour", down=True),
    Order("reliability"),
    Order("reliability", down=True),
    Order("gpu"),
    Order("gpu_count"),
    Order("gpu_count", down=True),
    Order("vram_gb"),
    Order("vram_gb", down=True),
    Order("location"),
)


@frozen
class Wish:
    """Which offers to list; None for any.

    Attributes:
        kind: of a GPU's name, the memory of one, and whether the offer is interruptible.
        gpu_count, location: of the offer's own.
        max_price_per_hour: USD for the whole machine.
    """

    kind: Callable[[str, int | None, bool], bool] | None = None
    gpu_count: Callable[[int], bool] | None = None
    location: Callable[[str | None], bool] | None = None
    max_price_per_hour: float | None = None


@frozen
class _Column:
    """One thing that is told of every offer: its values, and for each offer the number of its value."""

    values: tuple[Any, ...]
    codes: Sequence[int]

    def mask(self, fits: Callable[[Any], bool]) -> bytes:
        """One byte for each offer: 1 if its value fits."""
        table = bytes(map(bool, map(fits, self.values)))
        if isinstance(self.codes, bytes):
            return self.codes.translate(table.ljust(_BYTE, b"\0"))
        return bytes(map(table.__getitem__, self.codes))


@frozen
class OfferIndex:
    """The offers of a market, cheapest first, and how to find some of them. It never changes.

    Attributes:
        gone: machines that are not offered any more, by the provider's id.
    """

    _all: tuple[Offer, ...] = ()
    _by_id: Mapping[str, Offer] = field(factory=dict, repr=False)
    _prices: Sequence[float] = field(factory=lambda: array("d"), repr=False)
    _columns: Mapping[str, _Column] = field(factory=dict, repr=False)
    _orders: Mapping[Order, Sequence[int]] = field(factory=dict, repr=False)
    gone: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return (
            len(self._all) - sum(offer.provider_id in self.gone for offer in self._all) if self.gone else len(self._all)
        )

    @property
    def offers(self) -> Sequence[Offer]:
        """All of them, cheapest first."""
        return tuple(self._present(self._all)) if self.gone else self._all

    def get(self, id: str) -> Offer | None:
        """The offer of that id, None if there is none."""
        offer = self._by_id.get(id)
        return None if offer is None or offer.provider_id in self.gone else offer

    def without(self, provider_id: str) -> OfferIndex:
        """The same without one machine, however it is offered."""
        return evolve(self, gone=self.gone | {provider_id})

    def found(self, wish: Wish, order: Order = CHEAPEST, after: Key | None = None) -> Iterator[Offer]:
        """The offers that fit, in that order, from right after a key on.

        Raises:
            TypeError: `after` is no key of this order.
        """
        mask = self._mask(wish)
        if order == CHEAPEST:
            start = 0 if after is None else bisect.bisect_right(self._all, after, key=order.key)
            end = len(self._all)
            if wish.max_price_per_hour is not None:
                end = bisect.bisect_right(self._prices, wish.max_price_per_hour)
            rows: Iterator[Offer] = iter(self._all[start:end])
            return self._present(rows if mask is None else compress(rows, mask[start:end]))
        if wish.max_price_per_hour is not None:
            within = bisect.bisect_right(self._prices, wish.max_price_per_hour)
            cheap = (b"\1" * within).ljust(len(self._all), b"\0")
            mask = cheap if mask is None else _both(mask, cheap)
        numbers = self._orders.get(order, ())
        if after is not None:
            numbers = numbers[bisect.bisect_right(numbers, after, key=lambda number: order.key(self._all[number])) :]
        if mask is not None:
            numbers = compress(numbers, map(mask.__getitem__, numbers))  # type: ignore[assignment]
        return self._present(map(self._all.__getitem__, numbers))

    def _mask(self, wish: Wish) -> bytes | None:
        mask: bytes | None = None
        if wish.kind is not None:
            kind = wish.kind
            mask = self._columns["kind"].mask(lambda told: kind(*told)) if self._all else b""
        for name, fits in (("gpu_count", wish.gpu_count), ("location", wish.location)):
            if fits is not None and self._all:
                told = self._columns[name].mask(fits)
                mask = told if mask is None else _both(mask, told)
        return mask

    def _present(self, offers: Sequence[Offer] | Iterator[Offer]) -> Iterator[Offer]:
        if not self.gone:
            return iter(offers)
        return (offer for offer in offers if offer.provider_id not in self.gone)


def indexing(offers: Sequence[Offer]) -> Steps[OfferIndex]:
    """Make an index, in steps. Offers may come in any order; of two with one id, the one that is given later counts."""
    by_id: dict[str, Offer] = {}
    for start in range(0, len(offers), RUN):
        by_id.update((offer.id, offer) for offer in offers[start : start + RUN])
        yield
    everything = tuple((yield from sorting(by_id.values(), _PRICE_AND_ID)))
    columns: dict[str, _Column] = {}
    orders: dict[Order, Sequence[int]] = {}
    columns["kind"] = yield from _column(everything, attrgetter("gpu", "vram_gb", "interruptible"))
    for order in ORDERS:
        if order.by not in columns:
            columns[order.by] = yield from _column(everything, attrgetter(order.by))
        if order != CHEAPEST:
            orders[order] = yield from _ordering(columns[order.by], order)
    return OfferIndex(
        everything,
        by_id,
        array("d", [offer.price_per_hour for offer in everything]),
        {name: columns[name] for name in ("kind", "gpu_count", "location")},
        orders,
    )


def index_of(offers: Sequence[Offer]) -> OfferIndex:
    """An index made at once."""
    return at_once(indexing(offers))


def _column(offers: Sequence[Offer], told: Callable[[Offer], Any]) -> Steps[_Column]:
    numbers: dict[Any, int] = {}
    codes = array("I")
    for start in range(0, len(offers), RUN):
        values = list(map(told, offers[start : start + RUN]))
        for value in dict.fromkeys(values):
            numbers.setdefault(value, len(numbers))
        codes.extend(map(numbers.__getitem__, values))
        yield
    return _Column(tuple(numbers), bytes(codes.tolist()) if len(numbers) <= _BYTE else codes)


def _ordering(column: _Column, order: Order) -> Steps[Sequence[int]]:
    """The numbers of the offers in that order. Equal ones stay as they are, which is cheapest first."""
    ranks = [order.rank(value) for value in column.values]
    place = {rank: number for number, rank in enumerate(sorted(set(ranks)))}
    places = [place[rank] for rank in ranks]
    yield
    by_offer = array("I", map(places.__getitem__, column.codes))
    yield
    return array("I", (yield from sorting(range(len(by_offer)), by_offer.__getitem__)))


def _both(one: bytes, other: bytes) -> bytes:
    """Where both are 1."""
    return (int.from_bytes(one, "little") & int.from_bytes(other, "little")).to_bytes(len(one), "little")

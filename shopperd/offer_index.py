"""An index over the offers of one market, made once when it was read: any page of it is found without looking at all of it.

A column holds what is told of all offers as small numbers, so a wish is asked once for each different value and becomes a mask
of one byte an offer; the ones in it are then found by loops in C. Each order has the columns in its own order.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from attrs import evolve, field, frozen

from shopperd.model import Offer
from shopperd.turns import RUN, Steps, at_once, sorting

Key = tuple[bool, str | float, float, str]
"""What an offer is ordered by: whether the value is missing, the value, then price and id."""

_PAGE = 255
"""Values that a byte can tell apart, beside 0 for "another one"."""

Column = tuple[bytes, ...]
"""For each 255 of the different values a byte an offer: the number of its value among these, from 1 on, or 0."""


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


_ATTRIBUTES: Final = {
    "kind": attrgetter("gpu", "vram_gb", "interruptible"),
    "gpu_count": attrgetter("gpu_count"),
    "location": attrgetter("location"),
}
_PRICE: Final = "price"
"""A column of 255 bands of prices; who is in the band of the wished price is looked at."""


@frozen
class _Table:
    """The offers in one order, and the columns in the same."""

    offers: tuple[Offer, ...] = ()
    columns: Mapping[str, Column] = field(factory=dict, repr=False)


@frozen
class OfferIndex:
    """The offers of a market, cheapest first, and how to find some of them. What is in it never changes.

    Attributes:
        gone: machines that are not offered any more, by the provider's id.
    """

    _cheapest: _Table = _Table()
    _by_id: Mapping[str, Offer] = field(factory=dict, repr=False)
    _values: Mapping[str, tuple[Any, ...]] = field(factory=dict, repr=False)
    _sorted: dict[Order, _Table] = field(factory=dict, repr=False)
    gone: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.offers)

    @property
    def offers(self) -> Sequence[Offer]:
        """All of them, cheapest first."""
        everything = self._cheapest.offers
        return tuple(self._present(everything)) if self.gone else everything

    @property
    def orders(self) -> Sequence[Order]:
        """The orders that were asked for, beside that by price. The next index of this market had better begin with them."""
        return tuple(self._sorted)

    def get(self, id: str) -> Offer | None:
        """The offer of that id, None if there is none."""
        offer = self._by_id.get(id)
        return None if offer is None or offer.provider_id in self.gone else offer

    def without(self, provider_id: str) -> OfferIndex:
        """The same without one machine, however it is offered."""
        return evolve(self, gone=self.gone | {provider_id})

    def preparing(self, order: Order) -> Steps[None]:
        """Have an order ready, in steps. One that is asked for the first time takes as long as sorting takes."""
        if order != CHEAPEST and self._cheapest.offers and order not in self._sorted:
            self._sorted[order] = yield from _sorting(self._cheapest, order)

    def found(self, wish: Wish, order: Order = CHEAPEST, after: Key | None = None) -> Iterator[Offer]:
        """The offers that fit, in that order, from right after a key on. An order that is not ready is made so at once.

        Raises:
            TypeError: `after` is no key of this order.
        """
        at_once(self.preparing(order))
        table = self._sorted.get(order, self._cheapest)
        start = 0 if after is None else bisect.bisect_right(table.offers, after, key=order.key)
        mask = self._mask(wish, table)
        if mask is None:
            return self._present(islice(table.offers, start, None))
        found = map(table.offers.__getitem__, _ones(mask, start))
        most = wish.max_price_per_hour
        return self._present(found if most is None else (offer for offer in found if offer.price_per_hour <= most))

    def _mask(self, wish: Wish, table: _Table) -> bytes | None:
        """One byte for each offer of a table, 0 if it does not fit; None if there are no conditions, or no offers."""
        kind, most = wish.kind, wish.max_price_per_hour
        offers, prices = self._cheapest.offers, attrgetter("price_per_hour")
        band = None
        if most is not None and offers:
            band = _band(bisect.bisect_right(offers, most, key=prices), len(offers))
        asked: dict[str, Callable[[Any], bool] | None] = {
            "kind": None if kind is None else lambda told: kind(*told),
            "gpu_count": wish.gpu_count,
            "location": wish.location,
            _PRICE: None if band is None else lambda told: told <= band,
        }
        mask: bytes | None = None
        for name, column in table.columns.items():
            if (fits := asked[name]) is not None:
                told = _told(self._values[name], column, fits)
                mask = told if mask is None else _joined(int.__and__, mask, told)
        return mask

    def _present(self, offers: Iterable[Offer]) -> Iterator[Offer]:
        if not self.gone:
            return iter(offers)
        return (offer for offer in offers if offer.provider_id not in self.gone)


def indexing(offers: Sequence[Offer], orders: Iterable[Order] = ()) -> Steps[OfferIndex]:
    """Make an index, in steps, with some orders ready. Of two offers with one id, the one that is given later counts."""
    by_id: dict[str, Offer] = {}
    for start in range(0, len(offers), RUN):
        by_id.update((offer.id, offer) for offer in offers[start : start + RUN])
        yield
    everything = tuple((yield from sorting(by_id.values(), attrgetter("price_per_hour", "id"))))
    if not everything:
        return OfferIndex()
    values: dict[str, tuple[Any, ...]] = {}
    columns: dict[str, Column] = {}
    for name, attributes in _ATTRIBUTES.items():
        values[name], columns[name] = yield from _column(everything, attributes)
    values[_PRICE], columns[_PRICE] = tuple(range(_PAGE)), (_bands(len(everything)),)
    cheapest = _Table(everything, columns)
    in_order: dict[Order, _Table] = {}
    for order in orders:
        in_order[order] = yield from _sorting(cheapest, order)
    return OfferIndex(cheapest, by_id, values, in_order)


def index_of(offers: Sequence[Offer]) -> OfferIndex:
    """An index made at once."""
    return at_once(indexing(offers))


def _band(number: int, count: int) -> int:
    """In which of 255 bands of prices the offer of that number is, by price."""
    return min(number, count - 1) * _PAGE // count


def _bands(count: int) -> bytes:
    """The column of the bands."""
    edges = [-(-band * count // _PAGE) for band in range(_PAGE + 1)]
    return b"".join(bytes((band + 1,)) * (edges[band + 1] - edges[band]) for band in range(_PAGE))


def _column(offers: Sequence[Offer], told: Callable[[Offer], Any]) -> Steps[tuple[tuple[Any, ...], Column]]:
    """The different values, and the column."""
    numbers: dict[Any, int] = {}
    codes = array("I")
    for start in range(0, len(offers), RUN):
        values = list(map(told, offers[start : start + RUN]))
        for value in dict.fromkeys(values):
            numbers.setdefault(value, len(numbers))
        codes.extend(map(numbers.__getitem__, values))
        yield
    pages = []
    for first in range(0, len(numbers), _PAGE):
        here = [number - first + 1 if first <= number < first + _PAGE else 0 for number in range(len(numbers))]
        pages.append((yield from _picked(here, codes)))
    return tuple(numbers), tuple(pages)


def _sorting(cheapest: _Table, order: Order) -> Steps[_Table]:
    """Put the offers in an order. Equal ones stay as they are, which is cheapest first."""
    told = list(map(attrgetter(order.by), cheapest.offers))
    if any(isinstance(value, str) for value in told):
        # Texts are compared once, and not as often as they stand in the list.
        different = set(told)
        places = {rank: place for place, rank in enumerate(sorted({order.rank(value) for value in different}))}
        of_value = {value: places[order.rank(value)] for value in different}
        keys = array("d", map(of_value.__getitem__, told))
    else:
        sign = -1 if order.down else 1
        keys = array("d", [math.inf if value is None else sign * value for value in told])
    yield
    numbers = yield from sorting(range(len(keys)), keys.__getitem__)
    columns: dict[str, Column] = {}
    for name, column in cheapest.columns.items():
        columns[name] = ()
        for page in column:
            columns[name] += ((yield from _picked(page, numbers)),)
    return _Table(tuple(map(cheapest.offers.__getitem__, numbers)), columns)


def _picked(values: Sequence[int], numbers: Sequence[int]) -> Steps[bytes]:
    """The values, each below 256, of these numbers."""
    parts = []
    for start in range(0, len(numbers), 4 * RUN):
        parts.append(bytes(map(values.__getitem__, numbers[start : start + 4 * RUN])))
        yield
    return b"".join(parts)


def _told(values: Sequence[Any], column: Column, fits: Callable[[Any], bool]) -> bytes:
    """One byte for each offer: 1 if its value fits."""
    mask: bytes | None = None
    for number, page in enumerate(column):
        table = bytes(map(bool, map(fits, values[number * _PAGE : (number + 1) * _PAGE])))
        if any(table) or number == 0:
            here = page.translate((b"\0" + table).ljust(_PAGE + 1, b"\0"))
            mask = here if mask is None else _joined(int.__or__, mask, here)
    return b"" if mask is None else mask


def _joined(join: Callable[[int, int], int], one: bytes, other: bytes) -> bytes:
    """Two masks as one."""
    return join(int.from_bytes(one, "little"), int.from_bytes(other, "little")).to_bytes(len(one), "little")


def _ones(mask: bytes, start: int) -> Iterator[int]:
    """Where the ones are, from a place on."""
    at = mask.find(1, start)
    while at >= 0:
        yield at
        at = mask.find(1, at + 1)

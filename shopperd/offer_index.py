"""An index over the offers of one market, made once when it was read: any page of it is found without looking at all of it.

A column holds what is told of all offers as small numbers, so a wish is asked once for each different value and becomes a mask
of one byte an offer. An order holds the numbers of the offers in that order. The rest is done by loops in C.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import attrgetter, itemgetter
from typing import Any, Final

from attrs import evolve, field, frozen

from shopperd.model import Offer
from shopperd.turns import RUN, Steps, at_once, sorting

Key = tuple[bool, str | float, float, str]
"""What an offer is ordered by: whether the value is missing, the value, then price and id."""

_PAGE = 255
_FEW = 250
"""So many offers are put in order sooner than they are found in it."""


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


_COLUMNS: Final = {"kind": ("gpu", "vram_gb", "interruptible"), "gpu_count": ("gpu_count",), "location": ("location",)}


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
    """One thing that is told of every offer: its different values, and which offer has which.

    Attributes:
        pages: for each 255 of the values a byte an offer: the number of its value among these, from 1 on; 0 if it has another.
    """

    values: tuple[Any, ...]
    pages: tuple[bytes, ...]

    def mask(self, fits: Callable[[Any], bool]) -> bytes:
        """One byte for each offer: 1 if its value fits."""
        mask: bytes | None = None
        for number, page in enumerate(self.pages):
            told = self.values[number * _PAGE : (number + 1) * _PAGE]
            table = bytes(map(bool, map(fits, told)))
            if any(table) or number == 0:
                here = page.translate((b"\0" + table).ljust(_PAGE + 1, b"\0"))
                mask = here if mask is None else _joined(int.__or__, mask, here)
        return b"" if mask is None else mask


@frozen
class _Sorted:
    """The offers in another order than by price.

    Attributes:
        gather: puts a mask into that order.
    """

    offers: tuple[Offer, ...]
    gather: Callable[[bytes], Iterable[int]]


@frozen
class OfferIndex:
    """The offers of a market, cheapest first, and how to find some of them. What is in it never changes.

    Attributes:
        gone: machines that are not offered any more, by the provider's id.
    """

    _all: tuple[Offer, ...] = ()
    _by_id: Mapping[str, Offer] = field(factory=dict, repr=False)
    _prices: Sequence[float] = field(factory=lambda: array("d"), repr=False)
    _columns: Mapping[str, _Column] = field(factory=dict, repr=False)
    _sorted: dict[Order, _Sorted] = field(factory=dict, repr=False)
    gone: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.offers)

    @property
    def offers(self) -> Sequence[Offer]:
        """All of them, cheapest first."""
        return tuple(self._present(self._all)) if self.gone else self._all

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

    def found(self, wish: Wish, order: Order = CHEAPEST, after: Key | None = None) -> Iterator[Offer]:
        """The offers that fit, in that order, from right after a key on.

        An order that is asked for the first time takes as long as sorting takes.

        Raises:
            TypeError: `after` is no key of this order.
        """
        mask = self._mask(wish)
        within = len(self._all)
        if wish.max_price_per_hour is not None:
            within = bisect.bisect_right(self._prices, wish.max_price_per_hour)
        offers = self._all
        if order != CHEAPEST and offers:
            if order not in self._sorted:
                self._sorted[order] = at_once(_sorting(self._all, order))
            offers = self._sorted[order].offers
            if within < len(offers):
                cheap = (b"\1" * within).ljust(len(offers), b"\0")
                mask = cheap if mask is None else _joined(int.__and__, mask, cheap)
                within = len(offers)
            if mask is not None and mask.count(1) <= _FEW:
                offers, mask = tuple(sorted(compress(self._all, mask), key=order.key)), None
            elif mask is not None:
                mask = bytes(self._sorted[order].gather(mask))
        start = 0 if after is None else bisect.bisect_right(offers, after, key=order.key)
        rows = offers[start:within]
        return self._present(rows if mask is None else compress(rows, mask[start:within]))

    def _mask(self, wish: Wish) -> bytes | None:
        """One byte for each offer, whatever its price; None if all fit."""
        kind = wish.kind
        asked: dict[str, Callable[[Any], bool] | None] = {
            "kind": None if kind is None else lambda told: kind(*told),
            "gpu_count": wish.gpu_count,
            "location": wish.location,
        }
        mask: bytes | None = None
        for name, fits in asked.items():
            if fits is not None and name in self._columns:
                told = self._columns[name].mask(fits)
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
    prices = array("d", map(attrgetter("price_per_hour"), everything))
    columns: dict[str, _Column] = {}
    for name, attributes in _COLUMNS.items():
        columns[name] = yield from _column(everything, attrgetter(*attributes))
    in_order: dict[Order, _Sorted] = {}
    for order in orders if everything else ():
        in_order[order] = yield from _sorting(everything, order)
    return OfferIndex(everything, by_id, prices, columns, in_order)


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
    pages = []
    for first in range(0, len(numbers), _PAGE):
        here = [number - first + 1 if first <= number < first + _PAGE else 0 for number in range(len(numbers))]
        pages.append(bytes(map(here.__getitem__, codes)))
        yield
    return _Column(tuple(numbers), tuple(pages))


def _sorting(offers: tuple[Offer, ...], order: Order) -> Steps[_Sorted]:
    """Put the offers in an order. Equal ones stay as they are, which is cheapest first."""
    told = list(map(attrgetter(order.by), offers))
    if any(isinstance(value, str) for value in told):
        # Texts are compared once, and not as often as they stand in the list.
        ranks = sorted({order.rank(value) for value in set(told)})
        places = {rank: place for place, rank in enumerate(ranks)}
        of_value = {value: places[order.rank(value)] for value in set(told)}
        keys = array("d", map(of_value.__getitem__, told))
    else:
        sign = -1 if order.down else 1
        keys = array("d", [math.inf if value is None else sign * value for value in told])
    yield
    numbers = yield from sorting(range(len(keys)), keys.__getitem__)
    yield
    return _Sorted(tuple(map(offers.__getitem__, numbers)), _gathering(numbers))


def _gathering(numbers: Sequence[int]) -> Callable[[bytes], Iterable[int]]:
    if len(numbers) == 1:
        return lambda mask: mask  # with one number an itemgetter gives no tuple
    return itemgetter(*numbers)


def _joined(join: Callable[[int, int], int], one: bytes, other: bytes) -> bytes:
    """Two masks as one."""
    return join(int.from_bytes(one, "little"), int.from_bytes(other, "little")).to_bytes(len(one), "little")

"""Vast.ai's market search: filters, order, limit, and the answer's bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from shopperd.simulator.call import Call
from shopperd.simulator.exchange import JSON_TYPE, Answer, loose_json_answer
from shopperd.simulator.filters import BadFilterError, alike, condition, order_of
from shopperd.simulator.market import VastOffer
from shopperd.simulator.vastai_rows import OFFER_FIELDS, OfferEncoder, Pricing, offer_row

CONTROL_KEYS = frozenset(
    {
        "order",
        "type",
        "limit",
        "allocated_storage",
        "disable_bundling",
        "target_reliability",
        "extra_ids",
        "gpu_option",
        "show_incompatible",
        "sort_option",
        "template_id",
        "owner",
    }
)
BID_TYPES = ("bid", "interruptible")
DEFAULT_STORAGE_GB = 8.0
_SCATTER = 2_654_435_761


@frozen
class Search:
    """A search as it was understood."""

    pricing: Pricing
    tests: tuple[tuple[Callable[[VastOffer, Pricing, float], Any], Callable[[Any], bool]], ...]
    order: tuple[tuple[str, bool], ...]
    limit: int | None


def parse_search(query: Any) -> Search:
    """Read a search.

    Unknown fields filter nothing, and `verified` is not applied unless it is sent: recorded answers hold unverified rows
    although the documentation gives it a default.

    Raises:
        BadFilterError: a filter, the order, the limit or the storage cannot be read.
    """
    if not isinstance(query, Mapping):
        raise BadFilterError("q: Input should be a valid dictionary")
    tests = []
    for name, conditions in query.items():
        if name in CONTROL_KEYS or conditions is None:
            continue
        test = condition(name, conditions)
        getter = OFFER_FIELDS.get(name)
        if getter is not None:
            tests.append((getter, test))
    storage = _number(query, "allocated_storage", DEFAULT_STORAGE_GB)
    limit = query.get("limit")
    return Search(
        Pricing(storage, str(query.get("type") or "").lower() in BID_TYPES),
        tuple(tests),
        tuple(order_of(query.get("order"), OFFER_FIELDS)),
        None if limit is None else max(0, int(_number(query, "limit", 0))),
    )


def _number(query: Mapping[str, Any], name: str, default: float) -> float:
    value = query.get(name)
    if value is None:
        return default
    number = alike(value, 0.0)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise BadFilterError(f"q.{name}: Input should be a valid number")
    return float(number)


def matching(call: Call, search: Search) -> list[VastOffer]:
    """The free offers that fit, in the asked order; without a key a few of them, and not the cheapest."""
    pricing, now = search.pricing, call.now
    tests = search.tests
    found = [
        offer for offer in call.truth.vast.free() if all(test(getter(offer, pricing, now)) for getter, test in tests)
    ]
    if not call.key:
        cap = call.truth.settings.search_cap_without_key
        found = sorted(found, key=lambda offer: offer.id * _SCATTER % 2**32)[:cap]
    for name, descending in reversed(search.order):
        getter = OFFER_FIELDS[name]
        found.sort(key=lambda offer, get=getter: _sortable(get(offer, pricing, now)), reverse=descending)  # type: ignore[misc]  # a default argument binds the loop's getter
    return found if search.limit is None else found[: search.limit]


def _sortable(value: Any) -> tuple[bool, Any]:
    return (value is None, 0 if value is None else value)


def search_answer(call: Call, encoder: OfferEncoder, query: Any) -> Answer:
    """The answer's bytes; rows are built as objects only where a fault wants to change them.

    Raises:
        BadFilterError: see `parse_search`.
    """
    search = parse_search(query)
    offers = matching(call, search)
    if call.alters_offers:
        rows = call.offers([offer_row(offer, search.pricing, call.now) for offer in offers])
        return loose_json_answer(200, {"offers": rows})
    rows_json = b",".join([encoder.encode(offer, search.pricing, call.now) for offer in offers])
    return Answer(200, {"Content-Type": JSON_TYPE}, b'{"offers": [' + rows_json + b"]}")

"""The market: what is asked for, what rows mean, and how a market that was cut off is seen all the same."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from shopperd.model import Offer
from shopperd.providers.contract import AuthFailed, BadAnswer, OfferFilter, RateLimited, Unclear
from shopperd.providers.gpus import all_vastai_names
from shopperd.providers.transport import HttpRequest, Reply
from shopperd.providers.vastai import wire
from shopperd.providers.vastai.market import (
    CAP_ROWS,
    DEFAULT_DISK_GB,
    ROWS_MAX,
    SEARCHES_MAX,
    Part,
    Seen,
    first_part,
    query,
)
from shopperd.settings import LimitSettings
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.vastai.recordings import account, recorded, reply

ANY = OfferFilter()


def row(**fields: Any) -> wire.OfferRow:
    plain = {
        "id": 41000001,
        "gpu_name": "RTX 4090",
        "num_gpus": 1,
        "gpu_ram": 24564,
        "dph_total": 0.3,
        "geolocation": "Quebec, CA",
        "reliability2": 0.99,
        "verification": "verified",
        "rentable": True,
        "rented": False,
        "is_bid": False,
    }
    read = wire.read_row({**plain, **fields}, wire.OfferRow)
    assert read is not None
    return read


def offer(filter: OfferFilter = ANY, **fields: Any) -> Offer | str:
    """The offer that a row tells of, or why it is none that fits."""
    seen = Seen(first_part(filter), filter, "main")
    seen.take([row(**fields)])
    return seen.offers[0] if seen.offers else seen.rejected[0][1]


# What is asked for.


def test_a_search_for_anything_says_what_official_clients_say() -> None:
    assert query(ANY, first_part(ANY)) == {
        "verified": {"in": [True, False]},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "external": {"eq": False},
        "order": [["dph_total", "asc"]],
        "type": "on-demand",
        "limit": ROWS_MAX,
        "allocated_storage": DEFAULT_DISK_GB,
    }


def test_every_wish_becomes_a_condition() -> None:
    wishes = OfferFilter(
        gpu="rtx_4090",
        gpu_count=2,
        min_vram_gb=24,
        max_price_per_hour=1.5,
        location="ca",
        min_reliability=0.95,
        verified=True,
        interruptible=True,
    )
    body = query(wishes, first_part(wishes))
    assert body["gpu_name"] == {"in": ["RTX 4090"]}
    assert body["num_gpus"] == {"eq": 2}
    assert body["dph_total"] == {"lte": 1.5}
    assert body["geolocation"] == {"eq": "CA"}
    assert body["reliability"] == {"gte": 0.95}
    assert body["verified"] == {"eq": True}
    assert body["type"] == "bid"
    vram = body["gpu_ram"]
    assert isinstance(vram, dict)
    assert 22_000 < vram["gte"] <= 23_028


def test_a_place_that_is_no_country_code_is_looked_for_on_our_side() -> None:
    assert "geolocation" not in query(OfferFilter(location="quebec"), Part())


def test_a_part_narrows_the_search() -> None:
    narrow = Part(("A", "B"), others=True, price_from=0.1, price_below=0.2)
    body = query(OfferFilter(max_price_per_hour=0.15), narrow)
    assert body["gpu_name"] == {"notin": ["A", "B"]}
    assert body["dph_total"] == {"gte": 0.1, "lt": 0.2, "lte": 0.15}


# What a row means.


def test_a_row_is_an_offer() -> None:
    assert offer(disk_space=318.4) == Offer(
        id="vastai-41000001",
        provider="vastai",
        provider_id="41000001",
        account="main",
        gpu="RTX 4090",
        gpu_count=1,
        vram_gb=24,
        price_per_hour=0.3,
        location="Quebec, CA",
        reliability=0.99,
        verified=True,
        disk_gb=318.4,
    )


def test_an_offer_is_as_frozen_as_any() -> None:
    one, other = offer(), offer()
    assert type(one) is Offer
    assert (one, hash(one)) == (other, hash(other))
    with pytest.raises(FrozenInstanceError):
        one.price_per_hour = 0.0  # type: ignore[misc]


def test_a_bid_is_another_offer_for_the_same_machine_and_never_below_the_least_bid() -> None:
    spot = offer(OfferFilter(interruptible=True), is_bid=True, min_bid=0.7)
    assert isinstance(spot, Offer)
    assert (spot.id, spot.provider_id, spot.interruptible, spot.price_per_hour) == (
        "vastai-41000001-bid",
        "41000001",
        True,
        0.7,
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": None}, "no_id"),
        ({"id": 0}, "no_id"),
        ({"id": 1.5}, "no_id"),
        ({"gpu_name": None}, "no_gpu"),
        ({"gpu_name": " "}, "no_gpu"),
        ({"num_gpus": None}, "no_gpu_count"),
        ({"num_gpus": 0}, "no_gpu_count"),
        ({"num_gpus": 1000}, "no_gpu_count"),
        ({"dph_total": None}, "no_price"),
        ({"dph_total": "cheap"}, "no_price"),
        ({"dph_total": -0.1}, "bad_price"),
        ({"dph_total": 0}, "bad_price"),
        ({"dph_total": 1e9}, "bad_price"),
        ({"rentable": False}, "not_rentable"),
        ({"rented": True}, "not_rentable"),
        ({"external": True}, "not_rentable"),
        ({"is_bid": True}, "other_market"),
    ],
)
def test_a_row_that_is_no_offer_has_a_reason(fields: dict[str, Any], reason: str) -> None:
    assert offer(**fields) == reason


@pytest.mark.parametrize(
    "missing", ["geolocation", "reliability2", "verification", "rentable", "rented", "is_bid", "gpu_ram"]
)
def test_what_an_offer_does_not_tell_is_not_held_against_it(missing: str) -> None:
    assert isinstance(offer(**{missing: None}), Offer)


@pytest.mark.parametrize(
    ("wish", "fits", "does_not"),
    [
        ({"gpu": "RTX 4090"}, {}, {"gpu_name": "RTX 4090D"}),
        ({"gpu": "a100"}, {"gpu_name": "A100 SXM4"}, {"gpu_name": "A10"}),
        ({"gpu_count": 2}, {"num_gpus": "2"}, {"num_gpus": 1}),
        ({"min_vram_gb": 24}, {"gpu_ram": 23028}, {"gpu_ram": 16376, "gpu_name": "RTX 4080"}),
        ({"max_price_per_hour": 0.3}, {"dph_total": 0.3}, {"dph_total": 0.3001}),
        ({"location": "ca"}, {"geolocation": ", CA"}, {"geolocation": "California, US"}),
        ({"location": "CA"}, {"geolocation": "CA"}, {"geolocation": None}),
        ({"location": "quebec"}, {}, {"geolocation": "Ontario, CA"}),
        ({"min_reliability": 0.9}, {"reliability2": 0.9}, {"reliability2": 0.89}),
        ({"min_reliability": 0.9}, {"reliability2": 1233, "reliability": 0.95}, {"reliability2": 1233}),
        ({"min_reliability": 0.9}, {"reliability2": None, "reliability": 0.9}, {"reliability2": None}),
        ({"verified": True}, {}, {"verification": "deverified"}),
        ({"verified": True}, {"verification": None, "verified": True}, {"verification": None}),
        ({"verified": True}, {"verification": None, "verified": "verified"}, {"verified": False}),
        ({"verified": False}, {"verification": "unverified"}, {}),
        ({"verified": False}, {"verification": "deverified"}, {"verification": None}),
    ],
)
def test_every_condition_is_checked_again(wish: dict[str, Any], fits: dict[str, Any], does_not: dict[str, Any]) -> None:
    assert isinstance(offer(OfferFilter(**wish), **fits), Offer)
    assert offer(OfferFilter(**wish), **does_not) == "not_wanted"


# Answers.


async def test_ten_recorded_offers_are_ten_offers_cheapest_first(clock: FakeClock, metrics: Metrics) -> None:
    vast, sender = account(clock, metrics, recorded("search_ten"))
    market = await vast.list_offers(ANY)
    assert len(market) == 10
    assert not market.partial
    assert not market.rejected
    assert not market.unknown_gpus
    assert [offer.price_per_hour for offer in market] == sorted(offer.price_per_hour for offer in market)
    first = next(offer for offer in market if offer.id == "vastai-45100011")
    assert (first.gpu, first.vram_gb, first.location, first.verified) == ("RTX 4090", 24, "Quebec, CA", True)
    by_id = {offer.provider_id: offer for offer in market}
    assert (by_id["45100023"].location, by_id["45100023"].vram_gb) == ("US", 48)
    assert by_id["45100079"].location is None
    assert by_id["45100082"].verified is False
    assert by_id["45100108"].reliability == 0.9712
    assert len(sender.requests) == 1
    assert sender.requests[0].headers["Authorization"].startswith("Bearer ")


async def test_bad_rows_are_dropped_and_counted_and_cost_none_of_the_others(clock: FakeClock, metrics: Metrics) -> None:
    vast, _ = account(clock, metrics, recorded("search_bad_rows"))
    market = await vast.list_offers(ANY)
    assert [offer.provider_id for offer in market] == ["45200011", "45200012"]
    assert market.rejected == {
        "unreadable": 1,
        "no_price": 2,
        "no_id": 1,
        "not_rentable": 1,
        "no_gpu": 1,
        "bad_price": 2,
        "no_gpu_count": 1,
    }


@pytest.mark.parametrize(
    ("name", "error"),
    [("search_missing_list", BadAnswer), ("search_bad_key", AuthFailed), ("search_bad_filter", BadAnswer)],
)
async def test_an_answer_without_offers_is_an_error(
    clock: FakeClock, metrics: Metrics, name: str, error: type[Exception]
) -> None:
    vast, _ = account(clock, metrics, recorded(name))
    with pytest.raises(error):
        await vast.list_offers(ANY)


async def test_an_empty_market_is_one(clock: FakeClock, metrics: Metrics) -> None:
    vast, _ = account(clock, metrics, recorded("search_nothing"))
    market = await vast.list_offers(ANY)
    assert (len(market), market.partial) == (0, False)


async def test_an_unknown_gpu_is_kept_and_named(clock: FakeClock, metrics: Metrics) -> None:
    answer = {"offers": [{"id": 5, "gpu_name": "RTX 9999", "num_gpus": 1, "gpu_ram": 65536, "dph_total": 1.0}]}
    vast, _ = account(clock, metrics, reply(answer))
    market = await vast.list_offers(ANY)
    assert market.unknown_gpus == ("RTX 9999",)
    assert market[0].gpu == "RTX 9999"


async def test_an_offer_told_twice_is_one_at_the_higher_price(clock: FakeClock, metrics: Metrics) -> None:
    twice = [{"id": 5, "gpu_name": "RTX 4090", "num_gpus": 1, "dph_total": price} for price in (0.3, 0.4, 0.2)]
    vast, _ = account(clock, metrics, reply({"offers": twice}))
    market = await vast.list_offers(ANY)
    assert [offer.price_per_hour for offer in market] == [0.4]


# Markets that are cut off.

Row = dict[str, Any]


def capped(rows: list[Row], cap: int = CAP_ROWS) -> Callable[[HttpRequest], Reply]:
    """A market that gives no more than so many rows, and not the cheapest ones."""

    def answer(request: HttpRequest) -> Reply:
        asked = json.loads(request.body or b"{}")
        names, price = asked.get("gpu_name", {}), asked.get("dph_total", {})
        found = [
            row
            for row in rows
            if row["gpu_name"] in names.get("in", [row["gpu_name"]])
            and row["gpu_name"] not in names.get("notin", [])
            and price.get("gte", 0) <= row["dph_total"] < price.get("lt", 1e9)
        ]
        return reply({"offers": sorted(found, key=lambda row: row["id"] * 7919 % 1009)[:cap]})

    return answer


def rows_of(names: list[str], each: int) -> list[Row]:
    ids = itertools.count(1)
    return [
        {"id": next(ids), "gpu_name": name, "num_gpus": 1, "gpu_ram": 24564, "dph_total": round(0.1 + number * 0.01, 4)}
        for name in names
        for number in range(each)
    ]


async def test_a_market_that_is_cut_off_is_seen_in_parts(clock: FakeClock, metrics: Metrics) -> None:
    rows = rows_of([*all_vastai_names()[:30], "RTX 9999"], 15)
    vast, sender = account(clock, metrics, capped(rows))
    market = await vast.list_offers(ANY)
    assert {offer.provider_id for offer in market} == {str(row["id"]) for row in rows}
    assert not market.partial
    assert len(sender.requests) <= SEARCHES_MAX


async def test_one_gpu_that_is_cut_off_is_seen_by_price(clock: FakeClock, metrics: Metrics) -> None:
    rows = rows_of(["RTX 4090"], 500)
    vast, sender = account(clock, metrics, capped(rows))
    market = await vast.list_offers(OfferFilter(gpu="RTX 4090"))
    assert len(market) == 500
    assert not market.partial
    assert len(sender.requests) < SEARCHES_MAX


async def test_many_at_one_price_cannot_be_told_apart_and_the_market_is_partial(
    clock: FakeClock, metrics: Metrics
) -> None:
    rows = [{**row, "dph_total": 0.3} for row in rows_of(["RTX 4090"], 100)]
    vast, sender = account(clock, metrics, capped(rows))
    market = await vast.list_offers(OfferFilter(gpu="RTX 4090"))
    assert market.partial
    assert len(market) == CAP_ROWS
    assert len(sender.requests) == 1


@pytest.mark.parametrize(("count", "searches"), [(CAP_ROWS - 1, 1), (CAP_ROWS + 1, 1)])
async def test_any_other_number_of_rows_is_not_cut_off(
    clock: FakeClock, metrics: Metrics, count: int, searches: int
) -> None:
    vast, sender = account(clock, metrics, reply({"offers": rows_of(["RTX 4090"], count)}))
    market = await vast.list_offers(ANY)
    assert (len(market), len(sender.requests), market.partial) == (count, searches, False)


async def test_there_is_an_end_to_asking(clock: FakeClock, metrics: Metrics) -> None:
    endless = rows_of(["RTX 4090"], CAP_ROWS)
    prices = itertools.count(1)

    def answer(request: HttpRequest) -> Reply:
        return reply({"offers": [{**row, "dph_total": row["dph_total"] * next(prices) % 7 + 0.1} for row in endless]})

    vast, sender = account(clock, metrics, answer)
    market = await vast.list_offers(ANY)
    assert market.partial
    assert len(sender.requests) == SEARCHES_MAX


@pytest.mark.parametrize("error", [Unclear("down", "server"), BadAnswer("?"), RateLimited("slow down")])
async def test_a_later_search_that_fails_leaves_the_market_partial(
    clock: FakeClock, metrics: Metrics, error: Exception
) -> None:
    vast, _ = account(clock, metrics, reply({"offers": rows_of(["RTX 4090"], CAP_ROWS)}), error)
    market = await vast.list_offers(ANY)
    assert (len(market), market.partial) == (CAP_ROWS, True)


async def test_a_search_that_fails_at_once_is_an_error(clock: FakeClock, metrics: Metrics) -> None:
    vast, _ = account(clock, metrics, Unclear("down", "server"))
    with pytest.raises(Unclear):
        await vast.list_offers(ANY)


async def test_a_row_that_every_part_repeats_is_counted_once(clock: FakeClock, metrics: Metrics) -> None:
    rows = rows_of(["RTX 4090", "RTX 3090"], 40)
    rows[0]["dph_total"] = -1.0
    vast, sender = account(clock, metrics, lambda request: reply({"offers": rows[:CAP_ROWS]}))
    market = await vast.list_offers(ANY)
    assert len(sender.requests) > 1
    assert market.rejected == {"bad_price": 1}


@given(st.lists(st.sampled_from(["RTX 4090", "RTX 3090", "RTX 9999", "H100 SXM"]), max_size=40), st.randoms())
async def test_no_offer_is_ever_lost_when_the_market_is_not_partial(names: list[str], random: Any) -> None:
    rows = [
        {"id": number, "gpu_name": name, "num_gpus": 1, "dph_total": round(random.uniform(0.01, 9), 3)}
        for number, name in enumerate(names, start=1)
    ]
    vast, _ = account(FakeClock(), Metrics(registry=CollectorRegistry()), capped(rows, 64))
    market = await vast.list_offers(ANY)
    assert market.partial or {offer.provider_id for offer in market} == {str(row["id"]) for row in rows}


async def test_each_search_waits_for_its_turn(clock: FakeClock, metrics: Metrics) -> None:
    rows = rows_of(["RTX 4090"], 100)
    vast, sender = account(clock, metrics, capped(rows), limits=LimitSettings())
    await vast.list_offers(OfferFilter(gpu="RTX 4090"))
    assert clock.monotonic() == pytest.approx(6.0 * (len(sender.requests) - 1), rel=0.02)

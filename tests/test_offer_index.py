"""What an index finds is what looking at every offer would find."""

import itertools
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from shopperd.model import Offer
from shopperd.offer_index import CHEAPEST, ORDERS, OfferIndex, Order, Wish, index_of, indexing
from shopperd.turns import RUN, at_once

OFFER = st.builds(
    Offer,
    id=st.integers(1, 40).map(str),
    provider=st.just("vastai"),
    provider_id=st.sampled_from("abc"),
    account=st.just("main"),
    gpu=st.sampled_from(["H100", "h100", "RTX 4090", "A"]),
    gpu_count=st.integers(1, 3),
    vram_gb=st.none() | st.sampled_from([24, 80]),
    price_per_hour=st.sampled_from([0.1, 0.2, 0.3]),
    location=st.none() | st.sampled_from(["Ohio, US", "Quebec, CA"]),
    reliability=st.none() | st.sampled_from([0.5, 0.9, 1.0]),
    interruptible=st.booleans(),
)
OFFERS = st.lists(OFFER, max_size=30, unique_by=lambda offer: offer.id)


def plainly(offers: list[Offer], wish: Wish, order: Order) -> list[Offer]:
    """What fits, by looking at each."""
    return sorted(
        (
            offer
            for offer in offers
            if (wish.kind is None or wish.kind(offer.gpu, offer.vram_gb, offer.interruptible))
            and (wish.gpu_count is None or wish.gpu_count(offer.gpu_count))
            and (wish.location is None or wish.location(offer.location))
            and (wish.max_price_per_hour is None or offer.price_per_hour <= wish.max_price_per_hour)
        ),
        key=order.key,
    )


WISH = st.builds(
    Wish,
    kind=st.none() | st.sampled_from([lambda gpu, vram, spot: not spot, lambda gpu, vram, spot: (vram or 0) > 24]),
    gpu_count=st.none() | st.sampled_from([(2).__eq__, (9).__eq__]),
    location=st.none() | st.just(lambda place: place is not None and "US" in place),
    max_price_per_hour=st.none() | st.sampled_from([0.05, 0.2, 9.0]),
)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@given(OFFERS, WISH, st.data())
def test_an_index_finds_what_looking_at_each_offer_would(
    order: Order, offers: list[Offer], wish: Wish, data: st.DataObject
) -> None:
    index, expected = index_of(offers), plainly(offers, wish, order)
    assert list(index.found(wish, order)) == expected
    if offers:
        after = order.key(data.draw(st.sampled_from(offers)))
        assert list(index.found(wish, order, after)) == [one for one in expected if order.key(one) > after]


@given(OFFERS, WISH, st.sampled_from(ORDERS), st.sampled_from("abc"))
def test_a_machine_that_is_gone_is_nowhere(offers: list[Offer], wish: Wish, order: Order, gone: str) -> None:
    index = index_of(offers).without(gone)
    left = [offer for offer in offers if offer.provider_id != gone]
    assert list(index.found(wish, order)) == plainly(left, wish, order)
    assert list(index.offers) == plainly(left, Wish(), CHEAPEST)
    assert len(index) == len(left)
    assert {offer.id for offer in offers if index.get(offer.id) is not None} == {offer.id for offer in left}


def test_more_values_than_a_byte_can_count_are_found_too() -> None:
    one = Offer("0", "vastai", "0", "main", "H100", 1, 80, 1.0)
    offers = [
        evolve(one, id=str(n), gpu=f"G{n % 700}", location=f"L{n % 300}", price_per_hour=n % 7) for n in range(2000)
    ]
    wish = Wish(kind=lambda gpu, vram, spot: gpu in ("G3", "G699"), location=lambda place: place in ("L3", "L99"))
    for order in ORDERS:
        assert list(index_of(offers).found(wish, order)) == plainly(offers, wish, order)


def test_an_order_that_was_asked_for_can_be_made_ready_in_the_next_index() -> None:
    offers = [Offer(str(n), "vastai", str(n), "main", "H100", 1, 80, float(n), reliability=1 / n) for n in (1, 2, 3)]
    index, order = index_of(offers), Order("reliability")
    assert index.orders == ()
    assert [offer.id for offer in index.found(Wish(), order)] == ["3", "2", "1"]
    assert index.orders == (order,)
    assert at_once(indexing(offers, index.orders)).orders == (order,)


def test_an_order_is_made_ready_in_steps() -> None:
    one = Offer("0", "vastai", "0", "main", "H100", 1, 80, 1.0)
    index = index_of([evolve(one, id=str(n), vram_gb=n % 90) for n in range(10 * RUN)])
    order = Order("vram_gb", down=True)
    assert sum(1 for _ in index.preparing(order)) > 10
    assert index.orders == (order,)
    assert list(index.preparing(order)) == list(index.preparing(CHEAPEST)) == []


def test_an_index_of_nothing_finds_nothing() -> None:
    wish = Wish(kind=lambda *_: True, gpu_count=(1).__eq__, location=lambda _: True, max_price_per_hour=1.0)
    for index, order in itertools.product((OfferIndex(), index_of([])), ORDERS):
        assert list(index.found(wish, order)) == []
        assert list(index.found(Wish(), order)) == []


@pytest.mark.parametrize("after", [(False, "x", 0.1, "1"), (False, 0.1, "x", 1), ("x",)])
def test_what_is_no_key_of_an_order_is_an_error(after: Any) -> None:
    index = index_of([Offer("1", "vastai", "1", "main", "H100", 1, 80, 0.1)])
    with pytest.raises(TypeError):
        index.found(Wish(), CHEAPEST, after)


@pytest.mark.parametrize("count", [1, 2, 254, 255, 256, 1000])
def test_the_wished_price_is_exact_however_many_offers_there_are(count: int) -> None:
    offers = [Offer(str(n), "vastai", str(n), "main", "H100", 1, 80, float(n)) for n in range(count)]
    index = index_of(offers)
    for most in (-1, 0, 1, count // 2, count - 1, count):
        wish = Wish(max_price_per_hour=most)
        for order in (CHEAPEST, Order("price_per_hour", down=True)):
            assert list(index.found(wish, order)) == plainly(offers, wish, order)

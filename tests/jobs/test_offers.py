"""The offers job: what readers see of a market, and what is kept of it."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from attrs import evolve

from shopperd.gpu_prices import GpuPrices, MarketPrices
from shopperd.jobs.housekeeping import HousekeepingJob
from shopperd.jobs.offers import OffersJob
from shopperd.model import Offer
from shopperd.offer_index import Order, Wish
from shopperd.providers.contract import Feature, OfferFilter, OfferList, Unclear
from shopperd.store import prices
from tests.jobs.desk import Desk

OFFER = Offer("vastai-1", "vastai", "1", "main", "H100 SXM", 2, 80, 4.0)
BID = evolve(OFFER, id="vastai-1-bid", price_per_hour=1.0, interruptible=True)


class Market:
    """A provider that only has offers."""

    name = "vastai"

    def __init__(self, *offers: Offer) -> None:
        self.offers: Sequence[Offer] | Exception = offers
        self.partial = False

    async def list_offers(self, filter: OfferFilter) -> OfferList:
        if isinstance(self.offers, Exception):
            raise self.offers
        wanted = (offer for offer in self.offers if offer.interruptible is filter.interruptible)
        return OfferList(tuple(wanted), partial=self.partial)

    def supports_feature(self, feature: Feature) -> bool:
        return feature is Feature.SPOT_PRICING


@pytest.fixture
def market(desk: Desk) -> Market:
    market = Market(OFFER, BID)
    desk.at.provider = market  # type: ignore[assignment]
    return market


def kept(desk: Desk) -> Sequence[MarketPrices]:
    now = desk.clock.now()
    page = desk.store.run_sync(prices.page, now - timedelta(days=365), now + timedelta(days=1))
    return page.items


async def test_a_refresh_swaps_the_list_and_keeps_the_prices(desk: Desk, market: Market) -> None:
    before = desk.at.market.index
    await OffersJob(desk.context, desk.at).run()
    assert desk.at.market.index is not before
    assert list(desk.at.market.index.offers) == [BID, OFFER]
    assert kept(desk) == (
        MarketPrices(
            "main",
            desk.clock.now(),
            False,
            (GpuPrices("H100 SXM", False, 1, 2.0, 2.0, 2.0, 2.0), GpuPrices("H100 SXM", True, 1, 0.5, 0.5, 0.5, 0.5)),
        ),
    )


async def test_a_refresh_that_fails_leaves_the_list_and_keeps_no_prices(desk: Desk, market: Market) -> None:
    before = desk.at.market.index
    market.offers = Unclear("no answer", "timeout")
    with pytest.raises(Unclear):
        await OffersJob(desk.context, desk.at).run()
    assert (desk.at.market.index, desk.at.market.stale) == (before, True)
    assert kept(desk) == ()


async def test_prices_of_a_part_of_the_market_are_told_to_be_so(desk: Desk, market: Market) -> None:
    market.partial = True
    await OffersJob(desk.context, desk.at).run()
    assert [read.partial for read in kept(desk)] == [True]


async def test_a_store_that_takes_no_prices_costs_a_point_and_no_refresh(desk: Desk, market: Market) -> None:
    desk.wilful.refuses.add("record")
    await OffersJob(desk.context, desk.at).run()
    assert list(desk.at.market.index.offers) == [BID, OFFER]
    assert not desk.at.market.stale
    assert kept(desk) == ()


async def test_who_may_not_act_keeps_no_prices(desk: Desk, market: Market) -> None:
    desk.context.acts_until = 0.0
    await OffersJob(desk.context, desk.at).run()
    assert list(desk.at.market.index.offers) == [BID, OFFER]
    assert kept(desk) == ()


async def test_an_order_that_was_asked_for_is_ready_after_a_refresh(desk: Desk, market: Market) -> None:
    job, order = OffersJob(desk.context, desk.at), Order("reliability")
    await job.run()
    list(desk.at.market.index.found(Wish(), order))
    await job.run()
    assert desk.at.market.index.orders == (order,)


async def test_old_prices_are_not_kept_for_ever(desk: Desk, market: Market) -> None:
    desk.context.store = desk.store
    await OffersJob(desk.context, desk.at).run()
    desk.clock.advance(desk.context.settings.store.keep_prices - 1)
    await OffersJob(desk.context, desk.at).run()
    await HousekeepingJob(desk.context).run()
    assert len(kept(desk)) == 2
    desk.clock.advance(2)
    await HousekeepingJob(desk.context).run()
    assert [read.at for read in kept(desk)] == [desk.clock.now() - timedelta(seconds=2)]

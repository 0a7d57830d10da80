"""The offers job: keeps the newest good list of an account's market for readers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from attrs import define

from shopperd.gpu_prices import MarketPrices, pricing
from shopperd.jobs.context import AccountAtWork, Context, Market, Report, log
from shopperd.model import Offer
from shopperd.offer_index import indexing
from shopperd.providers.contract import Feature, OfferFilter, OfferList
from shopperd.store import StoreError, prices
from shopperd.telemetry import OFFER_QUANTILES
from shopperd.turns import in_turns


@define
class OffersJob:
    """Refreshes one account's market. On failure the old list stays, marked stale."""

    context: Context
    at: AccountAtWork
    name: str = "offers"
    must_finish: bool = False

    @property
    def account(self) -> str:
        """The account's name."""
        return self.at.name

    @property
    def interval(self) -> float:
        """Seconds from run to run."""
        return self.context.settings.jobs.offers.interval

    @property
    def deadline(self) -> float:
        """A market that has to be read name by name takes minutes at the provider's pace; offers are the last in every queue."""
        return max(1800.0, 3 * self.interval)

    async def run(self) -> Report:
        """Read the market and swap the list at once, so that readers never see half of one."""
        try:
            lists = [await self.at.provider.list_offers(OfferFilter())]
            if self.at.provider.supports_feature(Feature.SPOT_PRICING):
                lists.append(await self.at.provider.list_offers(OfferFilter(interruptible=True)))
        except Exception:
            self.at.market.stale = True
            raise
        offered = [offer for found in lists for offer in found]
        index = await in_turns(indexing(offered, self.at.market.index.orders), self.context.clock)
        offers = index.offers
        self.at.market = Market(
            index=index,
            refreshed_at=self.context.clock.now(),
            stale=False,
            partial=any(found.partial for found in lists),
        )
        self._show(offers, lists)
        self.context.changes.tell()
        await self._keep_prices(offers)
        cut = " (cut off by the provider)" if self.at.market.partial else ""
        return Report(
            f"{len(offers)} offers{cut}, {sum(sum(found.rejected.values()) for found in lists)} rows rejected"
        )

    async def _keep_prices(self, offers: Sequence[Offer]) -> None:
        """Note what GPUs cost now. The list is there for readers already, so a store that does not take it costs a point only."""
        market = self.at.market
        if market.refreshed_at is None or self.context.no_right:
            return
        gpus = await in_turns(pricing(offers), self.context.clock)
        try:
            await self.context.store.run(
                prices.record, MarketPrices(self.at.name, market.refreshed_at, market.partial, gpus)
            )
        except StoreError as error:
            log.warning("offers.prices_not_kept", detail=str(error))

    def _show(self, offers: Sequence[Offer], lists: list[OfferList]) -> None:
        metrics, provider = self.context.metrics, self.at.provider_name
        by_gpu: dict[str, list[float]] = defaultdict(list)
        for offer in offers:
            by_gpu[offer.gpu].append(offer.price_per_hour)
        known = self.context.gpus_shown.setdefault(provider, set())
        for gone in sorted(known - by_gpu.keys()):
            metrics.offers.remove(provider, gone)
            for quantile in OFFER_QUANTILES:
                metrics.offer_price_usd_per_hour.remove(provider, gone, quantile)
            known.discard(gone)
        for gpu, of_gpu in by_gpu.items():
            known.add(gpu)
            metrics.offers.labels(provider=provider, gpu=gpu).set(len(of_gpu))
            for quantile in OFFER_QUANTILES:
                price = of_gpu[round(float(quantile) * (len(of_gpu) - 1))]
                metrics.offer_price_usd_per_hour.labels(provider=provider, gpu=gpu, quantile=quantile).set(price)
        for found in lists:
            for reason, count in found.rejected.items():
                metrics.offers_rejected_total.labels(provider=provider, reason=reason).inc(count)
            if found.unknown_gpus:
                metrics.offers_rejected_total.labels(provider=provider, reason="unknown_gpu").inc(0)
                log.info("offers.unknown_gpus", names=list(found.unknown_gpus)[:20], count=len(found.unknown_gpus))

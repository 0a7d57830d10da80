"""What a filter asks of an offer, checked on our side: no marketplace applies every condition, and none always."""

from __future__ import annotations

from shopperd.model import Offer
from shopperd.providers.contract import OfferFilter
from shopperd.providers.gpus import matches


def fits(offer: Offer, filter: OfferFilter) -> bool:
    """Whether an offer is what was asked for, its location left aside, which every marketplace words differently.

    What an offer does not tell does not fit.
    """
    return (
        (filter.gpu is None or matches(filter.gpu, offer.gpu, offer.vram_gb))
        and (filter.gpu_count is None or offer.gpu_count == filter.gpu_count)
        and (filter.min_vram_gb is None or (offer.vram_gb is not None and offer.vram_gb >= filter.min_vram_gb))
        and (filter.max_price_per_hour is None or offer.price_per_hour <= filter.max_price_per_hour)
        and (
            filter.min_reliability is None
            or (offer.reliability is not None and offer.reliability >= filter.min_reliability)
        )
        and (filter.verified is None or offer.verified is filter.verified)
        and filter.interruptible is offer.interruptible
    )

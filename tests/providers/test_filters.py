"""What a filter asks of an offer."""

from typing import Any

import pytest
from attrs import evolve

from shopperd.model import Offer
from shopperd.providers.contract import OfferFilter
from shopperd.providers.filters import fits

OFFER = Offer(
    id="vastai-1",
    provider="vastai",
    provider_id="1",
    account="main",
    gpu="RTX 4090",
    gpu_count=2,
    vram_gb=24,
    price_per_hour=0.8,
    reliability=0.98,
    verified=True,
)


def test_without_a_condition_every_offer_fits() -> None:
    assert fits(OFFER, OfferFilter())


@pytest.mark.parametrize(
    ("condition", "met", "missed"),
    [
        ("gpu", "geforce rtx4090", "RTX 4090D"),
        ("gpu_count", 2, 1),
        ("min_vram_gb", 24, 25),
        ("max_price_per_hour", 0.8, 0.79),
        ("min_reliability", 0.98, 0.981),
        ("verified", True, False),
        ("interruptible", False, True),
    ],
)
def test_each_condition_holds_or_does_not(condition: str, met: Any, missed: Any) -> None:
    assert fits(OFFER, OfferFilter(**{condition: met}))
    assert not fits(OFFER, OfferFilter(**{condition: missed}))


@pytest.mark.parametrize(
    ("field", "condition"),
    [
        ("vram_gb", OfferFilter(min_vram_gb=1)),
        ("reliability", OfferFilter(min_reliability=0.1)),
        ("verified", OfferFilter(verified=False)),
    ],
)
def test_what_an_offer_does_not_tell_does_not_fit(field: str, condition: OfferFilter) -> None:
    assert not fits(evolve(OFFER, **{field: None}), condition)

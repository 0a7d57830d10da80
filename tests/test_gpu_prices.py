"""A market in a few numbers for each GPU."""

from attrs import evolve

from shopperd.gpu_prices import GpuPrices, pricing
from shopperd.model import Offer
from shopperd.turns import at_once

ONE = Offer("1", "vastai", "1", "main", "H100", 1, 80, 2.0)


def test_each_gpu_has_its_quantiles_and_interruptible_offers_are_apart() -> None:
    offers = [evolve(ONE, price_per_hour=float(price)) for price in range(100, 0, -1)]
    offers += [evolve(ONE, gpu="A100", price_per_hour=8.0, gpu_count=8)]
    offers += [evolve(ONE, interruptible=True, price_per_hour=0.5)]
    assert at_once(pricing(offers)) == (
        GpuPrices("A100", False, 1, 1.0, 1.0, 1.0, 1.0),
        GpuPrices("H100", False, 100, 1.0, 11.0, 51.0, 90.0),
        GpuPrices("H100", True, 1, 0.5, 0.5, 0.5, 0.5),
    )


def test_no_offers_have_no_prices() -> None:
    assert at_once(pricing([])) == ()

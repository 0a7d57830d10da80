"""What GPUs cost on a market, in a few numbers for each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter

from attrs import frozen

from shopperd.model import Offer
from shopperd.turns import RUN, Steps


@frozen
class GpuPrices:
    """The offers of one GPU at one moment.

    Attributes:
        offers: how many there were.
        least, p10, p50, p90: USD per hour of one GPU, its share of the whole machine's price: the least of all, and what a
            tenth, half and nine tenths of the offers cost at most.
    """

    gpu: str
    interruptible: bool
    offers: int
    least: float
    p10: float
    p50: float
    p90: float


@frozen
class MarketPrices:
    """A market as it was read once. `partial`: the provider cut it off, so offers are missing."""

    account: str
    at: datetime
    partial: bool
    gpus: Sequence[GpuPrices]


def pricing(offers: Sequence[Offer]) -> Steps[tuple[GpuPrices, ...]]:
    """The prices of each GPU, on demand and interruptible apart, by name."""
    prices: dict[tuple[str, bool], list[float]] = {}
    told = attrgetter("gpu", "interruptible", "price_per_hour", "gpu_count")
    for start in range(0, len(offers), RUN):
        for gpu, interruptible, price, count in map(told, offers[start : start + RUN]):
            prices.setdefault((gpu, interruptible), []).append(price / count)
        yield
    found = []
    for (gpu, interruptible), of_gpu in sorted(prices.items()):
        of_gpu.sort()
        found.append(GpuPrices(gpu, interruptible, len(of_gpu), of_gpu[0], *_quantiles(of_gpu)))
        yield
    return tuple(found)


def _quantiles(prices: Sequence[float]) -> Iterable[float]:
    """The tenth, the half and the nine tenths: prices that are asked for, and none in between."""
    return (prices[round(share * (len(prices) - 1))] for share in (0.1, 0.5, 0.9))

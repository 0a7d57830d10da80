"""Reads a market as the daemon does, in a process of its own, and prints what that took as one JSON object.

usage: python -m tests.bench.reader ORIGIN (time | memory | lag)
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import Iterable
from contextlib import nullcontext
from statistics import quantiles

import msgspec
from prometheus_client import CollectorRegistry

from shopperd.clock import SystemClock
from shopperd.offer_index import indexing
from shopperd.process import settle_memory
from shopperd.providers.contract import OfferFilter
from shopperd.providers.vastai.adapter import open_vastai
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings, SecretSource
from shopperd.telemetry import Metrics
from shopperd.turns import in_turns
from tests.bench.lag import Lag, crumbs, watched


def _p99(seconds: Iterable[float]) -> float:
    return quantiles(seconds, n=100)[98]


async def _main(origin: str, what: str) -> dict[str, float]:
    clock = SystemClock()
    key = Secret(SecretSource(env="KEY"), {"KEY": "a-key"})
    settings = AccountSettings("main", "vastai", base_url=origin, request_timeout=600.0)
    vast = open_vastai(
        settings, deployment="", secrets={"api_key": key}, clock=clock, metrics=Metrics(CollectorRegistry())
    )
    settle_memory()
    lags: list[Lag] = [(0.0, 0.0)] * 2
    baseline: list[Lag] = [(0.0, 0.0)] * 2
    if what == "lag":
        await crumbs(baseline)
    if what == "memory":
        gc.collect()
        tracemalloc.start()
    with watched(lags) if what == "lag" else nullcontext():
        began = time.process_time()
        offers = await vast.list_offers(OfferFilter())
        seconds = time.process_time() - began
        index = await in_turns(indexing(offers), clock)
    del offers
    peak = tracemalloc.get_traced_memory()[1] if what == "memory" else 0
    if what == "lag":
        await crumbs(baseline)
    await vast.close()
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] if what == "memory" else 0
    return {
        "offers": len(index),
        "cpu_seconds": seconds,
        "lag_p99_seconds": _p99(wall for wall, _ in lags) - _p99(wall for wall, _ in baseline),
        "lag_p99_cpu_seconds": _p99(cpu for _, cpu in lags),
        "kept_bytes": kept,
        "peak_bytes": peak,
    }


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(_main(*sys.argv[1:]))).decode())

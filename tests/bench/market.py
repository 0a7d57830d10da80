"""The market of 64,000 offers: reading it, finding a page of it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median

import msgspec
import orjson

from shopperd.model import Offer
from shopperd.offer_index import ORDERS, OfferIndex, Wish, index_of
from shopperd.providers.contract import OfferFilter
from shopperd.providers.rows import Rows
from shopperd.providers.transport import CHUNK_BYTES
from shopperd.providers.vastai import market, wire
from tests.bench.answers import market_body, served
from tests.bench.result import Result, ratio

PAGE = 100
ROUNDS = 5
MB = 1e6


def results() -> Iterable[Result]:
    """All of them."""
    body = market_body()
    yield Result(
        "market.records_time", ratio(lambda: records(body), lambda: orjson.loads(body)), "of orjson.loads", 0.6
    )
    yield Result("market.offers_time", ratio(lambda: offers(body), lambda: orjson.loads(body)), "of orjson.loads", 0.8)
    with tempfile.TemporaryDirectory() as folder, served(body, Path(folder)) as origin:
        lags = [read(origin, "lag") for _ in range(3)]
        lag = median(run["lag_p99_cpu_seconds"] for run in lags)
        yield Result("market.loop_lag_p99", lag * 1000, "ms of CPU", 10.0)
        lag = median(run["lag_p99_seconds"] for run in lags)
        yield Result("market.loop_lag_p99_by_the_wall", lag * 1000, "ms more than beside work in crumbs", 10.0)
        memory = read(origin, "memory")
        allowed = 1.2 * memory["kept_bytes"] + 8 * MB
        yield Result("market.peak_memory", memory["peak_bytes"] / allowed, "of 1.2 kept + 8 MB", 1.0)
        yield Result("market.kept", memory["kept_bytes"] / memory["offers"], "bytes an offer", 1000.0)
    index = index_of(offers(body))
    yield Result("market.page", max(page_seconds(index)) * 1000, "ms of CPU", 5.0)


def records(body: bytes) -> Sequence[object]:
    """Every row as a record, in pieces as they come from a socket."""
    found: list[wire.OfferRow | None] = []
    _feed(body, Rows("offers", wire.OFFER_ROWS, found.extend))
    return found


def offers(body: bytes) -> Sequence[Offer]:
    """Every row as an offer, in the same way."""
    seen = market.Seen(market.Part(), OfferFilter(), "main")
    _feed(body, Rows("offers", wire.OFFER_ROWS, seen.take))
    return seen.offers


def _feed(body: bytes, intake: Rows[wire.OfferRow]) -> None:
    for start in range(0, len(body), CHUNK_BYTES):
        intake.feed(body[start : start + CHUNK_BYTES])
    wire.read_offers(intake.finish())


def read(origin: str, what: str) -> dict[str, float]:
    """The whole way, from a socket to the index, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bench.reader", origin, what], check=True, capture_output=True, timeout=60
    )
    return msgspec.json.decode(ran.stdout, type=dict[str, float])


WISHES = {
    "any": Wish(),
    "one GPU": Wish(kind=lambda gpu, vram_gb, spot: gpu == "RTX 4090"),
    "many conditions": Wish(
        kind=lambda gpu, vram_gb, spot: not spot and (vram_gb or 0) >= 80,
        gpu_count=(8).__eq__,
        location=lambda place: place is not None and place.endswith("US"),
        max_price_per_hour=50.0,
    ),
    "nothing fits": Wish(kind=lambda gpu, vram_gb, spot: False),
}


def page_seconds(index: OfferIndex) -> Iterator[float]:
    """What a page takes, for each wish in each order, from the beginning and from the middle."""
    for order in ORDERS:
        middle = order.key(list(index.found(Wish(), order))[len(index) // 2])
        for wish in WISHES.values():
            for after in (None, middle):
                times = []
                for _ in range(ROUNDS):
                    began = time.process_time()
                    page = list(islice(index.found(wish, order, after), PAGE))
                    times.append(time.process_time() - began)
                    del page
                yield median(times)

"""How late a loop comes to somebody who waits, and how much of that the machine makes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

TICK_SECONDS = 0.001
CRUMB_SECONDS = 0.0001
BASELINE_SECONDS = 1.0

Lag = tuple[float, float]
"""How late the loop came to somebody: by the wall, and by what the loop's thread worked meanwhile."""


@contextmanager
def watched(lags: list[Lag]) -> Iterator[None]:
    """Note how late the loop comes to somebody who waits a millisecond, again and again."""
    ticking = asyncio.create_task(_tick(lags))
    try:
        yield
    finally:
        ticking.cancel()


async def crumbs(lags: list[Lag]) -> None:
    """Work steadily for a second, in pieces that keep nobody waiting: how late the loop is then, the machine made it."""
    with watched(lags):
        end = time.perf_counter() + BASELINE_SECONDS
        while (began := time.perf_counter()) < end:
            while time.perf_counter() < began + CRUMB_SECONDS:
                pass
            await asyncio.sleep(0)


async def _tick(lags: list[Lag]) -> None:
    while True:
        wall, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(TICK_SECONDS)
        lags.append((time.perf_counter() - wall - TICK_SECONDS, time.thread_time() - cpu))

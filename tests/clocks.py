"""A clock for tests: time passes only when everybody who is awake has nothing left to do."""

import asyncio
import heapq
import itertools
import random
from datetime import UTC, datetime, timedelta

IDLE_ROUNDS = 12
"""Turns of the event loop that the others get before the earliest sleeper moves the time; no wake-up here takes as many."""


class FakeClock:
    """Sleepers wake in the order of their deadlines, and the time jumps from one to the next."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 22, 0, tzinfo=UTC), seed: int = 7) -> None:
        self.random = random.Random(seed)
        self.jumped_seconds = 0.0
        self._start = start
        self._seconds = 0.0
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds)

    def wall(self) -> datetime:
        return self.now() + timedelta(seconds=self.jumped_seconds)

    def monotonic(self) -> float:
        return self._seconds

    def advance(self, seconds: float) -> None:
        self._seconds += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock alone."""
        self._start += timedelta(seconds=seconds)

    def heard(self, told: datetime) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = (self._seconds + seconds, next(self._numbers))
        heapq.heappush(self._sleepers, sleeper)
        try:
            while True:
                for _ in range(IDLE_ROUNDS):
                    await asyncio.sleep(0)
                if self._sleepers[0] == sleeper:
                    self._seconds = max(self._seconds, sleeper[0])
                    return
        finally:
            self._sleepers.remove(sleeper)
            heapq.heapify(self._sleepers)

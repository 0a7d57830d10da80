"""The one source of time, sleep and randomness, handed in everywhere so that a year of faults runs in seconds."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

JUMP_SECONDS = 5.0
"""The wall clock may be slewed by so much between two looks; more is a jump."""

DISTRUST_SECONDS = 3600.0
"""A jump back is believed only after it has stood for so long: it may be put right before deadlines count by it."""

AHEAD_SECONDS = 60.0
"""A clock that is further ahead of a provider's is wrong, and not the answer slow."""

NO_EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
"""A provider that tells an earlier time has no clock."""


class Clock(Protocol):
    """Time, sleep and randomness. Durations are seconds.

    Attributes:
        jumped_seconds: how far the machine's clock is ahead of `now`, which does not go by it; 0 while the two agree.
    """

    random: random.Random
    jumped_seconds: float

    def now(self) -> datetime:
        """The time of day, UTC. It never leaps forward because somebody set the machine's clock."""

    def wall(self) -> datetime:
        """What the machine's clock says, UTC, leaps and all: what others go by, who have no part in `now`. No deadline is counted by it."""

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary start. Use it for deadlines inside the process."""

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less only gives way."""

    def heard(self, told: datetime) -> float:
        """Hear a provider's time of day, to a second. Seconds by which `now` was set back for it."""


def _awake_seconds() -> float:
    """Seconds since the machine started, those that it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SystemClock:
    """The machine's own clock, steadied: a wall clock that jumps while the process runs is not followed at once.

    Sessions end and orphans ripen by time, so a clock that is set forward by a day would end everything. A jump forward is
    never followed, even if it puts right a clock that was slow: deadlines were counted by that one, and would come early. The
    time goes on as it would have without it until the wall clock agrees again, or for the life of the process; `jumped_seconds`
    tells of it. A jump back ends nothing. It is followed when it has stood for `DISTRUST_SECONDS`.

    Nor is the time believed at once that the process found at its start, if it is ahead of what a provider tells first: machines
    start with their clocks wrong, and are corrected a little later. Whichever of the two is wrong, the way back is the same.
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        wall: Callable[[], float] = time.time,
        awake: Callable[[], float] = _awake_seconds,
    ) -> None:
        self.random = random.Random(seed)
        self.jumped_seconds = 0.0
        self._wall = wall
        self._awake = awake
        self._anchor_wall = wall()
        self._anchor_awake = awake()
        self._jump_since: float | None = None
        self._has_heard = False

    def now(self) -> datetime:
        """The time of day, UTC, without leaps forward."""
        wall, awake = self._wall(), self._awake()
        steady = self._anchor_wall + (awake - self._anchor_awake)
        off = wall - steady
        if abs(off) <= JUMP_SECONDS:
            self._trust(wall, awake)
            return datetime.fromtimestamp(wall, UTC)
        if self._jump_since is None or abs(off - self.jumped_seconds) > JUMP_SECONDS:
            self._jump_since, self.jumped_seconds = awake, off
        elif off < 0 and awake - self._jump_since >= DISTRUST_SECONDS:
            self._trust(wall, awake)
            return datetime.fromtimestamp(wall, UTC)
        return datetime.fromtimestamp(steady, UTC)

    def wall(self) -> datetime:
        """What the machine's clock says, UTC."""
        return datetime.fromtimestamp(self._wall(), UTC)

    def monotonic(self) -> float:
        """The event loop's time if there is one, so that timers and deadlines agree."""
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(max(0.0, seconds))

    def heard(self, told: datetime) -> float:
        """Go by the time that a provider tells first, if it is earlier: to the machine's own it looks like a jump then.

        A later one is not gone by, since it would end sessions, nor is any after the first, since a provider may be wrong, too.
        """
        if self._has_heard or told < NO_EARLIER:
            return 0.0
        self._has_heard = True
        ahead = (self.now() - told).total_seconds()
        if ahead <= AHEAD_SECONDS:
            return 0.0
        self._anchor_wall, self._anchor_awake = told.timestamp(), self._awake()
        return ahead

    def _trust(self, wall: float, awake: float) -> None:
        self._anchor_wall, self._anchor_awake = wall, awake
        self._jump_since, self.jumped_seconds = None, 0.0

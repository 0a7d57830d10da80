"""Holds calls back that have no chance while a provider answers nothing. Pure: moments are handed in, in seconds that only grow."""

from __future__ import annotations

import math
from random import Random

from attrs import define

FAILURES_MIN = 5
"""So many calls in a row without an answer are an outage and no accident."""
PAUSE_SECONDS_MIN = 5.0
PAUSE_SECONDS_MAX = 60.0
"""An outage that is over is noticed within this, and the jitter."""
PAUSE_JITTER = 0.25


@define(eq=False)
class Breaker:
    """Counts calls in a row that were not answered. Once it is open one call at a time may try, after ever longer pauses.

    It is never asked about destroys, but their answers count: the first answer to anything closes it.
    """

    random: Random
    failures: int = 0
    retry_at: float = -math.inf
    _pause: float = 0.0
    _probe: object | None = None

    @property
    def open(self) -> bool:
        """Whether calls are held back."""
        return self.failures >= FAILURES_MIN

    def stops(self, now: float) -> bool:
        """Whether a call that only looks, or rents, must not be sent now."""
        return self.open and (now < self.retry_at or self._probe is not None)

    def began(self, call: object) -> None:
        """A call is sent; while the breaker is open it is the one that tries."""
        if self.open and self._probe is None:
            self._probe = call

    def answered(self, call: object) -> None:
        """An answer came, whatever it says: the provider is there."""
        self.failures, self._pause, self._probe = 0, 0.0, None

    def over(self, call: object) -> None:
        """A call was given up by us, which says nothing of the provider."""
        if self._probe is call:
            self._probe = None

    def failed(self, call: object, now: float) -> float:
        """No answer came, or one that says that the provider is broken. Seconds for which destroys should slow down."""
        self.failures += 1
        if not self.open:
            return 0.0
        tried = self._probe is call or self._pause == 0.0
        self.over(call)
        if tried:
            self._pause = min(PAUSE_SECONDS_MAX, max(PAUSE_SECONDS_MIN, 2 * self._pause))
            self.retry_at = now + self._pause * (1.0 + self.random.random() * PAUSE_JITTER)
        return self._pause

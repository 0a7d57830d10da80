"""The published rate limits, as a server would keep them.

Vast.ai: a least interval per operation and key, in seconds, and a number of searches per minute and address (here: in all).
TensorDock v2: a number of requests per minute for the whole organisation; v0 publishes none. Only served requests count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from attrs import define, field

VAST_INTERVALS: Mapping[str, float] = {
    "create": 4.5,
    "list": 1.0,
    "show": 2.0,
    "destroy": 3.0,
    "update": 1.0,
    "reboot": 1.0,
    "bid": 5.5,
    "ssh": 1.0,
    "charges": 1.0,
    "filters": 1.0,
}
VAST_SEARCHES_PER_MINUTE = 10
DOCK_REQUESTS_PER_MINUTE = 100
MINUTE = 60.0
_ROUNDING = 1e-6
"""A client that waits exactly the interval is served, whatever the floats say."""


@define(eq=False)
class Limits:
    """The memory of served requests. `scale` multiplies every spacing; 0 lets everything through."""

    scale: float = 1.0
    _last: dict[tuple[str, str], float] = field(factory=dict)
    _windows: dict[str, deque[float]] = field(factory=dict)

    def interval_refused(self, operation: str, identity: str, now: float) -> float | None:
        """The threshold in seconds if the request comes too early, else None, and the request is remembered."""
        threshold = VAST_INTERVALS.get(operation, 0.0) * self.scale
        if threshold <= 0:
            return None
        place = (operation, identity)
        last = self._last.get(place)
        if last is not None and now - last < threshold - _ROUNDING:
            return threshold
        self._last[place] = now
        return None

    def window_left(self, name: str, per_minute: int, now: float) -> int | None:
        """How many requests are left in this minute after this one; None if it is refused; -1 if nothing is counted."""
        if self.scale <= 0:
            return -1
        window = self._windows.setdefault(name, deque())
        length = MINUTE * self.scale
        while window and now - window[0] >= length - _ROUNDING:
            window.popleft()
        if len(window) >= per_minute:
            return None
        window.append(now)
        return per_minute - len(window)

    def window_used(self, name: str) -> int:
        """How many requests of the current minute were served; 0 when nothing is counted."""
        return len(self._windows.get(name, ())) if self.scale > 0 else 0

"""What a limiter has learned, as the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from attrs import frozen

AGE_MAX = timedelta(days=7)
"""What is older is forgotten: providers change their limits, and probing finds them soon."""
CAUTION = 1.1
"""After a restart calls are so much rarer than what was learned: others may have come meanwhile."""
START_SECONDS_MAX = 5.0
"""How far apart processes that start together make their first calls."""


@frozen
class Layer:
    """One endpoint class, or the account as a whole. Seconds.

    Attributes:
        start: what was published or set when this was learned; with another one it is worth nothing.
        interval: the spacing; 0 for none.
        told: the spacing that the provider had named.
        cause: what last changed it.
    """

    start: float
    interval: float
    step: float
    cause: str
    told: float = 0.0
    blocked_until: datetime | None = None


@frozen
class Learned:
    """An account's limits, and when they were written down."""

    at: datetime
    layers: Mapping[str, Layer]

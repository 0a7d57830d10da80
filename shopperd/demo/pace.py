"""How fast a demo goes: the daemon's intervals and the simulator's limits, short enough to show everything. Pure."""

from __future__ import annotations

from attrs import frozen

ROUND_SECONDS = 60.0
"""The story's own length: an endless demo plays it over and over, a shorter or longer one stretches it."""

LENGTH_SECONDS_MIN = 15.0
"""In less time not every trouble can be seen through."""

TROUBLES_SHARE = 0.6
"""Troubles end here; what is left of the time is for belief and truth to come together."""

SHORT_SECONDS = 45.0
"""A demo shorter than this is in more of a hurry."""

SETTLE_SECONDS_SPARE = 15.0
"""On top of the published bound: for starting processes, a busy machine, and destroys that lied."""


@frozen
class Pace:
    """Seconds, but for the count and the scale.

    Attributes:
        length: of the whole story.
        rate_scale: of the marketplaces' published limits. They stay real, only shorter.
    """

    length: float
    status: float = 1.0
    sweep: float = 3.0
    offers: float = 5.0
    sightings: int = 3
    grace: float = 5.0
    retry: float = 2.0
    retry_max: float = 6.0
    create_deadline: float = 20.0
    request_timeout: float = 5.0
    boot: float = 3.0
    rate_scale: float = 0.2

    @property
    def troubles(self) -> float:
        """When troubles end, from the start."""
        return self.length * TROUBLES_SHARE

    def settle_max(self, published_bound: float) -> float:
        """How long the end waits for belief and truth to agree before it says that they do not."""
        return published_bound + self.create_deadline + SETTLE_SECONDS_SPARE


def pace_for(length: float) -> Pace:
    """The pace of a story of that length."""
    if length >= SHORT_SECONDS:
        return Pace(length=length)
    return Pace(
        length=length,
        status=0.8,
        sweep=1.5,
        offers=4.0,
        grace=2.0,
        retry=1.0,
        retry_max=3.0,
        create_deadline=12.0,
        boot=1.0,
    )

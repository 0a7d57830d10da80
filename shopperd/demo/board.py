"""What the demo shows at a moment: where to look, how the accounts stand, and the newest lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from attrs import define, field, frozen

from shopperd.demo.words import Line, Voice

LINES_KEPT = 200
"""More than the tallest terminal shows."""


@frozen
class AccountView:
    """An account as the daemon tells it. `limits`: learned spacing of calls in seconds, by kind of call."""

    name: str
    provider: str
    healthy: bool
    reason: str
    snapshot_age_seconds: float | None
    instances: int
    sessions: int
    orphans: int
    burn_per_hour: float
    offers: int
    limits: Mapping[str, float] = field(factory=dict)


@define
class Board:
    """See the module.

    Attributes:
        url: of the daemon; "" before it is ready.
        controls: URLs of the simulators' control APIs.
        length: seconds that the story takes; None if it goes on until it is interrupted.
        daemon_up: whether the daemon answers.
    """

    url: str = ""
    controls: tuple[str, ...] = ()
    length: float | None = None
    elapsed: float = 0.0
    phase: str = "starting"
    daemon_up: bool = False
    accounts: tuple[AccountView, ...] = ()
    script: deque[Line] = field(factory=lambda: deque(maxlen=LINES_KEPT))
    trail: deque[Line] = field(factory=lambda: deque(maxlen=LINES_KEPT))

    def add(self, line: Line) -> None:
        """Put a line where it belongs: the demo's own to the script, the daemon's to the trail."""
        own = line.voice in (Voice.SCRIPT, Voice.TROUBLE)
        (self.script if own else self.trail).append(line)

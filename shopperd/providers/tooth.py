"""How a limit that nobody tells is followed: let it be a little looser with each call, and take that back when one is refused.

Drawn over time this is a saw's edge; hence the name. What a refusal costs is bounded by making them rare: one in so many calls,
and ever more of them while the limit holds still.
"""

from __future__ import annotations

from attrs import define

SIZE_MIN = 8
SIZE_MAX = 128
"""Calls from one refusal to the next that are wanted: few while the limit is not known, many while it holds still."""
SIZE_RESTED = 16
"""After a restart, and the least for a limit that is slow: what was learned is nearly right."""
STEP_START = 0.1
STEP_MAX = 0.15
STEP_SHRINKS = 0.6
STEP_GROWS = 1.5
OVERDUE = 1.2
"""After so many times the wanted calls without a refusal the limit has probably moved away."""


@define(eq=False)
class Tooth:
    """The rhythm of one limit's probing.

    Attributes:
        size: calls that are wanted from one refusal to the next.
        step: the share by which the limit is loosened over that many calls, and tightened by a refusal.
        calls: accepted calls that waited for this limit, since the last refusal.
        early: refusals in a row that came so soon that the limit must have been tightened.
    """

    size: int = SIZE_MIN
    step: float = STEP_START
    calls: int = 0
    early: int = 0

    @property
    def overdue(self) -> bool:
        """Whether a refusal should have come by now."""
        return self.calls > OVERDUE * self.size

    def held(self) -> float:
        """A call that waited for this limit was accepted: the share by which to loosen."""
        self.calls += 1
        return self.step / self.size

    def caught(self, step_min: float, size_max: float) -> float:
        """A call was refused: the share by which to tighten. Sizes and steps are kept within the bounds of this limit."""
        calls, self.calls = self.calls, 0
        self.early = self.early + 1 if calls <= self.size / 8 else 0
        if calls < self.size / 2:
            self.step = min(STEP_MAX, self.step * STEP_GROWS)
            return self.step
        back = self.step
        self.rarer(size_max)
        self.step = max(step_min, self.step * STEP_SHRINKS)
        return back

    def rarer(self, size_max: float) -> None:
        """The limit has held still: the next refusal is wanted later."""
        self.size = int(min(self.size * 2, max(SIZE_RESTED, min(SIZE_MAX, size_max))))

    def restart(self, step: float) -> None:
        """Begin anew near a limit that has just been found."""
        self.size, self.step, self.calls, self.early = SIZE_MIN, step, 0, 0

"""What a run is made of: a shape, and steps at their times. A seed decides all of it, and always the same."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from tests.simulation import chances
from tests.simulation.faults import DRAWN
from tests.simulation.shapes import Shape

WIDE_EVERY = 40
"""One schedule in so many is long and wide: several accounts, more of everything."""


@frozen
class Step:
    """One thing that happens, `at` seconds from the start."""

    at: float
    kind: str
    values: Mapping[str, Any] = field(factory=dict)


@frozen
class Schedule:
    """All that is decided beforehand.

    Attributes:
        seed: still decides the latency, the order of tasks, and the pretend world.
        safety_seconds: when the faults end.
        cut_at: the boundary at which the process is cut, counted from the start; None: only by a step.
    """

    seed: int
    shape: Shape
    steps: tuple[Step, ...]
    safety_seconds: float
    cut_at: int | None = None

    @property
    def faults(self) -> tuple[str, ...]:
        """The names of the faults that are switched on."""
        return tuple(step.values["name"] for step in self.steps if step.kind == "fault")


def schedule_of(seed: int) -> Schedule:
    """The schedule of a seed; the same for ever."""
    rng = random.Random(f"schedule {seed}")
    if seed % WIDE_EVERY == WIDE_EVERY - 1:
        shape, safety, drawn = chances.wide(rng)
    else:
        shape, safety, drawn = chances.dense(rng, DRAWN[seed % len(DRAWN)])
    steps = sorted((Step(round(at, 3), kind, values) for at, kind, values in drawn), key=lambda step: step.at)
    return Schedule(seed, shape, tuple(steps), safety)

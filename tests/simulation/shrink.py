"""From a schedule that breaks a promise, a shorter one that still does: fewer steps, fewer accounts, less of everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import define, evolve, fields

from tests.simulation.schedules import Schedule, Step
from tests.simulation.shapes import Shape

PLAYS_MAX = 200
"""So often a schedule is played while it is being shortened."""

KEPT = frozenset(
    {"name", "key", "account", "tag", "boundaries", "down", "seconds", "pick", "age", "number", "lifetime"}
)
"""Values without which a step cannot be done. A fault's `seconds` may go, though."""

Breaks = Callable[[Schedule], bool]
"""Whether a schedule still breaks the promise that is looked at."""


@define
class _Search:
    best: Schedule
    breaks: Breaks
    plays: int

    def try_(self, candidate: Schedule) -> bool:
        """Take a shorter schedule if it still breaks the promise."""
        if self.plays <= 0 or candidate == self.best:
            return False
        self.plays -= 1
        if not self.breaks(candidate):
            return False
        self.best = candidate
        return True


def shrink(schedule: Schedule, breaks: Breaks, plays: int = PLAYS_MAX) -> Schedule:
    """The shortest schedule that was found. It is the same one if nothing can go."""
    search = _Search(schedule, breaks, plays)
    before: Schedule | None = None
    while search.best != before and search.plays > 0:
        before = search.best
        _fewer_steps(search)
        for simpler in (_fewer_accounts, _uncut, _shorter, _plainer_steps, _plainer_shapes, _rounder):
            _each(search, simpler)
    return search.best


def _fewer_steps(search: _Search) -> None:
    """Drop halves, quarters and so on, in the end single steps."""
    size = max(1, len(search.best.steps) // 2)
    while True:
        start = 0
        while start < len(search.best.steps):
            steps = search.best.steps
            if not search.try_(evolve(search.best, steps=steps[:start] + steps[start + size :])):
                start += size
        if size == 1:
            return
        size = max(1, size // 2)


def _each(search: _Search, simpler: Callable[[Schedule], Iterator[Schedule]]) -> None:
    """Try all simpler ones of one kind, from the start again after each that is taken."""
    while any(search.try_(candidate) for candidate in simpler(search.best)):
        pass


def _fewer_accounts(schedule: Schedule) -> Iterator[Schedule]:
    accounts = schedule.shape.accounts
    for name in accounts if len(accounts) > 1 else ():
        left = tuple(other for other in accounts if other != name)
        shape = evolve(schedule.shape, accounts=left, exclusive=tuple(n for n in schedule.shape.exclusive if n != name))
        yield evolve(schedule, shape=shape, steps=tuple(s for s in schedule.steps if s.values.get("account") != name))


def _uncut(schedule: Schedule) -> Iterator[Schedule]:
    if schedule.cut_at is not None:
        yield evolve(schedule, cut_at=None)


def _shorter(schedule: Schedule) -> Iterator[Schedule]:
    sweep = schedule.shape.sweep
    last = max((step.at for step in schedule.steps), default=0.0)
    for seconds in (last + sweep / 4, last + 2 * sweep, last + 5 * sweep):
        if seconds < schedule.safety_seconds - 1.0:
            yield evolve(schedule, safety_seconds=round(seconds, 1))


def _plainer_steps(schedule: Schedule) -> Iterator[Schedule]:
    for place, step in enumerate(schedule.steps):
        for key, value in step.values.items():
            if key not in KEPT or (step.kind == "fault" and key == "seconds"):
                yield _with_step(schedule, place, _without(step, key))
            elif key == "lifetime" and step.kind != "extend" and value is not None:
                yield _with_step(schedule, place, evolve(step, values={**step.values, key: None}))


def _without(step: Step, key: str) -> Step:
    needed = ("same_file", "alone")
    if key in needed:
        return evolve(step, values={**step.values, key: False})
    return evolve(step, values={name: value for name, value in step.values.items() if name != key})


def _with_step(schedule: Schedule, place: int, step: Step) -> Schedule:
    steps = schedule.steps
    return evolve(schedule, steps=(*steps[:place], step, *steps[place + 1 :]))


def _plainer_shapes(schedule: Schedule) -> Iterator[Schedule]:
    shape = schedule.shape
    for plain in ({"exclusive": ()}, {"deployment": ""}, {"boot": 0.0}, {"sightings": 3}, {"max_share_per_hour": 1.0}):
        plainer = evolve(shape, **plain)
        if plainer != shape:
            yield evolve(schedule, shape=plainer)


def _rounder(schedule: Schedule) -> Iterator[Schedule]:
    """Times that are easier to read."""
    for digits in (0, 1):
        steps = tuple(evolve(step, at=round(step.at, digits), values=_rounded(step, digits)) for step in schedule.steps)
        if steps != schedule.steps:
            yield evolve(schedule, steps=steps)


def _rounded(step: Step, digits: int) -> dict[str, object]:
    return {k: round(v, digits) if isinstance(v, float) and v > 1.0 else v for k, v in step.values.items()}


def as_python(schedule: Schedule) -> str:
    """The schedule as a piece of a test."""
    shape = ", ".join(
        f"{attribute.name}={getattr(schedule.shape, attribute.name)!r}"
        for attribute in fields(Shape)
        if getattr(schedule.shape, attribute.name) != attribute.default
    )
    steps = "".join(f"        {_step_as_python(step)},\n" for step in schedule.steps)
    cut = f"    cut_at={schedule.cut_at},\n" if schedule.cut_at is not None else ""
    return (
        f"Schedule(\n    seed={schedule.seed},\n    shape=Shape({shape}),\n    steps=(\n{steps}    ),\n"
        f"    safety_seconds={schedule.safety_seconds!r},\n{cut})"
    )


def _step_as_python(step: Step) -> str:
    values = f", {dict(step.values)!r}" if step.values else ""
    return f"Step({step.at!r}, {step.kind!r}{values})"


__all__: Sequence[str] = ("PLAYS_MAX", "as_python", "shrink")

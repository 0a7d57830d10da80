"""Long computations in steps of a few milliseconds, so that the event loop has its turn between two of them.

A computation is a generator that yields where it may be left for a while, and returns its result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from shopperd.clock import Clock

RUN = 1024
"""As many things are sorted, or looked at, in a millisecond or so."""

T = TypeVar("T")
Steps = Generator[None, None, T]


async def in_turns(steps: Steps[T], clock: Clock) -> T:
    """The result, with a turn for everybody else between the steps."""
    try:
        while True:
            next(steps)
            await clock.sleep(0)
    except StopIteration as end:
        result: T = end.value
        return result


def at_once(steps: Steps[T]) -> T:
    """The result, with no turn for anybody."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: T = end.value
        return result


def sorting(things: Iterable[T], key: Callable[[T], Any]) -> Steps[list[T]]:
    """Sort in steps, equal ones staying in their order. What is in order already costs nearly nothing."""
    all_things = list(things)
    runs = []
    for start in range(0, len(all_things), RUN):
        runs.append(sorted(all_things[start : start + RUN], key=key))
        yield
    while len(runs) > 1:
        longer = []
        for number in range(0, len(runs) - 1, 2):
            first, second = runs[number : number + 2]
            ordered = key(first[-1]) <= key(second[0])
            first.extend(second)
            if not ordered:
                first.sort(key=key)  # two runs in order: they are merged
            longer.append(first)
            yield
        if len(runs) % 2:
            longer.append(runs[-1])
        runs = longer
    return runs[0] if runs else []

"""An event loop whose time leaps: when nobody has anything left to do, it is the next timer's time at once."""

from __future__ import annotations

import asyncio
import contextvars
import random
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

START = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
START_EPOCH = START.timestamp()

OWNER: contextvars.ContextVar[int] = contextvars.ContextVar("owner", default=0)
"""The process that a task belongs to; what a task begins belongs to the same. 0: nobody's, the world outside."""

RESOLUTION_SECONDS = 1e-6
"""Timers so close together are due together. Any finer would be lost in a float after some months."""

T = TypeVar("T")


class StuckError(RuntimeError):
    """Everybody waits and no timer is set: in real life this run would hang for ever."""


class _LeapingSelector(selectors.SelectSelector):
    """Never waits: nothing ever arrives from outside, so waiting is only a matter of time."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError("everybody waits and no timer is set")
        self.seconds += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module.

    Attributes:
        born: the tasks that are not over with their owners, oldest first: a set's order would differ from run to run.
    """

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        self.born: dict[asyncio.Task[Any], int] = {}
        super().__init__(self._leaping)
        self._clock_resolution = RESOLUTION_SECONDS
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._leaping.seconds

    def _make_task(self, _loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **more)
        context = more.get("context")
        self.born[task] = OWNER.get() if context is None else context.get(OWNER, 0)
        task.add_done_callback(lambda done: self.born.pop(done, None))
        return task

    def begin(self, owner: int, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a task of that owner."""
        context = contextvars.copy_context()
        context.run(OWNER.set, owner)
        return self.create_task(coro, context=context)


class VirtualClock:
    """`shopperd.clock.Clock` on a virtual loop."""

    def __init__(self, seed: int | str, start: datetime = START) -> None:
        self.random = random.Random(seed)
        self.jumped_seconds = 0.0
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def wall(self) -> datetime:
        return self.now()

    def monotonic(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0  # before the loop runs it is the start

    def heard(self, told: datetime) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())

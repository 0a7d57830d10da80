"""The log of served requests, which tests and checks read to learn what was asked of the marketplaces."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
from attrs import define, field, frozen

from shopperd.simulator.call import Call
from shopperd.simulator.exchange import Answer

KEPT = 200_000
"""The log forgets the oldest beyond this: a bound, far above what one test or a day of the demo sends."""


@frozen
class Served:
    """A request that was served. No query, header or body is kept: they can hold keys.

    Attributes:
        status: None where the connection was cut instead of an answer.
        effect: such as ``created:54000001``; several are joined by commas.
        faults: the names of those that it met.
    """

    n: int
    at: float
    provider: str
    method: str
    path: str
    operation: str
    status: int | None
    effect: str | None
    faults: tuple[str, ...]
    instance: str | None


@define(eq=False)
class RequestLog:
    """Numbered from 1 without gaps; `last` is the newest number. Iterating gives the rows of `GET /_sim/requests`."""

    last: int = 0
    _kept: deque[Served] = field(factory=lambda: deque(maxlen=KEPT))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (msgspec.to_builtins(entry) for entry in self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, call: Call, answer: Answer) -> None:
        """Note a request with its outcome."""
        self.last += 1
        self._kept.append(
            Served(
                self.last,
                call.now,
                call.provider,
                call.request.method,
                call.request.path,
                call.operation,
                None if answer.drop in ("before", "after") else answer.status,
                ",".join(call.effects) or None,
                tuple(fault.spec.name for fault in call.fired),
                call.instance_id,
            )
        )

    def after(self, number: int) -> list[Served]:
        """The requests with a higher number, oldest first."""
        oldest = self.last - len(self._kept) + 1
        start = max(0, number + 1 - oldest)
        return list(itertools.islice(self._kept, start, None))

    def page(self, number: int) -> dict[str, Any]:
        """The same for the control API."""
        return {"requests": [msgspec.to_builtins(entry) for entry in self.after(number)], "last": self.last}

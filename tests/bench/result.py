"""What a benchmark came to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from attrs import asdict, frozen


@frozen
class Result:
    """One measured value. `target` is the most that it may be, unless `at_least`."""

    name: str
    value: float
    unit: str
    target: float
    at_least: bool = False

    @property
    def ok(self) -> bool:
        """Whether the target is met."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def line(self) -> str:
        """As one JSON object."""
        told = {name: value for name, value in asdict(self).items() if name != "at_least"}
        return msgspec.json.encode({**told, "value": float(f"{self.value:.4g}"), "ok": self.ok}).decode()


def resident_bytes() -> int:
    """Memory of this process that is resident now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(work: Callable[[], Any]) -> float:
    """What one run costs this process, whatever else the machine does. Its result is given up outside of the measurement."""
    began = time.process_time()
    result = work()
    seconds = time.process_time() - began
    del result
    return seconds


def ratio(work: Callable[[], Any], baseline: Callable[[], Any], rounds: int = 5) -> float:
    """The median of what `work` costs in proportion to `baseline`, one right after the other in each round."""
    return median(cpu_seconds(work) / cpu_seconds(baseline) for _ in range(rounds))

"""Daemons and marketplaces as real processes, and what a daemon uses: counted in it, at a signal."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import fields, frozen

from tests.bench.watched import COUNTED
from tests.system.processes import Running, program


@frozen
class Count:
    """What a daemon was made of at one moment.

    Attributes:
        rss_bytes: memory that is resident.
        handles: open files and sockets.
        objects: what the garbage collector knows and was not there at the start, after it has run.
        tasks: of the loop, that are not over, by what they run.
        cpu_before, cpu_after: CPU seconds since the start, before and after this was counted.
    """

    rss_bytes: int
    handles: int
    threads: int
    objects: int
    tasks: Mapping[str, int]
    cpu_before: float
    cpu_after: float


async def counted(daemon: Running) -> Count:
    """Count now."""
    seen = len(daemon.lines)
    daemon.signal(signal.SIGUSR2)
    line = await daemon.logged(COUNTED, after=seen)
    return Count(**{field.name: line[field.name] for field in fields(Count)})


@asynccontextmanager
async def watched(config: Path, folder: Path) -> AsyncIterator[tuple[Running, str]]:
    """A daemon that is ready, and where it listens."""
    async with program(sys.executable, "-m", "tests.bench.watched", str(config), folder=folder) as daemon:
        yield daemon, str((await daemon.logged("ready"))["url"])

"""The demo's child processes: started apart from the terminal, watched through their log files, always ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from shopperd.clock import Clock

POLL_SECONDS = 0.05
STOP_SECONDS = 8.0
"""How long a child may take to end by itself before it is killed."""
TAIL_BYTES = 20_000

Found = TypeVar("Found")

_NOT_FOR_CHILDREN = (
    "VASTAI_API_KEY",
    "TENSORDOCK_API_TOKEN",
    "TENSORDOCK_AUTH_ID",
    "STATE_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
)


class ChildError(Exception):
    """A child process did not do what it was started for. `tail`: the end of its log."""

    def __init__(self, message: str, tail: str = "") -> None:
        super().__init__(message)
        self.tail = tail


def clean_environment(environ: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """The environment for children: without the user's own settings and keys of shopperd, with the demo's."""
    kept = {
        key: value for key, value in environ.items() if not key.startswith("SHOPPERD_") and key not in _NOT_FOR_CHILDREN
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **secrets}


class Child:
    """One process of `python -m shopperd`.

    It is a process group of its own, so that Ctrl-C reaches the demo alone, which then ends its children in order.
    """

    def __init__(self, name: str, args: Sequence[str], environ: Mapping[str, str], log: Path, clock: Clock) -> None:
        self.name = name
        self.log = log
        self._args = tuple(args)
        self._environ = dict(environ)
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._begins_at = 0

    async def start(self) -> None:
        """Start it; its output is appended to the log file."""
        self._begins_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "shopperd",
                *self._args,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._environ,
                process_group=0,
            )

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def tail(self) -> str:
        """The end of its log since it was last started."""
        return _read(self.log, self._begins_at)[-TAIL_BYTES:]

    async def wait_for(self, find: Callable[[str], Found | None], seconds: float, what: str) -> Found:
        """What `find` makes of the log since the start, as soon as it is not None.

        Raises:
            ChildError: the process ended, or the time is over.
        """
        deadline = self._clock.monotonic() + seconds
        while True:
            running = self.running
            found = find(_read(self.log, self._begins_at))
            if found is not None:
                return found
            if not running:
                status = self._process.returncode if self._process is not None else None
                raise ChildError(f"the {self.name} ended with exit status {status} before {what}", self.tail)
            if self._clock.monotonic() >= deadline:
                raise ChildError(f"the {self.name} took longer than {seconds:.0f} s until {what}", self.tail)
            await self._clock.sleep(POLL_SECONDS)

    async def kill(self) -> None:
        """SIGKILL, as `kill -9` sends it."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> int | None:
        """SIGTERM, then SIGKILL if that is not heeded; the exit status."""
        if self._process is None:
            return None
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
        finally:
            # Whatever interrupts the wait, nothing may be left behind.
            if self.running:
                self._signal(signal.SIGKILL)
        return self._process.returncode

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def _read(log: Path, begins_at: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(begins_at)
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""

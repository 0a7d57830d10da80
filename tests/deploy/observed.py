"""The demo with a Prometheus beside it, as `make observe` starts them, and what that Prometheus says."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from attrs import define

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 60.0


class Refused(Exception):
    """Prometheus could not answer a question; the text is its own."""


@define
class Prometheus:
    """A running Prometheus, by its address, and the status page of the shopperd that it watches.

    Attributes:
        told: every address that a person was told.
    """

    address: str
    page: str
    told: tuple[str, ...] = ()

    def ask(self, path: str, **query: object) -> Any:
        """The data of an answer.

        Raises:
            Refused: the question was wrong.
        """
        connection = http.client.HTTPConnection(self.address, timeout=START_SECONDS)
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(query)}")
            told = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if told["status"] != "success":
            raise Refused(f"{query}: {told['error']}")
        return told["data"]

    def has(self, expr: str, *, instant: bool) -> bool:
        """Whether a query has any series: at this moment, or within the last two minutes."""
        if instant:
            return bool(self.ask("query", query=expr)["result"])
        now = time.time()
        return bool(self.ask("query_range", query=expr, start=now - 120, end=now, step=1)["result"])


@contextmanager
def observed(folder: Path) -> Iterator[Prometheus]:
    """Start both, and end them as Ctrl-C does; they must then end well and leave nothing in `folder`."""
    with subprocess.Popen(
        [sys.executable, ROOT / "scripts/observe"],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        lines = _Lines(process)
        try:
            yield Prometheus(*lines.addresses())
            assert _end(process) == 0, lines.text()
            assert list(folder.iterdir()) == []
        finally:
            _end(process)
            lines.end()


def _end(process: subprocess.Popen[str]) -> int:
    """Ask it to end, so that it ends what it has started too; its exit status."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class _Lines:
    """What the process prints, read all the while, so that it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._output = process.stdout
        self._lines: list[str] = []
        self._found: dict[str, list[str]] = {}
        self._known = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def addresses(self) -> tuple[str, str, tuple[str, ...]]:
        """Where Prometheus listens, where the status page is, and all that was told of either."""
        self._known.wait(START_SECONDS)
        assert len(self._found) == 2, self.text()
        (prometheus, *_), (page, *_) = self._found["Prometheus"], self._found["shopperd"]
        return prometheus.split("/")[2], page, (*self._found["Prometheus"], *self._found["shopperd"])

    def text(self) -> str:
        """The last of it."""
        return "".join(self._lines[-40:])

    def end(self) -> None:
        """Read what is left once the process has ended."""
        self._reader.join()

    def _read(self) -> None:
        for line in self._output or ():
            self._lines.append(line)
            if (found := re.match(r"(Prometheus|shopperd) +http://", line)) is not None:
                self._found[found[1]] = re.findall(r"http://\S+", line)
            if len(self._found) == 2:
                self._known.set()
        self._known.set()

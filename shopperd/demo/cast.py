"""The processes that play the story, in a fresh folder of their own: two simulators and the daemon."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from shopperd.clock import Clock
from shopperd.demo.listener import Listener
from shopperd.demo.pace import Pace
from shopperd.demo.processes import Child, ChildError, clean_environment
from shopperd.demo.setting import MARKETS, Market, configuration, fake_secrets

READY_SECONDS = 120.0
"""How long a process may take until it serves and has looked once: behind destroys that are repeated, a listing waits for up to
twenty calls at whatever pace was learned, and the market for forty, on a machine that may be busy."""

OFFERS = 200
"""Rows of Vast.ai's pretend market: enough to choose from, and quickly read."""

_URLS = ("VASTAI_URL", "TENSORDOCK_URL", "CONTROL_URL")


class Cast:
    """The children and their folder.

    Args:
        port: that the daemon listens on; 0 lets the system choose.
    """

    def __init__(self, pace: Pace, seed: int, port: int, environ: Mapping[str, str], clock: Clock) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="shopperd-demo-"))
        self.markets: tuple[Market, ...] = ()
        self.listener = Listener()
        self._hook_url = ""
        self._pace = pace
        self._port = port
        self._clock = clock
        self._config = self.folder / "config.toml"
        child_environ = clean_environment(environ, fake_secrets())
        self._simulators = [
            Child(f"simulator {number + 1}", self._simulator_args(seed + number), child_environ, log, clock)
            for number, log in enumerate(self.folder / f"simulator-{number + 1}.log" for number in range(MARKETS))
        ]
        self._daemon = Child(
            "daemon", ("run", "--config", str(self._config)), child_environ, self.folder / "daemon.log", clock
        )

    @property
    def daemon_log(self) -> Path:
        """The daemon's log, over all its lives."""
        return self._daemon.log

    @property
    def daemon_tail(self) -> str:
        """The end of the daemon's log."""
        return self._daemon.tail

    def _simulator_args(self, seed: int) -> tuple[str, ...]:
        numbers = {
            "--offers": OFFERS,
            "--seed": seed,
            "--boot-seconds": self._pace.boot,
            "--rate-scale": self._pace.rate_scale,
        }
        return ("simulator", *(str(part) for option in numbers.items() for part in option))

    async def open_markets(self) -> tuple[Market, ...]:
        """Start the simulators, and what listens to the daemon's hook.

        Raises:
            ChildError: one did not come up.
        """
        self._hook_url = await self.listener.start()
        for simulator in self._simulators:
            await simulator.start()
        found = [
            await simulator.wait_for(market_in, READY_SECONDS, "it told its addresses")
            for simulator in self._simulators
        ]
        self.markets = tuple(found)
        return self.markets

    async def start_daemon(self) -> str:
        """Start the daemon on the folder's store, on the port that it had before if it had one; its URL.

        Raises:
            ChildError: it did not come up.
        """
        url = await self._start_daemon()
        self._port = int(url.rpartition(":")[2])
        return url

    async def restart_daemon(self) -> str:
        """The same after it was killed. Should somebody else have its port by now, it gets another.

        Raises:
            ChildError: it did not come up.
        """
        try:
            return await self.start_daemon()
        except ChildError:
            await self._daemon.stop()
            self._port = 0
            return await self.start_daemon()

    async def _start_daemon(self) -> str:
        text = configuration(self._pace, self.markets, self.folder, self._port, self._hook_url)
        self._config.write_text(text, encoding="utf-8")
        await self._daemon.start()
        return await self._daemon.wait_for(url_in, READY_SECONDS, "it served")

    async def kill_daemon(self) -> None:
        """SIGKILL."""
        await self._daemon.kill()

    async def close(self, *, keep_logs: bool) -> None:
        """End every process and remove the folder, or all of it but the logs."""
        try:
            await self._daemon.stop()
        finally:
            await asyncio.gather(self.listener.stop(), *(simulator.stop() for simulator in self._simulators))
            self._clean_up(keep_logs=keep_logs)

    def _clean_up(self, *, keep_logs: bool) -> None:
        if not keep_logs:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for path in self.folder.iterdir():
            if path.suffix not in (".log", ".toml"):
                path.unlink(missing_ok=True)


def market_in(log: str) -> Market | None:
    """The addresses in a simulator's first lines of output."""
    told = dict(line.split("=", 1) for line in log.splitlines(keepends=True) if line.endswith("\n") and "=" in line)
    if not all(name in told for name in _URLS):
        return None
    vastai, tensordock, control = (told[name].strip() for name in _URLS)
    return Market(vastai, tensordock, control)


def url_in(log: str) -> str | None:
    """The URL in the daemon's log event `ready`."""
    for line in log.splitlines(keepends=True):
        if '"ready"' not in line or not line.endswith("\n"):
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") == "ready":
            return str(event["url"])
    return None

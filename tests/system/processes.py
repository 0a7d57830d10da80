"""Real processes: a daemon started as an operator would, and the lines it logs."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from shopperd.simulator import SimulatorServer

KEYS = {"VASTAI_API_KEY": "a-very-secret-vast-key", "TENSORDOCK_API_TOKEN": "a-very-secret-dock-token"}
PATIENCE_SECONDS = 30.0


def configuration(simulator: SimulatorServer, folder: Path, **orphans: Any) -> Path:
    """A file for a quick daemon on one Vast.ai account."""
    rules = "\n".join(
        f"{key} = {json.dumps(value)}" for key, value in ({"grace": 0.3, "observe_sweeps": 0} | orphans).items()
    )
    text = f"""
[accounts.vast]
provider = "vastai"
base_url = "{simulator.vastai_url}"
[accounts.vast.limits]
list = 0.005
offers = 0.005
show = 0.005
create = 0.005
destroy = 0.005
[jobs]
offers = {{ interval = 0.5 }}
status = {{ interval = 0.1 }}
sweep = {{ interval = 0.2 }}
[orphans]
{rules}
[destroys]
retry_min = 0.2
[sessions]
create_deadline = "10s"
[web]
listen = "127.0.0.1:0"
[store]
url = "sqlite:///{folder}/shopperd.db"
[log]
format = "json"
"""
    path = folder / "config.toml"
    path.write_text(text)
    return path


@define
class Running:
    """One `shopperd run` and every line that it has logged so far."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(factory=list)
    raw: list[str] = field(factory=list)
    _more: asyncio.Condition = field(factory=asyncio.Condition)

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            text = line.decode()
            async with self._more:
                self.raw.append(text)
                try:
                    self.lines.append(json.loads(text))
                except ValueError:
                    self.lines.append({"event": text})
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()

    async def logged(self, event: str, where: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """Wait for a line."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.lines if line.get("event") == event and where(line)), None)

        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._more:
                await self._more.wait_for(lambda: found() is not None)
        except TimeoutError:
            raise AssertionError(f"{event} was never logged:\n" + "".join(self.raw[-40:])) from None
        line = found()
        assert line is not None
        return line

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def shopperd(*arguments: str, folder: Path, environ: dict[str, str] | None = None) -> AsyncIterator[Running]:
    """Start a command; whatever happens, it is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "shopperd",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**20,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **KEYS, **(environ or {})},
    )
    running = Running(process)
    reader = asyncio.create_task(running.read())
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reader

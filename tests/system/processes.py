"""Real processes: daemons and marketplaces started as an operator would, the lines that they log, and their ends."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from attrs import define, field
from prometheus_client.parser import text_string_to_metric_families

KEYS = {"VASTAI_API_KEY": "a-very-secret-vast-key", "TENSORDOCK_API_TOKEN": "a-very-secret-dock-token"}
PATIENCE_SECONDS = 30.0

_ENDED = "nursery.ended"

_LIMITS = dict.fromkeys(("list", "offers", "show", "create", "destroy"), 0.005)


class Origins(Protocol):
    """Where a simulator listens, whether it runs in this process or in one of its own."""

    @property
    def vastai_url(self) -> str: ...

    @property
    def tensordock_url(self) -> str: ...


def account(name: str, provider: str, url: str, *, limits: Mapping[str, float] | None = None, **more: Any) -> str:
    """The tables of one account, which calls as often as it likes where `limits` does not say otherwise."""
    values = {"provider": provider, "base_url": url} | more
    spacing = _LIMITS | dict(limits or {})
    return f"[accounts.{name}]\n{_lines(values)}\n[accounts.{name}.limits]\n{_lines(spacing)}\n"


def configuration(
    simulator: Origins,
    folder: Path,
    *,
    accounts: Sequence[str] = (),
    store: Path | None = None,
    drain_seconds: float = 30.0,
    create_deadline: str = "10s",
    **orphans: Any,
) -> Path:
    """A file for a quick daemon, on one Vast.ai account if no others are given."""
    tables = "\n".join(accounts or [account("vast", "vastai", simulator.vastai_url)])
    text = f"""
drain_seconds = {drain_seconds}
{tables}
[jobs]
offers = {{ interval = 0.5 }}
status = {{ interval = 0.1 }}
sweep = {{ interval = 0.2 }}
[orphans]
{_lines({"grace": 0.3, "observe_sweeps": 0} | orphans)}
[destroys]
retry_min = 0.2
[sessions]
create_deadline = "{create_deadline}"
[web]
listen = "127.0.0.1:0"
[store]
url = "sqlite:///{store or folder / "shopperd.db"}"
[log]
format = "json"
"""
    path = folder / "config.toml"
    path.write_text(text)
    return path


def _lines(values: dict[str, Any]) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())


@define
class Running:
    """One process and every line that it has logged so far."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(factory=list)
    raw: list[str] = field(factory=list)
    over: bool = False
    _more: asyncio.Condition = field(factory=asyncio.Condition)

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            text = line.decode()
            async with self._more:
                self.raw.append(text)
                try:
                    read = json.loads(text)
                except ValueError:
                    read = None
                name, _, value = text.strip().partition("=")
                self.lines.append(read if isinstance(read, dict) else {"event": name, "value": value})
                self._more.notify_all()
        async with self._more:
            self.over = True
            self._more.notify_all()

    async def logged(self, *events: str, after: int = 0, **values: Any) -> dict[str, Any]:
        """Wait for a line of one of these events with these values, beyond the first `after` lines.

        It fails at once if the process ends without it.
        """

        def found() -> dict[str, Any] | None:
            fitting = (line for line in self.lines[after:] if line.get("event") in events)
            return next((line for line in fitting if values.items() <= line.items()), None)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS), self._more:
                await self._more.wait_for(lambda: self.over or found() is not None)
        line = found()
        assert line is not None, f"{' or '.join(events)} was never logged:\n" + "".join(self.raw[after:][-40:])
        return line

    async def ended(self) -> int:
        """Wait for the end, and for the last line; the exit status."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            status = await self.process.wait()
            async with self._more:
                await self._more.wait_for(lambda: self.over)
            return status

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @property
    def told(self) -> str:
        """All that it wrote."""
        return "".join(self.raw)


@asynccontextmanager
async def shopperd(*arguments: str, folder: Path, environ: dict[str, str] | None = None) -> AsyncIterator[Running]:
    """Start a command; whatever happens, it is gone at the end."""
    async with program(sys.executable, "-m", "shopperd", *arguments, folder=folder, environ=environ) as running:
        yield running


@asynccontextmanager
async def program(*words: str, folder: Path, environ: dict[str, str] | None = None) -> AsyncIterator[Running]:
    """Start any program in a group of its own, which is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**20,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUNBUFFERED": "1", **KEYS, **(environ or {})},
    )
    running = Running(process)
    reader = asyncio.create_task(running.read())
    try:
        yield running
    finally:
        if process.returncode is None:
            # The whole group: a nursery's daemon must not outlive it.
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await reader


@define
class Life:
    """One daemon of a nursery, from its fork to its end."""

    nursery: Running
    begins_at: int
    pid: int

    async def logged(self, *events: str) -> dict[str, Any]:
        """Wait for a line of one of these events; it fails at once if the daemon ends without it."""
        line = await self.nursery.logged(*events, _ENDED, after=self.begins_at)
        assert line["event"] in events, f"it ended without {' or '.join(events)}:\n{self.told[-4000:]}"
        return line

    async def ended(self) -> int:
        """Wait for the end; the exit status."""
        return int((await self.logged(_ENDED))["status"])

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of its log, and what its nursery says of it."""
        return self.nursery.lines[self.begins_at :]

    @property
    def told(self) -> str:
        """All that it wrote."""
        return "".join(self.nursery.raw[self.begins_at :])


@define
class Nursery:
    """Starts daemons by fork, one after another: see `tests.system.nursery`."""

    running: Running
    config: Path

    @property
    def pid(self) -> int:
        return self.running.process.pid

    async def start(self) -> Life:
        """Have a daemon started; the one before it must have ended."""
        assert self.running.process.stdin is not None
        begins_at = len(self.running.lines)
        self.running.process.stdin.write(b"start\n")
        await self.running.process.stdin.drain()
        return Life(self.running, begins_at, (await self.running.logged("nursery.started", after=begins_at))["pid"])


@asynccontextmanager
async def nursery(config: Path, *before: str, folder: Path) -> AsyncIterator[Nursery]:
    """A nursery, started by the words `before` it if there are any."""
    words = [*before, sys.executable, "-m", "tests.system.nursery", str(config)]
    async with program(*words, folder=folder) as running:
        await running.logged("nursery.open")
        yield Nursery(running, config)


@define
class Marketplace:
    """`shopperd simulator` in a process of its own, and what its control interface tells."""

    running: Running
    session: aiohttp.ClientSession
    vastai_url: str
    tensordock_url: str
    control_url: str

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self.session.request(method, f"{self.control_url}/_sim/{path}", json=body) as reply:
            assert reply.status in (200, 201), await reply.text()
            return await reply.json()

    async def alive(self) -> list[dict[str, Any]]:
        """The machines that truly exist."""
        return [one for one in (await self.ask("GET", "state"))["instances"] if one["destroyed_at"] is None]

    async def requests(self, operation: str, after: int = 0) -> list[dict[str, Any]]:
        """The requests of one kind that were served."""
        rows = (await self.ask("GET", f"requests?after={after}"))["requests"]
        return [row for row in rows if row["operation"] == operation]

    async def switch_on(self, name: str, **parameters: Any) -> None:
        """Have something go wrong."""
        await self.ask("POST", "faults", {"name": name, **parameters})

    async def conjure(self, provider: str, tag: str, **more: Any) -> None:
        """A machine out of nowhere."""
        await self.ask("POST", "instances", {"provider": provider, "tag": tag, **more})

    def signal(self, number: signal.Signals) -> None:
        self.running.signal(number)


@asynccontextmanager
async def marketplace(session: aiohttp.ClientSession, folder: Path, **options: Any) -> AsyncIterator[Marketplace]:
    """A simulator in a process of its own."""
    values = {"boot-seconds": 0.3, "rate-scale": 0, "offers": 60, "seed": 5} | options
    words = [word for key, value in values.items() for word in (f"--{key}", str(value))]
    async with shopperd("simulator", *words, folder=folder) as running:
        urls = [(await running.logged(name))["value"] for name in ("VASTAI_URL", "TENSORDOCK_URL", "CONTROL_URL")]
        yield Marketplace(running, session, *urls)


def sample(metrics: str, name: str, **labels: str) -> float:
    """The sum of all samples of a metric that carry these labels."""
    return sum(
        found.value
        for family in text_string_to_metric_families(metrics)
        for found in family.samples
        if found.name == name and labels.items() <= found.labels.items()
    )

"""Clients as other processes, and the simulator's word on what they did."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import define, field, frozen

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = Path(__file__).resolve().parent / "drivers"
ANSWER_SECONDS = 60
LINE_MAX_BYTES = 16 * 1024 * 1024
"""A market comes back as one line."""


class ClientError(Exception):
    """The client raised; the text has its error's name and words."""


@frozen
class Ledger:
    """What the simulator says happened."""

    session: aiohttp.ClientSession

    async def _get(self, path: str) -> Any:
        async with self.session.get(path) as answer:
            return await answer.json()

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        async with self.session.post(path, json=body) as answer:
            said = await answer.json()
            assert answer.status < 300, said
            return said

    async def requests(self) -> list[str]:
        """Every request so far as ``METHOD path status``, but for those by which the official command greets."""
        greetings = ("/api/v0/gpu_names/unique/", "/api/v0/users/current")
        rows = (await self._get("/_sim/requests"))["requests"]
        return [f"{row['method']} {row['path']} {row['status']}" for row in rows if row["path"] not in greetings]

    async def effects(self) -> list[str]:
        """What the requests changed, in order."""
        return [row["effect"] for row in (await self._get("/_sim/requests"))["requests"] if row["effect"]]

    async def instances(self) -> dict[str, dict[str, Any]]:
        """Every machine there ever was, by id."""
        return {row["id"]: row for row in (await self._get("/_sim/state"))["instances"]}

    async def existing(self) -> list[str]:
        """Ids of the machines that exist now."""
        return [key for key, row in (await self.instances()).items() if row["destroyed_at"] is None]

    async def conjure(self, **wish: Any) -> str:
        """A machine that none of the clients rented; answers its id."""
        return str((await self._post("/_sim/instances", wish))["id"])

    async def switch_on(self, name: str, **parameters: Any) -> None:
        """Switch a fault on."""
        await self._post("/_sim/faults", {"name": name, **parameters})


@frozen
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@define
class Caller:
    """A client that waits for calls in a process of its own; see ``drivers/calls.py``."""

    process: asyncio.subprocess.Process
    complaints: Path

    async def call(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """What the method returned.

        Raises:
            ClientError: it raised.
        """
        return (await self.outcome(method, *args, **kwargs))["result"]

    async def printed(self, method: str, /, *args: Any, **kwargs: Any) -> str:
        """What the method printed, which for some is all that they do."""
        return str((await self.outcome(method, *args, **kwargs))["printed"])

    async def outcome(self, method: str, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"name": method, "args": args, "kwargs": kwargs}).encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            await stdin.drain()
            line = await stdout.readline()
        if not line:
            raise AssertionError(f"the client died: {self.complaints.read_text()}")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise ClientError(f"{said['error']}: {said['text']}")
        return said


@define
class Clients:
    """The clients' environments, pointed at one simulator, with homes of their own.

    Attributes:
        required: a missing environment fails the test instead of skipping it.
    """

    vastai_url: str
    tensordock_url: str
    home: Path
    required: bool
    _callers: list[Caller] = field(factory=list)

    def program(self, environment: str, name: str) -> str:
        path = ROOT / ".venv-clients" / environment / "bin" / name
        if not path.exists():
            reason = f"{environment} is not installed; `make test-clients` does it"
            pytest.fail(reason) if self.required else pytest.skip(reason)
        return str(path)

    def variables(self, key: str) -> dict[str, str]:
        """All that a client sees of the outside: nothing of this process's own environment."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "VAST_URL": self.vastai_url,
            "VAST_API_KEY": key,
            "VASTAI_NO_UPDATE_CHECK": "1",
            "COLUMNS": "200",
        }

    async def vastai(self, *words: str, key: str = "a-good-key") -> Ran:
        """Run the official command. Its exit code is 0 even where the provider refused; its words must be looked at."""
        process = await asyncio.create_subprocess_exec(
            self.program("vastai", "vastai"),
            *words,
            env=self.variables(key),
            cwd=self.home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(ANSWER_SECONDS):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())

    async def caller(self, environment: str, driver: str, *words: str, key: str = "a-good-key") -> Caller:
        """Start a client that takes calls."""
        complaints = self.home / f"{driver}.err"
        with complaints.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                self.program(environment, "python"),
                str(DRIVERS / f"{driver}.py"),
                *words,
                env=self.variables(key),
                cwd=self.home,
                limit=LINE_MAX_BYTES,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        caller = Caller(process, complaints)
        self._callers.append(caller)
        return caller

    async def close(self) -> None:
        """End every client."""
        for caller in self._callers:
            if caller.process.returncode is None:
                assert caller.process.stdin is not None
                caller.process.stdin.close()
            await caller.process.wait()

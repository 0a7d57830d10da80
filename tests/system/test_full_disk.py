"""The store's disk is full: the daemon says so, acts no more, forgets nothing, and goes on when there is room."""

import asyncio
import resource
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest
from attrs import define

from shopperd.simulator import SimulatorServer
from tests.daemon.house import SSH_KEY, Api, alive, destroys, ready, simulated, until
from tests.system.processes import Life, Nursery, configuration, nursery, sample

pytestmark = pytest.mark.system

DISK_MEGABYTES = 16
ANSWER_SECONDS = 3.0


class Disk(Protocol):
    """Where the store is."""

    advice: str

    def fill(self, daemon: Life) -> None:
        """Leave no room."""

    def make_room(self, daemon: Life | None) -> None:
        """Take that back."""


@define
class SmallDisk:
    """A small tmpfs that only the daemons see, in a mount namespace of the nursery."""

    daemons: Nursery
    folder: Path
    advice: str = "free or add disk space"

    @property
    def _ballast(self) -> Path:
        return Path(f"/proc/{self.daemons.pid}/root{self.folder}/ballast")

    def fill(self, daemon: Life) -> None:
        with self._ballast.open("ab", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(4096))

    def make_room(self, daemon: Life | None) -> None:
        self._ballast.unlink()


@define
class Limit:
    """A limit on the size of the daemon's files. To the store it is what a quota is: no write succeeds, though the disk has room."""

    daemons: Nursery
    folder: Path
    advice: str = "quota"

    def fill(self, daemon: Life) -> None:
        size = max(path.stat().st_size for path in self.folder.glob("shopperd.db*"))
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def make_room(self, daemon: Life | None) -> None:
        if daemon is not None:
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@define
class Home:
    """A daemon whose store is on such a disk."""

    simulator: SimulatorServer
    session: aiohttp.ClientSession
    daemons: Nursery
    disk: Disk
    daemon: Life
    api: Api

    async def restart(self) -> None:
        self.daemon = await self.daemons.start()
        self.api = Api(self.session, (await self.daemon.logged("ready"))["url"])

    async def readiness(self) -> tuple[int, str]:
        async with self.session.get(f"{self.api.url}/readyz") as reply:
            return reply.status, await reply.text()

    async def until_full(self) -> None:
        async def not_ready() -> bool:
            return (await self.readiness())[0] == 503

        await until(not_ready, "it is not ready any more")

    async def runs(self, job: str) -> float:
        return sample(await self.api.metrics(), "shopperd_job_runs_total", job=job)

    async def until_run(self, job: str, times: int) -> None:
        """Until a job has run so many times more, however it ended."""
        before = await self.runs(job)

        async def enough() -> bool:
            return await self.runs(job) >= before + times

        await until(enough, f"{job} runs")

    async def until_state(self, session_id: str, state: str) -> None:
        async def there() -> bool:
            return await self.api.state(session_id) == state

        await until(there, f"{session_id} is {state}")


def _words_for_a_small_disk(folder: Path) -> list[str]:
    """What to put before a command so that it sees a small disk there; it needs no root where users may have namespaces."""
    mount = f"mount -t tmpfs -o size={DISK_MEGABYTES}m,mode=700 tmpfs '{folder}' && exec \"$@\""
    for flags in ("-rm", "-m"):
        words = ["unshare", flags, "sh", "-c", mount, "sh"]
        if (
            shutil.which("unshare")
            and not subprocess.run([*words, "true"], capture_output=True, check=False).returncode
        ):
            return words
    pytest.skip("no small disk: this user may mount none, not even in a namespace")


@asynccontextmanager
async def home(kind: str, folder: Path) -> AsyncIterator[Home]:
    disk_folder = folder / "disk"
    disk_folder.mkdir()
    words = _words_for_a_small_disk(disk_folder) if kind == "full disk" else []
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, folder, store=disk_folder / "shopperd.db")
        simulator.world.conjure({"provider": "vastai", "tag": "somebody else's"})
        async with nursery(config, *words, folder=folder) as daemons:
            disk: Disk = (SmallDisk if words else Limit)(daemons, disk_folder)
            daemon = await daemons.start()
            api = Api(session, (await daemon.logged("ready"))["url"])
            await ready(api)
            yield Home(simulator, session, daemons, disk, daemon, api)


@pytest.mark.parametrize(
    "kind",
    [
        "full disk",
        "file limit",
    ],
)
async def test_without_room_it_says_so_and_acts_no_more_until_there_is(kind: str, tmp_path: Path) -> None:
    async with home(kind, tmp_path) as found:
        api, simulator = found.api, found.simulator
        kept = await api.create("vast", wait=10)
        over = await api.ask("POST", "/api/v1/sessions/register", {"account": "vast"}, expect=201)
        await api.end(over["id"])
        await found.until_state(kept["id"], "running")
        rented = len(simulator.world.state()["instances"])

        found.disk.fill(found.daemon)
        await found.until_full()
        statuses: list[int] = []

        async def watch() -> None:
            while True:
                statuses.append((await found.readiness())[0])
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        _, told = await found.readiness()
        assert "shopperd.db" in told
        assert found.disk.advice in told
        failed = await found.daemon.logged("store.failed")
        assert "shopperd.db" in failed["detail"]
        store = (await api.get("/status"))["store"]
        assert store["ok"] is False
        assert found.disk.advice in store["problem"]
        async with found.session.get(f"{api.url}/healthz") as reply:
            assert reply.status == 200

        # An orphan by all rules, an end and a create: none of them comes to anything.
        simulator.world.conjure({"provider": "vastai", "tag": over["tag"]})
        wish = {"account": "vast", "ssh_key": SSH_KEY, "max_price_per_hour": 50}
        refused = [
            await api.ask("POST", "/api/v1/sessions", wish, expect=503),
            await api.ask("POST", f"/api/v1/sessions/{kept['id']}/end", {"reason": "test"}, expect=503),
        ]
        for answer in refused:
            assert "shopperd.db" in answer["detail"]
        await found.until_run("sweep", 6)
        await found.until_run("destroys", 2)
        assert destroys(simulator) == []
        assert len(simulator.world.state()["instances"]) == rented + 1
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert set(statuses) == {503}

        found.disk.make_room(found.daemon)
        await ready(api)
        assert (await api.get("/status"))["store"]["ok"] is True
        made = await api.create("vast", wait=10)
        await found.until_state(made["id"], "running")

        async def clean() -> bool:
            return sorted(one["tag"] for one in alive(simulator)) == sorted(
                [kept["tag"], made["tag"], "somebody else's"]
            )

        await until(clean, "the orphan is gone")
        await api.end(kept["id"])
        await found.until_state(kept["id"], "ended")
        assert len(destroys(simulator)) == 2
        found.daemon.signal(signal.SIGTERM)
        assert await found.daemon.ended() == 0


@pytest.mark.parametrize(
    ("kind", "tag", "then"),
    [
        ("full disk", "tag kept", "room"),
        ("full disk", "tag kept", "killed"),
        ("full disk", "tag spoilt", "room"),
        ("full disk", "tag spoilt", "killed"),
        ("file limit", "tag spoilt", "killed"),
    ],
)
async def test_an_id_that_comes_when_there_is_no_room_is_not_lost(
    kind: str, tag: str, then: str, tmp_path: Path
) -> None:
    """Where the marketplace spoilt the tag, the id in its answer is the only trace of a machine that bills."""
    async with home(kind, tmp_path) as found:
        simulator = found.simulator
        simulator.world.switch_on("create_slow", count=1, delay=ANSWER_SECONDS)
        if tag == "tag spoilt":
            simulator.world.switch_on("create_tag_altered", count=1)
        made = await found.api.create("vast")

        async def rented() -> bool:
            return len(alive(simulator)) == 2

        await until(rented, "the machine is rented")
        found.disk.fill(found.daemon)

        async def answered() -> bool:
            told = await found.api.metrics()
            return sample(told, "shopperd_provider_requests_total", operation="create_instance", outcome="ok") >= 1

        await until(answered, "its id has come")
        await found.until_run("status", 8)
        if then == "killed":
            found.daemon.signal(signal.SIGKILL)
            assert await found.daemon.ended() == -signal.SIGKILL
            found.disk.make_room(None)
            await found.restart()
        else:
            found.disk.make_room(found.daemon)

        async def settled() -> bool:
            return await found.api.state(made["id"]) in ("running", "failed")

        await until(settled, "the session is bound, or given up")
        shown = await found.api.get(f"/sessions/{made['id']}")
        (machine,) = [one for one in alive(simulator) if one["tag"] != "somebody else's"]
        assert (shown["state"], shown["instance_id"]) == ("running", machine["id"])
        await found.until_run("sweep", 6)
        assert destroys(simulator) == []
        await found.api.end(made["id"])
        await found.until_state(made["id"], "ended")
        assert [one["tag"] for one in alive(simulator)] == ["somebody else's"]


async def test_it_does_not_start_without_room_and_says_why(tmp_path: Path) -> None:
    async with home("full disk", tmp_path) as found:
        made = await found.api.create("vast", wait=10)
        await found.until_state(made["id"], "running")
        found.disk.fill(found.daemon)
        await found.until_full()
        found.daemon.signal(signal.SIGKILL)
        await found.daemon.ended()
        daemon = await found.daemons.start()
        assert await daemon.ended() == 1
        assert "shopperd.db" in (await daemon.logged("start.failed"))["detail"]
        assert found.disk.advice in daemon.told
        assert "Traceback" not in daemon.told
        found.disk.make_room(None)
        await found.restart()
        await ready(found.api)
        assert await found.api.state(made["id"]) == "running"
        assert destroys(found.simulator) == []

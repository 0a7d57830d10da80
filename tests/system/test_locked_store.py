"""The store is in somebody else's hands: another program's transaction, or a second daemon."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.daemon.house import Api, alive, destroys, ready, simulated, until
from tests.system.processes import Running, configuration, program, sample, shopperd

_HOLDER = """
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
store.execute("ROLLBACK")
"""


@asynccontextmanager
async def held(store: Path, folder: Path) -> AsyncIterator[Running]:
    """Another process has a transaction open, which nobody else may write beside."""
    async with program(sys.executable, "-c", _HOLDER, str(store), folder=folder) as holder:
        await holder.logged("held")
        yield holder


async def let_go(holder: Running) -> None:
    assert holder.process.stdin is not None
    holder.process.stdin.write(b"\n")
    assert await holder.ended() == 0


@pytest.mark.system
async def test_a_lock_of_another_program_is_said_and_stops_acts_until_it_is_let_go(tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            kept = await api.create("vast", wait=10)
            over = await api.ask("POST", "/api/v1/sessions/register", {"account": "vast"}, expect=201)
            await api.end(over["id"])
            async with held(tmp_path / "shopperd.db", tmp_path) as holder:
                # An orphan by all rules, and an end: neither comes to anything.
                simulator.world.conjure({"provider": "vastai", "tag": over["tag"]})
                failed = await running.logged("store.failed")
                answer = await api.ask("POST", f"/api/v1/sessions/{kept['id']}/end", {"reason": "test"}, expect=503)
                for told in (failed["detail"], answer["detail"]):
                    assert "shopperd.db" in told
                    assert "locked by another program; let its backup or transaction end" in told
                async with session.get(f"{api.url}/healthz") as reply:
                    assert reply.status == 200
                await more_runs(api, "sweep", 6)
                assert destroys(simulator) == []
                await let_go(holder)
            await ready(api)

            async def clean() -> bool:
                return [machine["tag"] for machine in alive(simulator)] == [kept["tag"]]

            await until(clean, "the orphan is gone")
            await api.end(kept["id"])

            async def ended() -> bool:
                return await api.state(kept["id"]) == "ended"

            await until(ended, "the session is over")
            assert len(destroys(simulator)) == 2


async def test_it_is_not_ready_as_long_as_another_program_locks_the_store(tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)

            async def readiness() -> int:
                async with session.get(f"{api.url}/readyz") as reply:
                    return reply.status

            async with held(tmp_path / "shopperd.db", tmp_path):
                await running.logged("store.failed")
                assert {await readiness() for _ in range(20)} == {503}


async def test_a_lock_that_is_soon_over_is_waited_for(tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        # Hardly anything else writes: behind another transaction that waits, every one would.
        config.write_text(re.sub(r"interval = [0-9.]+", "interval = 60", config.read_text()))
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await more_runs(api, "status", 1)
            for _ in range(5):
                async with held(tmp_path / "shopperd.db", tmp_path) as holder:
                    url = f"{api.url}/api/v1/sessions/register"
                    asked = asyncio.create_task(session.post(url, json={"account": "vast"}))
                    await asyncio.wait([asked], timeout=0.3)
                    await let_go(holder)
                    async with await asked as reply:
                        assert reply.status == 201, await reply.text()


@pytest.mark.system
async def test_it_does_not_start_on_a_store_that_another_program_locks(tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            made = await api.create("vast", wait=10)
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
        async with (
            held(tmp_path / "shopperd.db", tmp_path),
            shopperd("run", "--config", str(config), folder=tmp_path) as running,
        ):
            assert await running.ended() == 1
            told = (await running.logged("start.failed"))["detail"]
            assert "shopperd.db: is locked by another program" in told
            assert "Traceback" not in running.told
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            assert await api.state(made["id"]) in ("starting", "running")
        assert destroys(simulator) == []


async def test_a_second_daemon_on_the_same_store_is_refused_and_the_first_one_goes_on(tmp_path: Path) -> None:
    async with simulated() as simulator, simulated() as other, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        second = tmp_path / "second"
        second.mkdir()
        (second / "store").symlink_to(tmp_path, target_is_directory=True)
        again = configuration(other, second, store=second / "store" / "shopperd.db")
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            async with shopperd("run", "--config", str(again), folder=tmp_path) as late:
                assert await late.ended() == 1
                (line,) = late.lines
                assert line["event"] == "start.failed"
                assert (
                    f"shopperd.db: another shopperd uses this store (process {running.process.pid} on" in line["detail"]
                )
                assert "stop that one, or give this one a store of its own" in line["detail"]
            assert len(other.world.requests) == 0
            made = await api.create("vast", wait=10)
            await api.end(made["id"])

            async def ended() -> bool:
                return await api.state(made["id"]) == "ended"

            await until(ended, "a session comes and goes")
            assert (await api.get("/status"))["store"]["ok"] is True
            assert not [line for line in running.lines if line.get("level") in ("error", "critical")]


async def more_runs(api: Api, job: str, times: int) -> None:
    """Wait until a job has run so many times more, however it ended."""

    async def count() -> float:
        return sample(await api.metrics(), "shopperd_job_runs_total", job=job)

    before = await count()

    async def ran() -> bool:
        return await count() >= before + times

    await until(ran, f"{job} runs")

"""SIGTERM while a marketplace has been asked for something and has not answered yet."""

import signal
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shopperd.simulator import SimulatorServer
from tests.daemon.house import Api, alive, ready, simulated, until
from tests.system.processes import account, configuration, sample, shopperd

SOON_SECONDS = 1.0
NEVER_SECONDS = 300.0


def recorded(folder: Path, columns: str, table: str) -> tuple[Any, ...]:
    """The only row of a table, while no daemon runs."""
    store = sqlite3.connect(f"file:{folder / 'shopperd.db'}?mode=ro", uri=True)
    try:
        (row,) = store.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 - both words are from below
        return tuple(row)
    finally:
        store.close()


async def heard(simulator: SimulatorServer, operation: str) -> None:
    """Wait until the marketplace has been asked for it."""

    async def asked() -> bool:
        return any(row["operation"] == operation for row in simulator.world.requests)

    await until(asked, f"the marketplace hears of the {operation}")


def effects(simulator: SimulatorServer, word: str) -> list[str]:
    """What was truly done: all effects that begin with this word."""
    told = ",".join(row["effect"] for row in simulator.world.requests if row["effect"])
    return [effect for effect in told.split(",") if effect.startswith(word)]


@pytest.mark.parametrize(("answer_seconds", "drain_seconds"), [(SOON_SECONDS, 20.0), (NEVER_SECONDS, 0.3)])
async def test_a_create_that_is_on_its_way_is_bound_before_the_end_or_after_the_restart(
    answer_seconds: float, drain_seconds: float, tmp_path: Path
) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path, drain_seconds=drain_seconds)
        simulator.world.switch_on("create_slow", count=1, delay=answer_seconds)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            made = await api.create("vast")
            await heard(simulator, "create")
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
            assert (await running.logged("stopped"))["clean"] is (answer_seconds == SOON_SECONDS)
        (machine,) = alive(simulator)
        outcome, instance = recorded(tmp_path, "create_outcome, instance_id", "sessions")
        if answer_seconds == SOON_SECONDS:
            assert (outcome, instance) == ("accepted", machine["id"])
        else:
            # A listing may have found it by its tag meanwhile.
            assert outcome == "sent" or instance == machine["id"]
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])

            async def runs() -> bool:
                return await api.state(made["id"]) == "running"

            await until(runs, "it runs")
            assert (await api.get(f"/sessions/{made['id']}"))["instance_id"] == machine["id"]
        assert [one["id"] for one in alive(simulator)] == [machine["id"]]
        assert len(effects(simulator, "created:")) == 1


@pytest.mark.parametrize(("answer_seconds", "drain_seconds"), [(SOON_SECONDS, 20.0), (NEVER_SECONDS, 0.3)])
async def test_a_destroy_that_is_on_its_way_is_finished_before_the_end_or_after_the_restart(
    answer_seconds: float, drain_seconds: float, tmp_path: Path
) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path, drain_seconds=drain_seconds)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            other = await api.create("vast", wait=10)
            made = await api.create("vast", wait=10)
            simulator.world.switch_on("slow", operation="destroy", count=1, delay=answer_seconds)
            await api.end(made["id"])
            await heard(simulator, "destroy")
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
            assert (await running.logged("stopped"))["clean"] is (answer_seconds == SOON_SECONDS)
        attempts, accepted, gone = recorded(tmp_path, "attempts, accepted_at, gone_at", "destroys")
        assert attempts == 1
        assert gone is None
        assert (accepted is not None) is (answer_seconds == SOON_SECONDS)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])

            async def over() -> bool:
                return await api.state(made["id"]) == "ended"

            await until(over, "it is proven gone")
            assert await api.state(other["id"]) in ("starting", "running")
        assert [machine["tag"] for machine in alive(simulator)] == [other["tag"]]
        assert len(effects(simulator, "destroyed:")) == 1


async def more_runs(api: Api, job: str, runs: int) -> None:
    """Wait until a job has run so many times more."""

    async def count() -> float:
        return sample(await api.metrics(), "shopperd_job_runs_total", job=job, outcome="ok")

    before = await count()

    async def ran() -> bool:
        return await count() >= before + runs

    await until(ran, f"{job} runs")


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_create_that_waits_for_its_turn_is_sent_by_the_next_daemon(
    number: signal.Signals, tmp_path: Path
) -> None:
    """It was certainly not sent, so nothing is unclear about it."""
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        table = account("vast", "vastai", simulator.vastai_url, limits={"create": 60})
        config = configuration(simulator, tmp_path, accounts=[table], drain_seconds=0.3, create_deadline="60s")
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            await api.create("vast", wait=10)
            waiting = await api.create("vast")
            await more_runs(api, "creates", 1)
            await more_runs(api, "status", 3)
            running.signal(number)
            assert await running.ended() == (0 if number is signal.SIGTERM else -number)
        assert len(alive(simulator)) == 1
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])

            async def settled() -> bool:
                return await api.state(waiting["id"]) in ("running", "failed")

            await until(settled, "it runs, or was given up")
            assert await api.state(waiting["id"]) == "running"

"""The daemon as a process: signals, crashes, bad configuration, bad stores."""

import asyncio
import os
import signal
import socket
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from tests.daemon.house import Api, alive, destroys, ready, simulated, until
from tests.system.processes import KEYS, configuration, shopperd


async def test_sigterm_stops_it_and_leaves_machines_alone(tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            made = await api.create("vast", wait=10)
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
            assert running.lines[-1]["event"] == "stopped"
        assert [machine["tag"] for machine in alive(simulator)] == [made["tag"]]
        assert destroys(simulator) == []


async def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        simulator.world.switch_on("create_slow", provider="vastai", count=1, delay=30.0)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            # Rented, but the answer with its id is not there yet when the process dies.
            lost = await api.create("vast")

            async def rented() -> bool:
                return len(alive(simulator)) == 1

            await until(rented, "the machine is rented")
            ending = await api.create("vast", wait=10)
            await api.end(ending["id"])
            running.signal(signal.SIGKILL)
            assert await running.ended() == -signal.SIGKILL
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])

            async def settled() -> bool:
                states = [await api.state(one["id"]) for one in (lost, ending)]
                return states == ["running", "ended"]

            await until(settled, "the lost one is found, the ended one is gone")
            assert [machine["tag"] for machine in alive(simulator)] == [lost["tag"]]


async def test_a_reload_takes_a_good_file_and_refuses_a_bad_one(tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        good = config.read_text()
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            config.write_text(good.replace("grace = 0.3", "grace = -1\nnonsense = 2"))
            running.signal(signal.SIGHUP)
            refused = await running.logged("reload.refused")
            assert "orphans.grace" in refused["detail"]
            assert "orphans.nonsense" in refused["detail"]
            config.write_text(good.replace("grace = 0.3", "grace = 7"))
            running.signal(signal.SIGHUP)
            assert (await running.logged("reloaded"))["changed"] == ["orphans.grace"]
            metrics = await api.metrics()
            assert 'shopperd_config_reloads_total{outcome="ok"} 1.0' in metrics
            assert 'shopperd_config_reloads_total{outcome="refused"} 1.0' in metrics
            running.signal(signal.SIGUSR1)
            await running.logged("jobs.asked")


async def test_a_new_secret_is_taken_and_told_by_name_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "vast.key"

    def put(content: str) -> None:
        draft = tmp_path / "draft"
        draft.write_text(content)
        draft.replace(key)

    put("the-first-key-canary")
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        config.write_text(
            config.read_text().replace('provider = "vastai"', 'provider = "vastai"\napi_key_file = "vast.key"')
        )
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            put("two words")
            refused = await running.logged("reload.refused")
            assert refused["detail"].startswith("accounts.vast.api_key: the file holds blanks")
            put("the-second-key-canary")
            assert (await running.logged("secrets.changed"))["changed"] == ["accounts.vast.api_key"]
            metrics = await api.metrics()
            assert 'shopperd_config_reloads_total{outcome="ok"} 1.0' in metrics
            assert 'shopperd_config_reloads_total{outcome="refused"} 1.0' in metrics
            await ready(api)
        assert "canary" not in "".join(running.raw)


async def test_the_service_manager_is_told_the_truth(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)

        async def told(*words: str) -> dict[str, str]:
            """The next message that has one of these words."""
            async with asyncio.timeout(30):
                while True:
                    message = (await asyncio.get_running_loop().sock_recv(manager, 65536)).decode()
                    found = dict(line.split("=", 1) for line in message.split("\n"))
                    assert found.get("STATUS", "A.").endswith("."), "a sentence"
                    if {*words} & found.keys():
                        return found

        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        async with simulated() as simulator, aiohttp.ClientSession() as session:
            config = configuration(simulator, tmp_path)
            async with shopperd("run", "--config", str(config), folder=tmp_path, environ=environ) as running:
                assert "READY" in await told("READY", "WATCHDOG", "STOPPING")
                url = (await running.logged("ready"))["url"]
                async with session.get(f"{url}/healthz") as reply:
                    assert reply.status == 200, "when it says that it is ready, it serves"
                assert (await told("WATCHDOG", "READY"))["WATCHDOG"] == "1"
                running.signal(signal.SIGHUP)
                assert int((await told("RELOADING", "READY"))["MONOTONIC_USEC"]) > 0
                assert "READY" in await told("READY", "WATCHDOG")
                running.signal(signal.SIGTERM)
                assert int((await told("STOPPING"))["EXTEND_TIMEOUT_USEC"]) > 30_000_000
                assert await running.ended() == 0


async def test_a_wrong_configuration_is_told_at_once_with_every_error(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        'deployment = "UPPER"\n[orphans]\nsightings = 0\nmode = "kill"\n[jobs]\nstatus = {interval = 0}\n'
    )
    async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
        assert await running.ended() == 2
    told = "".join(running.raw)
    for place in ("deployment", "orphans.sightings", "orphans.mode", "jobs.status.interval"):
        assert place in told
    assert "Traceback" not in told


async def test_an_unreadable_secret_is_told_and_nothing_starts(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[accounts.vast]\nprovider = "vastai"\napi_key_file = "nowhere.key"\n')
    async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
        assert await running.ended() == 2
    assert "accounts.vast" in "".join(running.raw)


@pytest.mark.parametrize("damage", ["zero bytes", "flipped bytes"])
async def test_a_damaged_store_is_said_and_nothing_starts(damage: str, tmp_path: Path) -> None:
    async with simulated() as simulator:
        config = configuration(simulator, tmp_path)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            await running.logged("ready")
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
        store = tmp_path / "shopperd.db"
        if damage == "zero bytes":
            store.write_bytes(b"")
        else:
            whole = bytearray(store.read_bytes())
            whole[: len(whole)] = bytes(byte ^ 0x5A for byte in whole)
            store.write_bytes(bytes(whole))
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            assert await running.ended() == 1
        told = "".join(running.raw)
        assert "shopperd.db" in told
        assert "Traceback" not in told
        assert destroys(simulator) == []


async def test_a_store_that_another_program_locks_is_said_and_stops_acts_but_not_the_process(tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            other = sqlite3.connect(tmp_path / "shopperd.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            try:
                await running.logged("store.failed")

                async def not_ready() -> bool:
                    async with session.get(f"{api.url}/readyz") as reply:
                        return reply.status == 503

                await until(not_ready, "it is not ready")
            finally:
                other.execute("ROLLBACK")
                other.close()
            await ready(api)


async def test_no_secret_reaches_the_log_the_metrics_or_the_store(tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        config.write_text(config.read_text().replace('format = "json"', 'format = "json"\nlevel = "debug"'))
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            simulator.world.switch_on("server_error", provider="vastai", operation="list", count=3)
            simulator.world.switch_on("truncated_json", provider="vastai", operation="list", count=3)
            made = await api.create("vast", wait=10, env={"TOKEN": "a-users-own-secret"})
            await api.end(made["id"])

            async def over() -> bool:
                return await api.state(made["id"]) in ("ended", "failed")

            await until(over, "it is over")
            shown = await api.metrics()
            for path in (
                "/status",
                "/accounts",
                "/sessions",
                "/instances",
                "/events?limit=1000",
                f"/sessions/{made['id']}",
            ):
                shown += str(await api.get(path))
            running.signal(signal.SIGTERM)
            await running.ended()
        shown += "".join(running.raw)
        for secret in (*KEYS.values(), "a-users-own-secret"):
            assert secret not in shown
        for file in tmp_path.iterdir():
            if file.name.startswith("shopperd.db"):
                assert KEYS["VASTAI_API_KEY"].encode() not in file.read_bytes()
                assert file.stat().st_mode & 0o077 == 0, f"{file.name} can be read by others"
        assert os.environ.get("VASTAI_API_KEY") != KEYS["VASTAI_API_KEY"]

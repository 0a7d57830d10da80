"""The daemon is killed again and again, at moments nobody chose, while sessions are created and ended."""

import asyncio
import random
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.daemon.house import Api, alive, ready, simulated, until
from tests.system.processes import configuration, shopperd

KILLS = 25
LIFE_SECONDS_MAX = 1.2
"""A life ends somewhere in its first second: while it starts, lists, rents, destroys or proves."""


@pytest.mark.system
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
async def test_whenever_it_is_killed_it_ends_right(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    async with simulated(offers=300) as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        simulator.world.conjure({"provider": "vastai", "tag": "not ours"})
        asked: dict[str, str] = {}
        ended: set[str] = set()

        async def disturb(api: Api) -> None:
            """Ask for one session after the other, and end some, until the daemon is gone."""
            while True:
                try:
                    if asked and rng.random() < 0.5:
                        victim = rng.choice(sorted(asked))
                        await api.end(victim)
                        ended.add(victim)
                    else:
                        made = await api.create("vast")
                        asked[made["id"]] = made["tag"]
                except AssertionError:
                    await asyncio.sleep(0.02)  # No market has been read yet.

        for _ in range(KILLS):
            async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
                api = Api(session, (await running.logged("ready"))["url"])
                work = asyncio.create_task(disturb(api))
                await asyncio.sleep(rng.uniform(0.05, LIFE_SECONDS_MAX))
                running.signal(signal.SIGKILL)
                await running.ended()
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            # An end whose answer was lost may or may not have been heard: ask again, as a tool would.
            for one in sorted(ended):
                await api.end(one)

            async def right() -> bool:
                items = (await api.get("/sessions?limit=1000"))["items"]
                wanted = {row["tag"] for row in items if row["state"] in ("starting", "running")}
                open_still = [row for row in items if row["state"] in ("creating", "ending", "expected", "lost")]
                there = sorted(machine["tag"] for machine in alive(simulator))
                return not open_still and there == sorted([*wanted, "not ours"])

            await until(right, "what is billed equals what was asked for", seconds=90.0)
            items = {row["id"]: row for row in (await api.get("/sessions?limit=1000"))["items"]}
            assert asked.keys() <= items.keys()
            assert all(items[one]["state"] in ("ended", "failed") for one in ended)
            for one in asked.keys() - ended:
                # Not ended, so never destroyed; it can have failed only if its create had never reached the marketplace.
                assert items[one]["state"] in ("running", "starting", "failed", "ended")
        rented = [row["effect"] for row in simulator.world.requests if str(row["effect"]).startswith("created:")]
        assert rented

"""A thousand restarts, in good order and not, are no-ops for machines."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from attrs import define, field

from shopperd.simulator import SimulatorServer
from tests.daemon.house import Api, alive, destroys, ready, simulated, until
from tests.system.processes import Life, Running, account, configuration, nursery, sample, shopperd

PROCESSES = 60
FORKS = 470
"""Of each seed: with the processes, that makes a thousand."""

SWEEPS = 5
"""In so many complete sweeps after a start, all that can be judged is judged: the sightings and the grace are over."""

WAYS = ["SIGKILL at its start", "SIGTERM at its start", "SIGKILL at work", "SIGTERM at work", "SIGTERM at work"]


@define
class Household:
    """Both marketplaces, with machines of every kind that must outlive restarts.

    Attributes:
        bound: the machine of each session.
        strangers: machines with a tag exactly of our form whose session the store never heard of, though nobody else uses
            these accounts. Each came while no daemon was there to see it.
    """

    simulator: SimulatorServer
    session: aiohttp.ClientSession
    bound: dict[str, str] = field(factory=dict)
    strangers: int = 0

    def a_stranger_comes(self) -> None:
        # The world's clock stands still between requests, and this machine is younger than the newest of them.
        self.simulator.world.advance_to(self.simulator.clock())
        for provider in ("vastai", "tensordock"):
            self.strangers += 1
            tag = f"shopper-{UUID(int=self.strangers, version=4)}"
            self.simulator.world.conjure({"provider": provider, "tag": tag})

    def foreigners_come(self) -> None:
        for provider in ("vastai", "tensordock"):
            for tag in ("somebody else's", f"shopper-{UUID(int=7, version=4)}"[:-1]):
                self.simulator.world.conjure({"provider": provider, "tag": tag})

    async def settle_in(self, api: Api) -> None:
        """Rent at both, once with a tag that the marketplace spoils: its id alone binds that machine."""
        await ready(api)
        self.simulator.world.switch_on("create_tag_altered", provider="vastai", count=1)
        ids = [(await api.create(name, wait=10))["id"] for name in ("vast", "vast", "vast", "dock", "dock")]

        async def running() -> bool:
            return {(await api.get(f"/sessions/{one}"))["state"] for one in ids} == {"running"}

        await until(running, "all of them run")
        self.bound = {one: (await api.get(f"/sessions/{one}"))["instance_id"] for one in ids}

    async def look_around(self, api: Api) -> None:
        """Everything is there and bound, and the strangers are held for the one reason that there is."""
        await judged(api)
        assert destroys(self.simulator) == []
        for one, machine in self.bound.items():
            shown = await api.get(f"/sessions/{one}")
            assert (shown["state"], shown["instance_id"]) == ("running", machine)
        items = (await api.get("/orphans?limit=1000"))["items"]
        assert {(item["kind"], item["phase"], item["hold_reason"]) for item in items} == {
            ("unknown", "held", "memory_broken")
        }
        assert len(items) == self.strangers
        assert len(alive(self.simulator)) == len(self.bound) + self.strangers + 4

    async def end_one(self, api: Api) -> None:
        """What was spared was not spared for want of strength: one that is ended goes, and so does a late double of it."""
        one = min(self.bound)
        shown = await api.get(f"/sessions/{one}")
        await api.end(one)

        async def over() -> bool:
            return await api.state(one) == "ended"

        await until(over, "it is over")
        assert len(destroys(self.simulator)) == 1
        self.simulator.world.conjure({"provider": shown["provider"], "tag": shown["tag"]})

        async def gone() -> bool:
            return len(destroys(self.simulator)) == 2

        await until(gone, "its double is gone")
        assert len(alive(self.simulator)) == len(self.bound) - 1 + self.strangers + 4


async def judged(api: Api) -> None:
    """Wait until every account has had its sweeps."""

    async def swept() -> bool:
        told = await api.metrics()
        name = "shopperd_job_runs_total"
        return all(sample(told, name, job="sweep", account=one, outcome="ok") >= SWEEPS for one in ("vast", "dock"))

    await until(swept, "the sweeps are over")


@asynccontextmanager
async def household(folder: Path) -> AsyncIterator[tuple[Household, Path]]:
    async with simulated(offers=60) as simulator, aiohttp.ClientSession() as session:
        config = configuration(
            simulator,
            folder,
            accounts=[
                account("vast", "vastai", simulator.vastai_url, exclusive=True),
                account("dock", "tensordock", simulator.tensordock_url, exclusive=True),
            ],
            max_destroys_per_sweep=1000,
            max_share_per_sweep=1.0,
            max_share_per_hour=1.0,
        )
        home = Household(simulator, session)
        home.foreigners_come()
        home.a_stranger_comes()
        yield home, config


async def live(daemon: Life | Running, way: str, rng: random.Random, *, start_seconds: float) -> None:
    """One life, ended in that way."""
    at_its_start = way.endswith("at its start")
    if not at_its_start:
        await daemon.logged("ready")
    await asyncio.sleep(rng.uniform(0.0, start_seconds if at_its_start else 0.2))
    number = signal.SIGKILL if way.startswith("SIGKILL") else signal.SIGTERM
    daemon.signal(number)
    # As long as it does not listen to signals yet, a SIGTERM ends it as it ends any process.
    good = {0} if way == "SIGTERM at work" else {0, -number} if way == "SIGTERM at its start" else {-number}
    assert await daemon.ended() in good, f"{way}: {daemon.told[-4000:]}"


@pytest.mark.system
@pytest.mark.timeout(1800)
async def test_restarts_of_a_real_process_destroy_nothing(tmp_path: Path) -> None:
    rng = random.Random(3)
    async with household(tmp_path) as (home, config):
        command = ("run", "--config", str(config))
        async with shopperd(*command, folder=tmp_path) as daemon:
            await home.settle_in(Api(home.session, (await daemon.logged("ready"))["url"]))
        for number in range(PROCESSES):
            if number % 20 == 0:
                home.a_stranger_comes()
            async with shopperd(*command, folder=tmp_path) as daemon:
                if number % 20 == 10:
                    await judged(Api(home.session, (await daemon.logged("ready"))["url"]))
                await live(daemon, rng.choice(WAYS), rng, start_seconds=1.0)
            assert destroys(home.simulator) == []
        async with shopperd(*command, folder=tmp_path) as daemon:
            api = Api(home.session, (await daemon.logged("ready"))["url"])
            await home.look_around(api)
            await home.end_one(api)


@pytest.mark.system
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [4, 5])
async def test_hundreds_of_restarts_destroy_nothing(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    async with household(tmp_path) as (home, config), nursery(config, folder=tmp_path) as daemons:
        daemon = await daemons.start()
        await home.settle_in(Api(home.session, (await daemon.logged("ready"))["url"]))
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0
        for number in range(FORKS):
            if number % 200 == 0:
                home.a_stranger_comes()
            daemon = await daemons.start()
            if number % 100 == 50:
                await judged(Api(home.session, (await daemon.logged("ready"))["url"]))
            await live(daemon, rng.choice(WAYS), rng, start_seconds=0.15)
            assert destroys(home.simulator) == []
        daemon = await daemons.start()
        api = Api(home.session, (await daemon.logged("ready"))["url"])
        await home.look_around(api)
        await home.end_one(api)

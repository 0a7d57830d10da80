"""The daemon is killed again and again, at moments nobody chose, while sessions are created and ended."""

import asyncio
import random
import signal
from collections.abc import Awaitable
from pathlib import Path

import aiohttp
import pytest
from attrs import define, field

from shopperd.simulator import SimulatorServer
from tests.daemon.house import SSH_KEY, Api, alive, simulated, until
from tests.system.processes import Life, configuration, nursery

LIVES = 50
"""Of each seed. Every second kill is aimed at a create, the others at an end; the other kind is on its way as well."""

JITTER_SECONDS = 0.03
LATER_SECONDS = 0.8
SLOW_SECONDS = 0.2
HEARD_SECONDS = 3.0


@define
class Tool:
    """Creates and ends sessions, and asks again where it got no answer. It knows what it was promised."""

    session: aiohttp.ClientSession
    simulator: SimulatorServer
    rng: random.Random
    url: str = ""
    asked: int = 0
    made: dict[str, dict[str, str]] = field(factory=dict)
    ended: set[str] = field(factory=set)
    unanswered_creates: list[str] = field(factory=list)
    unanswered_ends: list[str] = field(factory=list)

    async def create(self, key: str) -> None:
        """One create. The same key never makes a second session."""
        body = {"account": "vast", "ssh_key": SSH_KEY, "max_price_per_hour": 50}
        headers = {"Idempotency-Key": key}
        async with self.session.post(f"{self.url}/api/v1/sessions", json=body, headers=headers) as reply:
            assert reply.status in (200, 201), await reply.text()
            self.made[key] = await reply.json()
        self.unanswered_creates.remove(key)

    async def end(self, key: str) -> None:
        """One end. Once it is answered, nobody asks again."""
        url = f"{self.url}/api/v1/sessions/{self.made[key]['id']}/end"
        async with self.session.post(url, json={"reason": "test"}) as reply:
            assert reply.status == 202, await reply.text()
        self.unanswered_ends.remove(key)

    def next_create(self) -> Awaitable[None]:
        self.asked += 1
        self.unanswered_creates.append(str(self.asked))
        return self.create(str(self.asked))

    def next_end(self) -> Awaitable[None]:
        victim = self.rng.choice(sorted(self.made.keys() - self.ended))
        self.ended.add(victim)
        self.unanswered_ends.append(victim)
        return self.end(victim)

    async def ask_again(self) -> None:
        """What was not answered in the life before."""
        for key in [*self.unanswered_creates]:
            await self.create(key)
        for key in [*self.unanswered_ends]:
            await self.end(key)

    async def until_heard(self, operation: str) -> None:
        """Until the marketplace has been asked for it once more."""
        before = self.simulator.world.requests.last

        async def heard() -> bool:
            return any(row.operation == operation for row in self.simulator.world.requests.after(before))

        await until(heard, f"the marketplace hears of the {operation}")

    async def kill(self, life: Life, aim: str) -> None:
        """Kill the daemon somewhere between being asked for what is aimed at and having it done."""
        rng, faults = self.rng, self.simulator.world.faults
        moment = rng.choice(["asked", "answered", "heard", "heard, unanswered", "later"])
        if moment == "heard, unanswered":
            name = "create_slow" if aim == "create" else "slow"
            faults.switch_on({"name": name, "operation": aim, "count": 1, "delay": SLOW_SECONDS})
        heard = asyncio.create_task(self.until_heard(aim))
        asked = {
            "create": asyncio.ensure_future(self.next_create()),
            "destroy": asyncio.ensure_future(self.next_end()),
        }
        try:
            if moment == "answered":
                await asked[aim]
            elif moment.startswith("heard"):
                # Not for long: a session whose create came to nothing has nothing to be destroyed.
                await asyncio.wait([heard], timeout=HEARD_SECONDS)
            await asyncio.sleep(rng.uniform(0.0, LATER_SECONDS if moment == "later" else JITTER_SECONDS))
            life.signal(signal.SIGKILL)
            assert await life.ended() == -signal.SIGKILL
        finally:
            for task in (heard, *asked.values()):
                task.cancel()
            results = await asyncio.gather(heard, *asked.values(), return_exceptions=True)
            faults.switch_off()
        for error in results:
            # A broken connection is what a kill looks like from outside; any other answer is a fault.
            assert error is None or isinstance(error, aiohttp.ClientError | asyncio.CancelledError), error


@pytest.mark.system
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
async def test_whenever_it_is_killed_it_ends_right(seed: int, tmp_path: Path) -> None:
    async with simulated(offers=300) as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, tmp_path)
        simulator.world.conjure({"provider": "vastai", "tag": "not ours"})
        tool = Tool(session, simulator, random.Random(seed))
        async with nursery(config, folder=tmp_path) as daemons:
            for number in range(LIVES):
                life = await daemons.start()
                tool.url = (await life.logged("ready"))["url"]
                await tool.ask_again()
                if number == 0:
                    for _ in range(3):
                        await tool.next_create()
                await tool.kill(life, "create" if number % 2 else "destroy")

            life = await daemons.start()
            tool.url = (await life.logged("ready"))["url"]
            await tool.ask_again()
            api = Api(session, tool.url)
            assert len(tool.made) == LIVES + 3

            async def right() -> bool:
                items = (await api.get("/sessions?limit=1000"))["items"]
                wanted = {row["tag"] for row in items if row["state"] in ("starting", "running")}
                open_still = [row for row in items if row["state"] in ("creating", "ending", "expected", "lost")]
                there = sorted(machine["tag"] for machine in alive(simulator))
                return not open_still and there == sorted([*wanted, "not ours"])

            await until(right, "what is billed equals what was asked for", seconds=60.0)
            items = {row["id"]: row for row in (await api.get("/sessions?limit=1000"))["items"]}
            assert items.keys() == {made["id"] for made in tool.made.values()}
            rented = [
                machine["tag"] for machine in simulator.world.state()["instances"] if machine["tag"] != "not ours"
            ]
            assert len(rented) == len(set(rented)), "a session had two machines"
            for key, made in tool.made.items():
                state = items[made["id"]]["state"]
                if key in tool.ended:
                    assert state in ("ended", "failed")
                elif state == "failed":
                    # Its request was on disk as sent when the daemon died, and had not left it.
                    assert made["tag"] not in rented
                else:
                    assert state in ("starting", "running"), f"session {made['id']} was never ended, and is {state}"

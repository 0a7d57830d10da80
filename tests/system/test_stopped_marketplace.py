"""A marketplace whose connections are half open: they are taken and never answered, as when a host hangs or a firewall drops."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from attrs import define, field

from tests.daemon.house import Api, ready, until
from tests.system.processes import Marketplace, Running, account, configuration, marketplace, sample, shopperd

pytestmark = pytest.mark.system

REQUEST_SECONDS = 1.0


@define
class Neighbours:
    """A daemon with two accounts, each at a marketplace of its own: `near` goes on, `far` will be stopped."""

    api: Api
    daemon: Running
    near: Marketplace
    far: Marketplace
    liveness: list[int] = field(factory=list)

    async def account(self, name: str) -> dict[str, object]:
        (found,) = [one for one in (await self.api.get("/accounts"))["items"] if one["name"] == name]
        return dict(found)

    async def count(self, name: str, **labels: str) -> float:
        return sample(await self.api.metrics(), f"shopperd_{name}", **labels)

    async def until_counted(self, number: float, name: str, **labels: str) -> None:
        async def counted() -> bool:
            return await self.count(name, **labels) >= number

        await until(counted, f"{name} of {labels} reaches {number}")

    async def until_swept(self, name: str) -> None:
        """Until an account has had so many sweeps more that every verdict would be ripe."""
        labels = {"job": "sweep", "account": name, "outcome": "ok"}
        await self.until_counted(await self.count("job_runs_total", **labels) + 5, "job_runs_total", **labels)

    async def until_timed_out(self, number: int, operation: str) -> None:
        """Until so many requests of one kind to the marketplace that hangs have met their deadline since the start."""
        labels = {"account": "far", "operation": operation, "outcome": "timeout"}
        await self.until_counted(number, "provider_requests_total", **labels)

    async def until_state(self, session_id: str, *states: str) -> None:
        async def there() -> bool:
            return await self.api.state(session_id) in states

        await until(there, f"{session_id} is {' or '.join(states)}")

    async def watch_liveness(self) -> None:
        """Ask as an orchestrator does: no answer within its second is as bad as a wrong one."""
        while True:
            async with self.api.session.get(f"{self.api.url}/healthz", timeout=aiohttp.ClientTimeout(5)) as reply:
                self.liveness.append(reply.status)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def neighbours(folder: Path) -> AsyncIterator[Neighbours]:
    async with (
        aiohttp.ClientSession() as session,
        marketplace(session, folder) as near,
        marketplace(session, folder) as far,
    ):
        tables = [
            account("near", "vastai", near.vastai_url, request_timeout=REQUEST_SECONDS),
            account("far", "vastai", far.vastai_url, request_timeout=REQUEST_SECONDS),
        ]
        config = configuration(near, folder, accounts=tables, create_deadline="15s")
        async with shopperd("run", "--config", str(config), folder=folder) as running:
            api = Api(session, (await running.logged("ready"))["url"])
            await ready(api)
            found = Neighbours(api, running, near, far)

            async def both_markets() -> bool:
                return all([(await found.account(name))["offers"] for name in ("near", "far")])

            await until(both_markets, "both markets are read")
            watch = asyncio.create_task(found.watch_liveness())
            try:
                yield found
                assert not watch.done(), "the liveness probe got no answer"
            finally:
                watch.cancel()
                far.signal(signal.SIGCONT)
                await asyncio.gather(watch, return_exceptions=True)
            assert set(found.liveness) == {200}


async def test_a_marketplace_that_hangs_is_told_and_hinders_no_other(tmp_path: Path) -> None:
    async with neighbours(tmp_path) as found:
        api = found.api
        kept = await api.create("far", wait=10)
        await found.until_state(kept["id"], "running")
        (machine,) = await found.far.alive()

        found.far.signal(signal.SIGSTOP)
        sweeps = await found.count("job_runs_total", job="sweep", account="near", outcome="ok")
        await found.until_timed_out(3, "list_all_instances")
        # Three requests in a row ran into their deadline, one after another: meanwhile, the other account's sweeps went on.
        assert await found.count("job_runs_total", job="sweep", account="near", outcome="ok") >= sweeps + 3

        told = await found.account("far")
        assert told["healthy"] is False
        # The last listing ran into its deadline, or was held back because those before it had.
        assert told["reason"] in ("timeout", "breaker")
        assert any(words in str(told["detail"]) for words in ("no answer within", "were not answered"))
        metrics = await api.metrics()
        assert sample(metrics, "shopperd_snapshots_total", account="far", outcome="timeout") >= 3
        ages = [sample(metrics, "shopperd_snapshot_age_seconds", account=name) for name in ("near", "far")]
        assert ages[0] < ages[1]
        assert (await found.account("near"))["healthy"] is True
        made = await api.create("near", wait=10)
        await found.until_state(made["id"], "running")
        await api.end(made["id"])
        await found.until_state(made["id"], "ended")
        # Not seen is not gone: nobody has said anything about it.
        assert await api.state(kept["id"]) == "running"

        found.far.signal(signal.SIGCONT)

        async def well() -> bool:
            return (await found.account("far"))["healthy"] is True

        await until(well, "it is well again")
        await found.until_swept("far")
        assert await api.state(kept["id"]) == "running"
        assert [one["id"] for one in await found.far.alive()] == [machine["id"]]
        assert await found.far.requests("destroy") == []


@pytest.mark.parametrize("moment", ["before the request", "before the answer"])
async def test_a_destroy_that_hangs_is_finished_and_takes_nothing_else_with_it(moment: str, tmp_path: Path) -> None:
    async with neighbours(tmp_path) as found:
        api, far = found.api, found.far
        kept, ending = [await api.create("far", wait=10) for _ in range(2)]
        for one in (kept, ending):
            await found.until_state(one["id"], "running")
        if moment == "before the request":
            far.signal(signal.SIGSTOP)
            await api.end(ending["id"])
            # Its last look waits for an answer, and the request would.
            await found.until_timed_out(2, "get_instance_status")
        else:
            await far.switch_on("slow", operation="destroy", count=1, delay=REQUEST_SECONDS / 2)
            await api.end(ending["id"])

            async def asked() -> bool:
                return bool(await far.requests("destroy"))

            await until(asked, "the marketplace is asked")
            far.signal(signal.SIGSTOP)
            await found.until_timed_out(1, "destroy_instance")
        assert await api.state(ending["id"]) == "ending"
        far.signal(signal.SIGCONT)
        await found.until_state(ending["id"], "ended")
        await found.until_swept("far")
        assert await api.state(kept["id"]) == "running"
        assert [machine["tag"] for machine in await far.alive()] == [kept["tag"]]
        effects = [row["effect"] for row in await far.requests("destroy") if row["effect"]]
        assert len(effects) == 1


async def test_a_create_that_hangs_is_found_or_given_up_and_never_doubled(tmp_path: Path) -> None:
    """The request lies in the marketplace's socket all the time, and is served when it wakes up."""
    async with neighbours(tmp_path) as found:
        api, far = found.api, found.far
        far.signal(signal.SIGSTOP)
        made = await api.create("far")
        await found.until_timed_out(1, "create_instance")
        assert await api.state(made["id"]) == "creating"
        far.signal(signal.SIGCONT)

        async def agreed() -> bool:
            billed = [machine["tag"] for machine in await far.alive()]
            return (await api.state(made["id"]), billed) in (("running", [made["tag"]]), ("failed", []))

        await until(agreed, "what is billed equals what was asked for")
        await found.until_swept("far")
        assert await agreed()
        assert len([row for row in await far.requests("create") if row["effect"]]) <= 1

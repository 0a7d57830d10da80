"""A hundred thousand instances in one account: whether the loop still answers while they are looked at, and how long a cycle takes.

The marketplace is a list in memory: a real one would hand them out page by page for an hour. All behind it is the daemon's own.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

from attrs import define, evolve, frozen
from prometheus_client import CollectorRegistry

from shopperd.clock import SystemClock
from shopperd.daemon import Daemon
from shopperd.jobs.context import AccountAtWork, Job
from shopperd.jobs.status import StatusJob
from shopperd.jobs.sweep import SweepJob
from shopperd.model import Instance, Snapshot
from shopperd.process import settle_memory
from shopperd.providers.contract import (
    CreatedInstance,
    CreateRequest,
    Feature,
    InstanceNotFound,
    OfferFilter,
    OfferList,
    Provider,
    Refused,
)
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings, JobSettings, JobsSettings, Settings, WebSettings
from shopperd.store import Store
from shopperd.telemetry import Metrics
from tests.bench.filling import fill
from tests.bench.lag import Lag, crumbs, watched
from tests.bench.result import Result
from tests.nouns import instance, session, track

MACHINES = 100_000
CYCLES = 3
MARGIN_SECONDS = 0.02
"""The loop is watched for so long before and after a run."""


@define
class Shelf:
    """A provider that hands out what lies on it."""

    clock: SystemClock
    lying: Sequence[Instance] = ()
    name: str = "vastai"

    async def list_all_instances(self) -> Snapshot:
        """All at once."""
        now = self.clock.now()
        return Snapshot("main", self.name, tuple(self.lying), now, self.clock.now(), complete=True)

    async def list_offers(self, filter: OfferFilter) -> OfferList:
        """None."""
        return OfferList(())

    async def create_instance(self, request: CreateRequest) -> CreatedInstance:
        """There is nothing to rent."""
        raise Refused("nothing to rent")

    async def destroy_instance(self, id: str) -> None:
        """Nobody may ask for this here."""
        raise Refused("not here")

    async def get_instance_status(self, id: str) -> Instance:
        """Nor for this."""
        raise InstanceNotFound(id)

    def supports_feature(self, feature: Feature) -> bool:
        """None."""
        return False

    async def close(self) -> None:
        """It has no connections."""


class Large(Daemon):
    """The daemon, in front of a shelf."""

    shelf: Shelf

    def _adapters(
        self,
        settings: Settings,
        accounts: Iterable[AccountSettings],
        secrets: Mapping[str, Mapping[str, Secret]],
    ) -> list[tuple[AccountSettings, Provider]]:
        return [(account, self.shelf) for account in accounts]


@frozen
class Cycle:
    """What one run of a job took, and how late the loop came to others meanwhile, at the worst: by its own CPU, and by the wall beyond
    the worst of work in crumbs right before and after, which is what the machine makes.
    """

    cpu_seconds: float
    lag_seconds: float
    lag_cpu_seconds: float


def results() -> Iterable[Result]:
    """All of them."""
    status, changed, sweep = asyncio.run(_measured(MACHINES))
    jobs = JobsSettings()
    for name, cycles, interval in (
        ("at_rest", status, jobs.status.interval),
        ("one_changed", changed, jobs.status.interval),
        ("sweep", sweep, jobs.sweep.interval),
    ):
        lag = median(one.lag_cpu_seconds for one in cycles)
        yield Result(f"large.{name}.lag", lag * 1000, "ms of the loop's CPU until its next turn, at worst", 50.0)
        lag = median(one.lag_seconds for one in cycles)
        yield Result(f"large.{name}.lag_by_the_wall", lag * 1000, "ms more than beside work in crumbs, at worst", 50.0)
        took = median(one.cpu_seconds for one in cycles)
        yield Result(f"large.{name}.cycle", took, f"s of CPU, every {interval:g} s", interval)


async def _measured(machines: int) -> tuple[list[Cycle], list[Cycle], list[Cycle]]:
    with tempfile.TemporaryDirectory() as folder:
        async with _standing(Path(folder), machines) as large:
            at = large.context.accounts["main"]
            status, sweep = StatusJob(large.context, at), SweepJob(large.context, at)
            rows = large.shelf.lying
            await _run(status, at)
            at_rest, changed, swept = [], [], []
            for cycle in range(CYCLES):
                at_rest.append(await _run(status, at))
                large.shelf.lying = [*rows[:cycle], evolve(rows[cycle], address=f"192.0.2.{cycle}"), *rows[cycle + 1 :]]
                changed.append(await _run(status, at))
                swept.append(await _run(sweep, at))
            return at_rest, changed, swept


@asynccontextmanager
async def _standing(folder: Path, machines: int) -> AsyncIterator[Large]:
    """A daemon that knows a session for each machine; its jobs run when they are told to."""
    account = AccountSettings("main", "vastai")
    never = JobSettings(3600.0, enabled=False)
    settings = Settings(
        accounts={"main": account},
        jobs=JobsSettings(offers=never, status=never, sweep=never),
        web=WebSettings(listen="127.0.0.1:0"),
    )
    clock, metrics = SystemClock(), Metrics(CollectorRegistry())
    store = Store.open(f"sqlite:///{folder / 'shopperd.db'}", clock=clock, metrics=metrics)
    gc.disable()  # or it would look through a growing heap again and again
    hour_ago = clock.now() - timedelta(hours=1)
    claims = [
        session(
            n,
            account="main",
            instance_id=str(n),
            gpu="RTX 4090",
            gpu_count=1,
            price_per_hour=0.5,
            created_at=hour_ago,
            state_since=hour_ago,
        )
        for n in range(1, machines + 1)
    ]
    shelf = [instance(str(n), n, account="main", gpu="RTX 4090", gpu_count=1) for n in range(1, machines + 1)]
    store.run_sync(fill, claims, [track(evolve(one), sightings=5, last_seen_at=clock.now()) for one in shelf])
    large = Large(settings, store, metrics, clock, environ={})
    large.shelf = Shelf(clock, shelf)
    del claims, shelf
    await large.start()
    settle_memory()
    gc.enable()
    try:
        yield large
    finally:
        await large.stop()


async def _run(job: Job, at: AccountAtWork) -> Cycle:
    lags: list[Lag] = []
    baseline: list[Lag] = []
    await crumbs(baseline)
    with watched(lags):
        await asyncio.sleep(MARGIN_SECONDS)
        began = time.process_time()
        report = await job.run()
        seconds = time.process_time() - began
        await asyncio.sleep(MARGIN_SECONDS)
    await crumbs(baseline)
    if not report.ok or at.instances == 0:
        raise AssertionError(report.sentence)
    return Cycle(
        cpu_seconds=seconds,
        lag_seconds=max(wall for wall, _ in lags) - max(wall for wall, _ in baseline),
        lag_cpu_seconds=max(cpu for _, cpu in lags),
    )

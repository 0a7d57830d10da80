"""When jobs run: soon when asked, never twice at once, and nothing asked for is forgotten."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from attrs import define, field

from shopperd.clock import SystemClock
from shopperd.jobs.context import Context, Report
from shopperd.jobs.runner import Runner
from shopperd.schedule import Schedule
from shopperd.settings import Settings
from shopperd.store import Store
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock


@define
class CountingJob:
    """Runs when it is asked to; every run waits for the test to let it go on."""

    name: str = "status"
    account: str = "main"
    interval: float = 3600.0
    deadline: float = 60.0
    must_finish: bool = True
    runs: int = 0
    at_once: int = 0
    most_at_once: int = 0
    gate: asyncio.Event = field(factory=asyncio.Event)
    changed: asyncio.Condition = field(factory=asyncio.Condition)
    fails: bool = False

    async def run(self) -> Report:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        async with self.changed:
            self.runs += 1
            self.changed.notify_all()
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        if self.fails:
            raise RuntimeError("planted")
        return Report("ran")

    async def ran(self, count: int) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.runs >= count)


@asynccontextmanager
async def scheduled(job: CountingJob, metrics: Metrics, *, start: bool = True) -> AsyncIterator[Schedule]:
    clock = SystemClock(seed=1)
    store = Store.open("sqlite://", clock=clock, inline=True)
    schedule = Schedule(clock, metrics)
    context = Context(Settings(), clock, store, metrics, {}, schedule.wake)
    schedule.add(Runner(job, context))
    if start:
        schedule.start()
    try:
        yield schedule
    finally:
        context.stopping = True
        await schedule.drain(0.1)
        await store.close()


@pytest.fixture
def job() -> CountingJob:
    return CountingJob()


async def test_a_job_runs_at_the_start(job: CountingJob, metrics: Metrics) -> None:
    job.gate.set()
    async with scheduled(job, metrics):
        await job.ran(1)


async def test_a_wake_during_a_run_is_answered_by_one_more_run(job: CountingJob, metrics: Metrics) -> None:
    async with scheduled(job, metrics) as schedule:
        await job.ran(1)
        for _ in range(5):
            schedule.wake("status", "main")
        job.gate.set()
        await job.ran(2)
    assert job.runs == 2
    assert job.most_at_once == 1


async def test_a_wake_between_runs_is_answered_soon(job: CountingJob, metrics: Metrics) -> None:
    job.gate.set()
    async with scheduled(job, metrics) as schedule:
        await job.ran(1)
        schedule.wake("status", "main", in_seconds=0.01)
        await job.ran(2)


async def test_a_wake_for_a_job_that_is_switched_off_is_no_error(job: CountingJob, metrics: Metrics) -> None:
    job.gate.set()
    async with scheduled(job, metrics) as schedule:
        schedule.wake("sweep", "main")
        await job.ran(1)


async def test_a_job_that_raises_runs_again(job: CountingJob, metrics: Metrics) -> None:
    job.fails = True
    job.gate.set()
    async with scheduled(job, metrics) as schedule:
        await job.ran(1)
        schedule.wake("status", "main")
        await job.ran(2)
    assert metrics.job_runs_total.labels("status", "main", "failed")._value.get() == 2


async def test_a_success_is_told_in_the_machines_time_which_alerts_go_by(job: CountingJob, metrics: Metrics) -> None:
    clock = FakeClock()
    clock.jumped_seconds = 7200.0
    store = Store.open("sqlite://", clock=clock, inline=True)
    job.gate.set()
    await Runner(job, Context(Settings(), clock, store, metrics, {}, Schedule(clock, metrics).wake)).fire()
    await store.close()
    told = metrics.job_last_success_timestamp_seconds.labels(job=job.name, account=job.account)._value.get()
    assert told == clock.now().timestamp() + 7200.0


async def test_a_drain_waits_for_what_runs(job: CountingJob, metrics: Metrics) -> None:
    async with scheduled(job, metrics) as schedule:
        await job.ran(1)
        drain = asyncio.create_task(schedule.drain(10.0))
        await asyncio.sleep(0)
        job.gate.set()
        assert await drain


async def test_a_drain_cuts_at_once_what_only_reads(job: CountingJob, metrics: Metrics) -> None:
    job.must_finish = False
    async with scheduled(job, metrics) as schedule:
        await job.ran(1)
        assert await schedule.drain(60.0)
        await asyncio.sleep(0)
        assert job.at_once == 0


async def test_a_drain_cuts_what_does_not_end(job: CountingJob, metrics: Metrics) -> None:
    async with scheduled(job, metrics) as schedule:
        await job.ran(1)
        assert not await schedule.drain(0.05)
        assert job.at_once == 0


async def test_a_schedule_that_was_never_started_can_be_drained(job: CountingJob, metrics: Metrics) -> None:
    async with scheduled(job, metrics, start=False) as schedule:
        assert await schedule.drain(1.0)
    assert job.runs == 0

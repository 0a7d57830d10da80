"""When jobs run: APScheduler's interval jobs with jitter, plus "run soon" on request, and a drain that cancels nothing early."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from shopperd.clock import Clock
from shopperd.jobs.context import log
from shopperd.jobs.runner import Runner
from shopperd.telemetry import Metrics

JITTER_SHARE = 0.1
"""Runs of one kind spread over this share of their interval, so that accounts and replicas do not call in step."""

OVERDUE_INTERVALS = 2.5
"""A job that has not run for so many of its intervals was forgotten by the scheduler."""

HUNG_INTERVALS = 5.0
HUNG_SECONDS = 120.0
"""A job that has not run for so many intervals and seconds, or a run that outlives its deadline by so many seconds, hangs."""

SETTLE_SECONDS = 0.05
"""How long the scheduler may take to notice that a run has ended."""

SWEEP_LATER_SHARE = 0.5
"""The first sweep of a start waits this share of its interval: the status job has then looked before it."""


class Schedule:
    """The runners of all jobs on one scheduler.

    APScheduler's own shutdown cancels what runs; `drain` waits for it first.
    """

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._runners: dict[str, Runner] = {}
        self._scheduler = AsyncIOScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_listener(self._heard, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)

    @property
    def runners(self) -> Iterable[Runner]:
        """All runners, in the order in which they were added."""
        return tuple(self._runners.values())

    def add(self, runner: Runner, *, first_in_seconds: float = 0.0) -> None:
        """Schedule a job; its first run comes after that many seconds and a little jitter."""
        job = runner.job
        key = _key(job.name, job.account)
        jitter = self._clock.random.uniform(0.0, min(1.0, job.interval * JITTER_SHARE))
        self._runners[key] = runner
        self._scheduler.add_job(
            runner.fire,
            IntervalTrigger(seconds=job.interval, jitter=job.interval * JITTER_SHARE, timezone="UTC"),
            id=key,
            name=key,
            replace_existing=True,
            next_run_time=_soon(first_in_seconds + jitter),
        )

    def remove(self, account: str, job: str | None = None) -> tuple[Runner, ...]:
        """Take an account's jobs off the schedule, or the one of that name; those that run go on."""
        taken = tuple(
            runner
            for runner in self._runners.values()
            if runner.job.account == account and job in (None, runner.job.name)
        )
        for runner in taken:
            key = _key(runner.job.name, runner.job.account)
            self._scheduler.remove_job(key)
            del self._runners[key]
        return taken

    def wake(self, job: str, account: str, *, in_seconds: float = 0.0) -> None:
        """Have a job run at the latest in that many seconds. Unknown jobs (switched off) are left alone."""
        runner = self._runners.get(_key(job, account))
        if runner is None:
            return
        if runner.running is not None and in_seconds <= 0:
            runner.asked_again = True
            return
        scheduled = self._scheduler.get_job(_key(job, account))
        due = _soon(in_seconds)
        if scheduled is not None and (scheduled.next_run_time is None or scheduled.next_run_time > due):
            scheduled.modify(next_run_time=due)

    def catch_up(self) -> list[Runner]:
        """Have those run that should have run long ago; which they are. Call it now and then.

        The scheduler goes by the machine's wall clock: if that is set back by hours, it would wait for as long.
        """
        late = [
            runner for runner in self._runners.values() if runner.idle_seconds > OVERDUE_INTERVALS * runner.job.interval
        ]
        for runner in late:
            self.wake(runner.job.name, runner.job.account)
        return late

    def hung(self) -> list[str]:
        """Which jobs do not turn any more, and since when: neither their deadline nor `catch_up` has helped them."""
        found = []
        for runner in self._runners.values():
            name = f"job {runner.job.name} of {runner.job.account}" if runner.job.account else f"job {runner.job.name}"
            if runner.busy_seconds > runner.job.deadline + HUNG_SECONDS:
                found.append(f"{name} has been in one run for {runner.busy_seconds:.0f} s")
            elif runner.idle_seconds > HUNG_INTERVALS * runner.job.interval + HUNG_SECONDS:
                found.append(f"{name} has not run for {runner.idle_seconds:.0f} s")
        return found

    def wake_all(self, job: str | None = None, account: str | None = None) -> int:
        """Have all jobs run now, or those of one name or account; how many there are."""
        chosen = [
            runner
            for runner in self._runners.values()
            if job in (None, runner.job.name) and account in (None, runner.job.account)
        ]
        for runner in chosen:
            self.wake(runner.job.name, runner.job.account)
        return len(chosen)

    def start(self) -> None:
        """Begin to run jobs."""
        self._scheduler.start()

    async def drain(self, seconds: float, in_flight: Collection[asyncio.Task[None]] = ()) -> bool:
        """Begin no more runs, wait for those that are on and for `in_flight`, then cancel what is left.

        The answer is whether nothing had to be cancelled.
        """
        if not self._scheduler.running:
            return True
        self._scheduler.pause()
        running = set(in_flight)
        for runner in self._runners.values():
            if runner.running is not None and runner.job.must_finish:
                running.add(runner.running)
            elif runner.running is not None:
                # Reading harms nobody when it is cut, and may wait long for its turn at a provider.
                runner.running.cancel()
        left: set[asyncio.Task[None]] = set()
        if running:
            _, left = await asyncio.wait(running, timeout=seconds)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5.0)
        self._scheduler.shutdown(wait=False)
        return not left

    def _heard(self, event: JobEvent) -> None:
        name, _, account = str(event.job_id).partition(":")
        if event.code == EVENT_JOB_ERROR:
            log.error("job.crashed", job=name, account=account, detail=str(getattr(event, "exception", "")))
            return
        reason = "missed" if event.code == EVENT_JOB_MISSED else "overrun"
        self._metrics.job_skipped_total.labels(job=name, account=account, reason=reason).inc()
        runner = self._runners.get(str(event.job_id))
        if runner is None or reason != "overrun":
            return
        if runner.running is not None:
            runner.asked_again = True
        else:
            # The run is over, but the scheduler has not been told yet: a wake-up at its very end would be lost.
            self.wake(name, account, in_seconds=SETTLE_SECONDS)


def _key(job: str, account: str) -> str:
    return f"{job}:{account}"


def _soon(in_seconds: float) -> datetime:
    # The scheduler has no clock to hand in: it compares with the machine's own, so this must come from there too.
    return datetime.now().astimezone() + timedelta(seconds=max(0.0, in_seconds))

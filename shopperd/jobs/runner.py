"""One run of a job, whatever asked for it: its deadline, its log line, its metrics. Two runs of one job never overlap."""

from __future__ import annotations

import asyncio

import structlog

from shopperd.jobs.context import Context, Job, Report, log
from shopperd.providers.contract import ProviderError
from shopperd.store import StoreError


class Runner:
    """Runs one job. A run that is asked for while one is on is made right after it."""

    def __init__(self, job: Job, context: Context) -> None:
        self.job = job
        self.running: asyncio.Task[None] | None = None
        self.asked_again = False
        self.last_sentence = ""
        self.last_ok: bool | None = None
        self._context = context
        self._runs = 0
        self._idle_since = self._busy_since = context.clock.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long it has not run, by a clock that nobody can set; 0 while it runs."""
        return 0.0 if self.running is not None else self._context.clock.monotonic() - self._idle_since

    @property
    def busy_seconds(self) -> float:
        """How long its run goes on already, by the same clock; 0 while it does not run."""
        return 0.0 if self.running is None else self._context.clock.monotonic() - self._busy_since

    async def fire(self) -> None:
        """One run. It never raises, except when it is cancelled by other than a stop."""
        if self._context.stopping:
            return
        if self.running is not None:
            self.asked_again = True
            self._context.metrics.job_skipped_total.labels(
                job=self.job.name, account=self.job.account, reason="overrun"
            ).inc()
            return
        self.running = asyncio.current_task()
        self._busy_since = self._context.clock.monotonic()
        self.asked_again = False
        self._runs += 1
        try:
            with structlog.contextvars.bound_contextvars(
                job=self.job.name, account=self.job.account, run=f"{self.job.name}-{self._runs}"
            ):
                await self._run()
        except asyncio.CancelledError:
            if not self._context.stopping:
                raise
        finally:
            self.running = None
            self._idle_since = self._context.clock.monotonic()
        if self.asked_again and not self._context.stopping:
            self.asked_again = False
            self._context.wake(self.job.name, self.job.account)

    async def _run(self) -> None:
        context, job = self._context, self.job
        labels = {"job": job.name, "account": job.account}
        began = context.clock.monotonic()
        outcome, report = "failed", None
        try:
            async with asyncio.timeout(job.deadline):
                report = await job.run()
            outcome = "ok" if report.ok else "failed"
        except TimeoutError:
            outcome = "timeout"
            self.last_sentence = f"gave up after its deadline of {job.deadline:.0f} s"
            log.error("job.timeout", detail=self.last_sentence)
        except (ProviderError, StoreError) as error:
            self.last_sentence = str(error)
            log.warning("job.failed", reason=type(error).__name__, detail=str(error))
        except Exception as error:
            self.last_sentence = f"{type(error).__name__}: {error}"
            log.exception("job.crashed", detail="this is a fault of shopperd: please report it with this line")
        took = context.clock.monotonic() - began
        context.metrics.job_runs_total.labels(**labels, outcome=outcome).inc()
        context.metrics.job_duration_seconds.labels(**labels).observe(took)
        self.last_ok = outcome == "ok"
        if report is None:
            return
        self._finish(report, took)

    def _finish(self, report: Report, took: float) -> None:
        context, job = self._context, self.job
        self.last_sentence = report.sentence
        if report.ok:
            context.metrics.job_last_success_timestamp_seconds.labels(job=job.name, account=job.account).set(
                # Prometheus compares it with its own clock.
                context.clock.wall().timestamp()
            )
        say = log.debug if report.idle else log.info
        say("job.ran", detail=report.sentence, took_seconds=round(took, 3), ok=report.ok)
        if report.again_in_seconds is not None:
            context.wake(job.name, job.account, in_seconds=report.again_in_seconds)

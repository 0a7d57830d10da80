"""The process around a daemon, in virtual time: when the watchdog is fed, and what a reload does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import define, evolve, field
from prometheus_client import CollectorRegistry

from shopperd.daemon import SILENCE_SECONDS_MAX, Daemon
from shopperd.jobs.context import Report
from shopperd.jobs.runner import Runner
from shopperd.process import LOOK_SECONDS, LOOKS_PER_WATCHDOG, Process
from shopperd.schedule import HUNG_INTERVALS, HUNG_SECONDS
from shopperd.settings import Settings
from shopperd.store import Store, StoreFull
from shopperd.systemd import Systemd
from shopperd.telemetry import Metrics
from tests.simulation.loop import VirtualClock, run


@define
class Manager(Systemd):
    """Notes what it is told, and when."""

    watchdog_seconds: float | None = 60.0
    words: list[tuple[float, str, str]] = field(factory=list)

    def _note(self, word: str, status: str = "") -> None:
        self.words.append((asyncio.get_running_loop().time(), word, status))

    def ready(self, status: str) -> None:
        self._note("ready", status)

    def reloading(self) -> None:
        self._note("reloading")

    def stopping(self, status: str, within_seconds: float) -> None:
        self._note("stopping", status)

    def alive(self, status: str) -> None:
        self._note("alive", status)

    def status(self, status: str) -> None:
        self._note("status", status)

    def fed(self) -> list[float]:
        return [at for at, word, _ in self.words if word == "alive"]


@define
class Stubborn:
    """A job with one run that takes no notice of its deadline."""

    name: str = "status"
    account: str = "main"
    interval: float = 20.0
    deadline: float = 60.0
    must_finish: bool = True
    gate: asyncio.Event = field(factory=asyncio.Event)

    async def run(self) -> Report:
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue
        return Report("ran")


def watched(body: Callable[[Process, Manager], Coroutine[None, None, None]], manager: Manager | None = None) -> Manager:
    """Run `body` beside the watch over a daemon that has no account, for as much virtual time as it takes."""
    told = manager or Manager()

    async def main() -> None:
        clock = VirtualClock(1)
        store = Store.open("sqlite://", clock=clock, inline=True)
        daemon = Daemon(Settings(), store, Metrics(CollectorRegistry()), clock, environ={})
        process = Process(daemon, told, None, {})
        tasks = [asyncio.create_task(daemon._beat()), asyncio.create_task(process._watch())]
        try:
            await body(process, told)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    run(main)
    return told


class TestWatchdog:
    def test_it_is_fed_well_within_its_time_while_everything_turns(self) -> None:
        async def body(_: Process, told: Manager) -> None:
            await asyncio.sleep(600)

        told = watched(body, Manager(watchdog_seconds=3.0))
        fed = told.fed()
        assert max(later - at for at, later in pairwise(fed)) <= 3.0 / LOOKS_PER_WATCHDOG + 0.01

    def test_without_one_the_status_is_kept_true_all_the_same(self) -> None:
        async def body(_: Process, told: Manager) -> None:
            await asyncio.sleep(60)

        told = watched(body, Manager(watchdog_seconds=None))
        assert len(told.words) == pytest.approx(60 / LOOK_SECONDS, abs=1)

    def test_it_is_not_fed_while_a_run_outlives_its_deadline(self) -> None:
        async def body(process: Process, told: Manager) -> None:
            job = Stubborn()
            runner = Runner(job, process.daemon.context)
            process.daemon.schedule._runners["status:main"] = runner
            run = asyncio.create_task(runner.fire())
            await asyncio.sleep(job.deadline + HUNG_SECONDS + 100)
            assert told.fed()[-1] <= job.deadline + HUNG_SECONDS + 1
            assert "Hangs: job status of main has been in one run for" in told.words[-1][2]
            job.gate.set()
            await run
            await asyncio.sleep(LOOK_SECONDS)
            assert told.words[-1][1] == "alive"

        watched(body)

    def test_it_is_not_fed_while_a_job_does_not_run_at_all(self) -> None:
        async def body(process: Process, told: Manager) -> None:
            job = Stubborn()
            process.daemon.schedule._runners["status:main"] = Runner(job, process.daemon.context)
            process.daemon.schedule.wake = lambda *_, **__: None  # type: ignore[method-assign] # a scheduler that is dead
            await asyncio.sleep(HUNG_INTERVALS * job.interval + HUNG_SECONDS + 100)
            assert told.fed()[-1] <= HUNG_INTERVALS * job.interval + HUNG_SECONDS + 1
            assert "Hangs: job status of main has not run for" in told.words[-1][2]

        watched(body)

    def test_it_is_not_fed_while_the_heartbeat_hangs(self) -> None:
        async def body(process: Process, told: Manager) -> None:
            await asyncio.sleep(30)

            async def never(*_: object, **__: object) -> None:
                await asyncio.Event().wait()

            process.daemon.context.store.run = never  # type: ignore[method-assign, assignment]
            await asyncio.sleep(SILENCE_SECONDS_MAX + 100)
            assert told.fed()[-1] <= 30 + SILENCE_SECONDS_MAX + 2 * LOOK_SECONDS
            assert "Hangs: the heartbeat has been silent" in told.words[-1][2]

        watched(body)

    def test_it_is_fed_during_a_drain_though_no_job_begins_any_more(self) -> None:
        async def body(process: Process, told: Manager) -> None:
            process.daemon.schedule._runners["status:main"] = Runner(Stubborn(), process.daemon.context)
            process.daemon.schedule.wake = lambda *_, **__: None  # type: ignore[method-assign]
            process.daemon.context.stopping = True
            await asyncio.sleep(1000)
            assert told.fed()[-1] >= 1000 - LOOK_SECONDS

        watched(body)


class TestReload:
    def process(self, config: Path) -> tuple[Process, Manager]:
        clock = VirtualClock(1)
        store = Store.open("sqlite://", clock=clock, inline=True)
        daemon = Daemon(Settings(), store, Metrics(CollectorRegistry()), clock, environ={})
        told = Manager()
        return Process(daemon, told, config, {}), told

    def test_one_that_is_asked_for_before_it_serves_waits(self, tmp_path: Path) -> None:
        async def main() -> None:
            process, told = self.process(tmp_path / "nowhere.toml")
            process.reload()
            assert told.words == []

        run(main)

    def test_a_problem_of_the_store_stands_in_the_sentence_and_is_told_by_no_notice_again(self, tmp_path: Path) -> None:
        async def main() -> None:
            daemon = self.process(tmp_path / "config.toml")[0].daemon
            daemon.context.store.problem = StoreFull("the store", "no room left")
            assert "does not act: " in daemon.sentence()
            assert "no room left" in daemon.sentence()
            assert daemon.notices() == []

        run(main)

    def test_a_bad_file_is_refused_and_stands_in_the_status_until_a_good_one_comes(self, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        config.write_text("[orphans]\ngrace = -1\n")

        async def main() -> None:
            process, told = self.process(config)
            process._serves = True
            before = process.daemon.context.settings
            process.reload()
            assert process.daemon.context.settings is before
            assert [word for _, word, _ in told.words] == ["reloading", "ready"]
            assert "the last reload was refused" in told.words[-1][2]
            (notice,) = process.daemon.notices()
            assert "the last reload was refused" in notice
            config.write_text("[orphans]\ngrace = 1\n")
            process.reload()
            assert process.daemon.context.settings == evolve(
                before, orphans=evolve(before.orphans, grace=1.0), source=config
            )
            assert "refused" not in told.words[-1][2]
            assert process.daemon.notices() == []

        run(main)

"""One process: the daemon itself, with virtual timers for APScheduler's and without the web."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NoReturn, Protocol, cast

from attrs import define
from prometheus_client import CollectorRegistry

from shopperd.clock import SystemClock
from shopperd.daemon import Daemon
from shopperd.jobs.runner import Runner
from shopperd.schedule import JITTER_SHARE, Schedule
from shopperd.secrets import Secret
from shopperd.settings import Settings
from shopperd.simulator import World
from shopperd.store import Binding, Store, StoreError
from shopperd.telemetry import Metrics
from tests.simulation.ledger import Run, Sent
from tests.simulation.shapes import ENVIRON
from tests.simulation.stores import MortalStore
from tests.simulation.wire import InProcessSender


class Home(Protocol):
    """What a process finds around it."""

    seed: int
    settings: Settings
    world: World
    store: Store
    place: Binding
    created: bool
    cut_at: int | None
    busy_until: float

    @property
    def runs(self) -> list[Run]:
        """Where the runs of jobs are noted down."""

    def epoch(self) -> float:
        """The true time, epoch seconds."""

    def wall(self) -> float:
        """What the machine's clock says, epoch seconds."""

    def crossed(self, kind: str) -> int:
        """Count a boundary; how many there were."""

    def transacted(self, life: Life, name: str, result: object) -> None:
        """Note what a transaction of a process that matters to the ledger came to."""

    def beaten(self, beat: datetime) -> None:
        """Note the newest heartbeat beside the store."""

    def stopping(self, life: Life) -> None:
        """Note that a process was asked to stop."""

    def note(self, sent: Sent) -> None:
        """Take a request into the ledger."""

    def slowed(self, life: Life, seconds: float) -> None:
        """Note that a transaction waits so long from now on."""

    def fault(self, text: str) -> None:
        """Note a failure of the pretend world."""

    def spilled(self, where: str) -> None:
        """Note a credential where it must not be."""


@define(eq=False)
class _Entry:
    runner: Runner
    due: float
    timer: asyncio.TimerHandle | None = None


class VirtualSchedule(Schedule):
    """As the true one, on the virtual loop's timers."""

    def __init__(self, rng: random.Random, life: Life) -> None:
        self._rng = rng
        self._life = life
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._loop = asyncio.get_running_loop()
        self._over = False

    @property
    def runners(self) -> Iterable[Runner]:
        return tuple(entry.runner for entry in self._entries.values())

    def add(self, runner: Runner, *, first_in_seconds: float = 0.0) -> None:
        jitter = self._rng.uniform(0.0, min(1.0, runner.job.interval * JITTER_SHARE))
        entry = _Entry(runner, 0.0)
        self._entries[runner.job.name, runner.job.account] = entry
        self._plan(entry, self._loop.time() + first_in_seconds + jitter)

    def wake(self, job: str, account: str, *, in_seconds: float = 0.0) -> None:
        entry = self._entries.get((job, account))
        if entry is None or self._over:
            return
        if entry.runner.running is not None and in_seconds <= 0:
            entry.runner.asked_again = True
            return
        due = self._loop.time() + max(0.0, in_seconds)
        if entry.due > due:
            self._plan(entry, due)

    def catch_up(self) -> list[Runner]:
        """These timers forget nobody."""
        return []

    def start(self) -> None:
        """They run from the start."""

    def end(self) -> None:
        """Have nobody run any more."""
        self._over = True
        for entry in self._entries.values():
            if entry.timer is not None:
                entry.timer.cancel()

    async def drain(self, seconds: float, in_flight: Collection[asyncio.Task[None]] = ()) -> bool:
        self.end()
        running = set(in_flight)
        for entry in self._entries.values():
            task = entry.runner.running
            if task is not None and entry.runner.job.must_finish:
                running.add(task)
            elif task is not None:
                task.cancel()
        left: set[asyncio.Task[None]] = set()
        if running:
            _, left = await asyncio.wait(running, timeout=seconds)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5.0)
        return not left

    def _plan(self, entry: _Entry, due: float) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        entry.due = due
        entry.timer = self._loop.call_at(due, self._fire, entry)

    def _fire(self, entry: _Entry) -> None:
        interval = entry.runner.job.interval
        spread = interval * JITTER_SHARE
        self._plan(entry, self._loop.time() + interval + self._rng.uniform(-spread, spread))
        self._loop.create_task(self._run(entry.runner))

    async def _run(self, runner: Runner) -> None:
        if runner.running is not None:
            await runner.fire()
            return
        job, home = runner.job, self._life.home
        run = Run(self._life.number, job.name, job.account, job.interval, job.deadline, home.epoch())
        home.runs.append(run)
        await runner.fire()
        run.ended = home.epoch()


class _Ear:
    """Stands for one histogram, and hears how long each request has waited."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def labels(self, **_labels: str) -> _Ear:
        return self

    def observe(self, seconds: float) -> None:
        self.seconds = seconds


class HeardMetrics(Metrics):
    """The metrics, with an ear at the one that tells of a request's wait right before it is sent."""

    def __init__(self) -> None:
        super().__init__(CollectorRegistry())
        self.ear = _Ear()
        self.ratelimit_wait_seconds = cast(Any, self.ear)

    def initialise(self, *_args: Any, **_more: Any) -> None:
        """Zeros for what has not happened cost more than all the rest of a start, and are not looked at here."""


class Process(Daemon):
    """The daemon, without the web."""

    def __init__(self, life: Life, metrics: HeardMetrics) -> None:
        super().__init__(
            life.home.settings,
            cast(Store, life.store),
            metrics,
            life.clock,
            environ=ENVIRON,
            sender=InProcessSender(life, lambda: metrics.ear.seconds),
        )
        self.schedule: VirtualSchedule = life.schedule
        self.context.wake = life.schedule.wake
        self.serving = False

    async def _serve(self, _token: Secret | None) -> None:
        self.serving = True


class Life:
    """One process, from its start to its cut or its clean end.

    Attributes:
        dead: it is cut, or has ended.
        over: nothing of it goes on, not even waiting.
    """

    def __init__(self, home: Home, number: int) -> None:
        self.home = home
        self.number = number
        self.dead = asyncio.Event()
        self.over = False
        self.cut_at: int | None = None
        self.clock = SystemClock(0, wall=home.wall, awake=asyncio.get_running_loop().time)
        self.clock.random = random.Random(f"{home.seed}/{number}")
        self._rng = random.Random(f"{home.seed}/{number}/order")
        self.store = MortalStore(home.store, home.place, self, self._rng, created=home.created)
        self.schedule = VirtualSchedule(self._rng, self)
        self.metrics = HeardMetrics()
        self.process = Process(self, self.metrics)
        self.context = self.process.context
        self.control = self.process.control

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self.process.serving and not self.dead.is_set()

    async def run(self) -> None:
        """From the start to the end, as the program's own."""
        try:
            await self.process.start()
            await self.process.wait()
        except StoreError:
            pass  # it tells why, and ends
        finally:
            if not self.dead.is_set():
                self.home.stopping(self)
                await self.process.stop()
        self.dead.set()

    async def boundary(self, kind: str) -> None:
        """Whoever comes here after the cut, or is cut here, goes no further."""
        if not self.dead.is_set():
            crossed = self.home.crossed(kind)
            if (self.cut_at is None or crossed < self.cut_at) and crossed != self.home.cut_at:
                return
            self.dead.set()
        await self._nowhere()

    async def _nowhere(self) -> NoReturn:
        if self.over:
            raise asyncio.CancelledError
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody wakes the dead")

    # --- for the store and the wire ----------------------------------------------------------------------------

    def is_busy(self) -> bool:
        """Whether the disk is busy, so that every transaction waits."""
        return self.home.epoch() < self.home.busy_until

    def slowed(self, seconds: float) -> None:
        """Note that a transaction waits so long from now on."""
        self.home.slowed(self, seconds)

    def transacted(self, name: str, result: object) -> None:
        """Note what a transaction came to."""
        self.home.transacted(self, name, result)

    def beaten(self, beat: datetime) -> None:
        """Note the newest heartbeat beside the store."""
        self.home.beaten(beat)

    @property
    def world(self) -> World:
        """Where requests arrive."""
        return self.home.world

    def epoch(self) -> float:
        """The true time, epoch seconds."""
        return self.home.epoch()

    def ahead(self) -> float:
        """By how many seconds this process's clock is ahead of that."""
        return self.clock.now().timestamp() - self.home.epoch()

    def latency(self) -> float:
        """Seconds of one way."""
        return self._rng.uniform(0.005, 0.25)

    def note(self, sent: Sent) -> None:
        """Take a request into the ledger."""
        self.home.note(sent)

    def fault(self, text: str) -> None:
        """Note a failure of the pretend world."""
        self.home.fault(text)

    def spilled(self, where: str) -> None:
        """Note a credential where it must not be."""
        self.home.spilled(where)

"""The whole daemon in virtual time: its jobs, store, limiter and adapters, everything but APScheduler and the web.

A `House` lasts; a `Life` is one process in it. A crash cuts a life at a boundary: from that moment nothing of it reaches
the store or the marketplaces, and the next life starts on what the store kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import structlog
from attrs import define, evolve
from prometheus_client import CollectorRegistry
from structlog.typing import EventDict, WrappedLogger

from shopperd.control import Control
from shopperd.daemon import beat_seconds, gap_seconds, jobs_of, take_up
from shopperd.jobs.context import AccountAtWork, Context
from shopperd.jobs.housekeeping import HousekeepingJob
from shopperd.jobs.knowledge import FROZEN_KEY
from shopperd.jobs.runner import Runner
from shopperd.model import Session
from shopperd.providers.registry import open_provider
from shopperd.schedule import JITTER_SHARE, SWEEP_LATER_SHARE
from shopperd.secrets import read_all
from shopperd.settings import (
    AccountSettings,
    DestroySettings,
    JobSettings,
    JobsSettings,
    OrphanSettings,
    SecretSource,
    SessionSettings,
    Settings,
)
from shopperd.simulator import World, WorldSettings
from shopperd.store import Binding, Store, StoreError, memory, meta, sessions
from shopperd.telemetry import Metrics
from tests.simulation.ledger import Asked, Ledger, Machine, Sent, claim_of, machines_of
from tests.simulation.loop import START, VirtualClock, VirtualLoop
from tests.simulation.wire import InProcessSender

ENVIRON = {"VAST": "a-good-vast-key", "DOCK": "a-good-dock-token", "DOCK_ID": "a-good-dock-id"}
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA test"
PLACE = Binding("host", "store", "1", continuous=True)
SLOW_STORE_SHARE = 0.01
SLOW_STORE_SECONDS = 3.0

T = TypeVar("T")


class CutError(Exception):
    """The process that was asked is gone; whether it did what was asked is open."""


def vast(**more: Any) -> AccountSettings:
    return AccountSettings(
        "vast", "vastai", secrets={"api_key": SecretSource(env="VAST")}, request_timeout=30.0, **more
    )


def dock(api: str, **more: Any) -> AccountSettings:
    secrets = {"api_token": SecretSource(env="DOCK"), "auth_id": SecretSource(env="DOCK_ID")}
    return AccountSettings(f"dock-{api}", "tensordock", api=api, secrets=secrets, request_timeout=30.0, **more)


def quick_settings(*accounts: AccountSettings, **more: Any) -> Settings:
    values: dict[str, Any] = {
        "accounts": {account.name: account for account in accounts},
        "jobs": JobsSettings(offers=JobSettings(240.0), status=JobSettings(20.0), sweep=JobSettings(60.0)),
        "orphans": OrphanSettings(grace=120.0, max_share_per_hour=1.0),
        "destroys": DestroySettings(retry_min=5.0, retry_max=60.0),
        "sessions": SessionSettings(create_deadline=180.0),
    }
    return Settings(**(values | more))


def quick_world(seed: int, **more: Any) -> WorldSettings:
    values: dict[str, Any] = {"seed": seed, "offers": 24, "nodes": 5}
    return WorldSettings(**(values | more))


class MortalStore:
    """The store as one life sees it: transactions take their turn, and a dead process starts none."""

    def __init__(self, store: Store, life: Life, rng: random.Random) -> None:
        self._store = store
        self._life = life
        self._rng = rng
        self.location = store.location
        self.binding = PLACE

    @property
    def problem(self) -> StoreError | None:
        return self._store.problem

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        await self._wait()
        name = getattr(function, "__name__", "")
        await self._life.boundary(f"transaction {name}")
        result = await self._store.run(function, *args, **kwargs)
        await self._life.boundary(f"commit {name}" if self._store.wrote else f"read {name}")
        await self._wait()
        return result

    async def check(self) -> None:
        await self._life.boundary("transaction check")
        await self._store.check()

    async def _wait(self) -> None:
        """The store has a thread of its own, so others run meanwhile; now and then its disk is busy."""
        if self._rng.random() < SLOW_STORE_SHARE:
            await asyncio.sleep(self._rng.uniform(0.0, SLOW_STORE_SECONDS))
        else:
            for _ in range(self._rng.randrange(3)):
                await asyncio.sleep(0)


@define(eq=False)
class _Entry:
    runner: Runner
    due: float
    timer: asyncio.TimerHandle | None = None


class VirtualSchedule:
    """As `shopperd.schedule.Schedule`, on the virtual loop's timers."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._loop = asyncio.get_running_loop()
        self._over = False

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

    def end(self) -> None:
        self._over = True
        for entry in self._entries.values():
            if entry.timer is not None:
                entry.timer.cancel()

    def _plan(self, entry: _Entry, due: float) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        entry.due = due
        entry.timer = self._loop.call_at(due, self._fire, entry)

    def _fire(self, entry: _Entry) -> None:
        interval = entry.runner.job.interval
        spread = interval * JITTER_SHARE
        self._plan(entry, self._loop.time() + interval + self._rng.uniform(-spread, spread))
        self._loop.create_task(entry.runner.fire())


class Life:
    """One process, from its start to its cut."""

    def __init__(self, house: House, number: int) -> None:
        self.house = house
        self.number = number
        self.dead = asyncio.Event()
        self.clock = VirtualClock(f"{house.seed}/{number}")
        self.cut_at: int | None = None
        rng = random.Random(f"{house.seed}/{number}/order")
        self._rng = rng
        self.store = MortalStore(house.store, self, rng)
        self.schedule = VirtualSchedule(rng)
        self.context = Context(
            settings=house.settings,
            clock=self.clock,
            store=self.store,  # type: ignore[arg-type]  # the part of the store that jobs and control use
            metrics=Metrics(CollectorRegistry()),
            accounts={},
            wake=self.schedule.wake,
        )
        self.control = Control(self.context)

    async def start(self) -> None:
        """As the daemon's own start, without the web."""
        context, settings = self.context, self.house.settings
        secrets = read_all(settings, ENVIRON)
        await self.store.run(take_up, PLACE, settings, self.clock.now(), created=self.number == 1)
        context.frozen = bool(await self.store.run(meta.get, FROZEN_KEY))
        for account in settings.accounts.values():
            sender = InProcessSender(
                self.house.world,
                account.provider,
                account.name,
                self.number,
                now=self.house.epoch,
                latency=lambda: self._rng.uniform(0.005, 0.25),
                boundary=self.boundary,
                note=self.house.note,
            )
            provider = open_provider(
                account,
                deployment=settings.deployment,
                secrets=secrets[account.name],
                clock=self.clock,
                metrics=context.metrics,
                sender=sender,
            )
            at = AccountAtWork(settings=account, provider=provider)
            context.accounts[account.name] = at
            for job in jobs_of(context, at):
                later = job.interval * SWEEP_LATER_SHARE if job.name == "sweep" else 0.0
                self.schedule.add(Runner(job, context), first_in_seconds=later)
        self.schedule.add(Runner(HousekeepingJob(context), context), first_in_seconds=60.0)
        await self._beat()

    async def boundary(self, kind: str) -> None:
        """Whoever comes here after the cut, or is cut here, goes no further."""
        if not self.dead.is_set():
            self.house.crossed(kind)
            if self.cut_at is None or self.house.boundaries < self.cut_at:
                return
            self.dead.set()
        await self._nowhere()

    async def _nowhere(self) -> NoReturn:
        if self.house.life is not self:
            raise asyncio.CancelledError
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody wakes the dead")

    async def _beat(self) -> None:
        while True:
            await self.clock.sleep(beat_seconds(self.context.settings))
            await self.store.run(memory.beat, self.clock.now(), gap_seconds(self.context.settings))


@define(eq=False)
class House:
    """What outlives a crash: the world, the store, what people asked for, and the ledger."""

    seed: int
    settings: Settings
    world: World
    store: Store
    ledger: Ledger
    boundaries: int = 0
    healing: bool = False
    life: Life | None = None
    lives: int = 0

    @classmethod
    def build(cls, seed: int, settings: Settings, world: WorldSettings) -> House:
        clock = VirtualClock(f"{seed}/store")
        store = Store.open("sqlite://", clock=clock, inline=True)
        ledger = Ledger(
            settings.deployment,
            {account.name: account.provider for account in settings.accounts.values()},
            frozenset(account.name for account in settings.accounts.values() if account.exclusive),
        )
        return cls(seed, settings, World.build(world, now=START.timestamp()), store, ledger)

    def epoch(self) -> float:
        """The moment, epoch seconds."""
        return START.timestamp() + asyncio.get_running_loop().time()

    def crossed(self, kind: str) -> None:
        self.boundaries += 1
        if not self.healing:
            self.ledger.crossings.append(kind)

    def note(self, sent: Sent) -> None:
        """Take a request into the ledger; to a destroy add what shopperd tells of the machine's session now."""
        if sent.operation == "destroy" and sent.existed:
            machine = Machine(
                self.ledger.providers[sent.account],
                sent.instance or "",
                sent.machine_tag,
                sent.machine_created_at,
                None,
            )
            claim = claim_of(self.ledger.rented(), self.ledger.deployment, machine)
            told = self.told(claim) if claim is not None else None
            if told is not None:
                sent = _with_told(sent, told)
        self.ledger.sent.append(sent)

    def told(self, session_id: UUID) -> Session | None:
        """What shopperd tells of a session now."""
        return self.store.run_sync(sessions.get, session_id)

    # --- lives ----------------------------------------------------------------------------------------------

    async def begin(self, *, cut_in: int | None = None) -> None:
        """Start a process; with `cut_in` it is cut at that many boundaries from now, which may be in its start."""
        self.lives += 1
        self.life = Life(self, self.lives)
        self.ledger.memory.append((self.epoch(), float("inf")))
        self.cut(cut_in)
        _loop().begin(self.lives, self.life.start())
        await asyncio.sleep(0)

    def cut(self, boundaries: int | None) -> None:
        """Have the process cut at that many boundaries from now."""
        assert self.life is not None
        self.life.cut_at = None if boundaries is None else self.boundaries + max(1, boundaries)

    def kill(self) -> None:
        """Cut it now, wherever it is, and clear away what is left of it."""
        life = self.life
        if life is None:
            return
        life.dead.set()
        life.schedule.end()
        start, _ = self.ledger.memory[-1]
        self.ledger.memory[-1] = (start, self.epoch())
        self.life = None
        for task, owner in list(_loop().born.items()):
            if owner == life.number:
                task.cancel()

    async def ask(self, what: Callable[[Life], Coroutine[Any, Any, T]]) -> T:
        """Ask the running process something, as a person does.

        Raises:
            CutError: there is no process, or it died before it answered.
        """
        life = self.life
        if life is None or life.dead.is_set():
            raise CutError
        asked = _loop().begin(life.number, what(life))
        died = _loop().create_task(life.dead.wait())
        await asyncio.wait((asked, died), return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if asked.done() and not asked.cancelled():
            return asked.result()
        asked.cancel()
        raise CutError

    def take_stock(self) -> None:
        """Take what is there now, and what shopperd tells of it, into the ledger."""
        self.world.advance_to(self.epoch())
        self.ledger.ended_at = self.epoch()
        self.ledger.machines = machines_of(self.world.state())
        self.ledger.faults_fired = dict(self.world.faults.fired)
        for asked in self.ledger.asked:
            told = self.told(asked.session_id) if asked.session_id is not None else None
            if told is not None:
                asked.told_state, asked.told_instance = told.state.value, told.instance_id

    def close(self) -> None:
        """Take the end of the run into the ledger, and end it."""
        self.take_stock()
        self.kill()
        self.store.close_sync()


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def _with_told(sent: Sent, told: Session) -> Sent:
    return evolve(sent, told_state=told.state.value, told_instance=told.instance_id)


@contextlib.contextmanager
def silenced(crashes: list[str]) -> Iterator[None]:
    """Keep the log quiet, and note what shopperd calls its own fault."""

    def hear(_logger: WrappedLogger, _name: str, line: EventDict) -> Mapping[str, Any]:
        if str(line.get("event", "")).endswith(".crashed"):
            error = sys.exc_info()[1]
            crashes.append(f"{line['event']}: {type(error).__name__}: {error}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[hear], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)


def asked_of(session: Session, key: str, asked_at: float) -> Asked:
    """The record of a session that was taken up."""
    deadline = session.expires_at.timestamp() if session.expires_at is not None else None
    return Asked(key, session.account, asked_at, session.id, [(asked_at, deadline)])

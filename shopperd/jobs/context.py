"""What every job is made from: the settings in force, clock, store, metrics, and the accounts at work."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Set
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog
from attrs import define, field

from shopperd.clock import Clock
from shopperd.model import Offer, SessionState
from shopperd.offer_index import OfferIndex
from shopperd.providers.contract import Provider
from shopperd.providers.limiter import Limiter
from shopperd.reconcile import Authority, Plan
from shopperd.settings import AccountSettings, Settings
from shopperd.store import Spool, Store
from shopperd.telemetry import Metrics

log: structlog.stdlib.BoundLogger = structlog.get_logger("shopperd")


@define
class Market:
    """The newest good list of an account's offers. A failed refresh leaves it as it is, marked stale."""

    index: OfferIndex = field(factory=OfferIndex)
    refreshed_at: datetime | None = None
    stale: bool = True
    partial: bool = False


@define
class AccountAtWork:
    """One account while the daemon runs: its adapter and its newest facts. What must survive is in the store.

    Attributes:
        limiter: what its calls wait for; None for a plug-in that does not tell.
        listing: held while a listing is read and recorded, so that snapshots of one account never overlap.
        problem: why the newest listing gave no complete snapshot, in one of a bounded set of words; "" if it did.
        detail: the same for people.
        shown: the counts that the gauges tell now, by what is counted: those that stay as they are need not be set again.
        uncounted_usd: at most 0: what the counter of spent money has counted too much; `uncounted_leaked_usd`: that of leaked money.
        leaked_usd: what orphans have cost since the start of the process, as its counter tells it.
        uncounted_since: when the newest look began that was counted, if counting failed since.
        missed: until when those machines were counted that listings miss, by their id: if they come back, it goes on from there.
        unreadable_charges: what is wrong with those that cannot be read, as far as it was told.
        key: tells the credentials and the origin in force from all others, and nothing about them.
        recognised: the key that has shown this account; None as long as none has since the start.
    """

    settings: AccountSettings
    provider: Provider
    limiter: Limiter | None = None
    listing: asyncio.Lock = field(factory=asyncio.Lock)
    market: Market = field(factory=Market)
    last_complete_at: datetime | None = None
    problem: str = "no_snapshot_yet"
    detail: str = "no listing was read yet"
    plan: Plan | None = None
    instances: int = 0
    sessions: int = 0
    burn_per_hour: float = 0.0
    balance_usd: float | None = None
    billed_per_hour: float = 0.0
    uncounted_usd: float = 0.0
    uncounted_leaked_usd: float = 0.0
    leaked_usd: float = 0.0
    uncounted_since: datetime | None = None
    missed: Mapping[str, datetime] = field(factory=dict)
    unreadable_charges: Set[str] = frozenset()
    destroys_pending: int = 0
    destroys_stuck: int = 0
    shown: dict[str, object] = field(factory=dict)
    key: Callable[[], str] = field(default=str)
    recognised: str | None = None

    @property
    def name(self) -> str:
        """The account's name in the configuration."""
        return self.settings.name

    @property
    def provider_name(self) -> str:
        """The marketplace."""
        return self.settings.provider

    @property
    def balance_left_seconds(self) -> float | None:
        """How long the credit lasts at what is billed now; None where it is not told, infinite while nothing costs."""
        if self.balance_usd is None:
            return None
        return max(0.0, self.balance_usd) / self.billed_per_hour * 3600 if self.billed_per_hour > 0 else math.inf

    @property
    def labels(self) -> dict[str, str]:
        """The labels that nearly every metric carries."""
        return {"account": self.settings.name, "provider": self.settings.provider}


class Waker(Protocol):
    """Asks for a job to run soon."""

    def __call__(self, job: str, account: str, *, in_seconds: float = 0.0) -> None:
        """Run `job` for `account` at the latest in that many seconds; sooner if it is due anyway."""


class Changes:
    """Tells waiting requests that something in the store changed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next change."""
        await self._event.wait()


@define
class Context:
    """The deployment at work, shared by all jobs and requests.

    Attributes:
        spool: where an accepted create is kept while the store takes nothing; None if there is no such place.
        unrecorded: sessions whose machine is known to this process alone: neither the store nor the spool took its id.
        in_flight: requests that go on after the run that sent them; a stop waits for them.
        acts_until: by the monotonic clock, until when this process may act on a store that others can open too.
        frozen: the kill switch as last read from the store; the store is the truth.
        stopping: no new work is begun.
    """

    settings: Settings
    clock: Clock
    store: Store
    metrics: Metrics
    accounts: dict[str, AccountAtWork]
    wake: Waker
    changes: Changes = field(factory=Changes)
    gpus_shown: dict[str, set[str]] = field(factory=dict)
    spool: Spool | None = None
    unrecorded: set[UUID] = field(factory=set)
    in_flight: set[asyncio.Task[None]] = field(factory=set)
    acts_until: float = math.inf
    frozen: bool = False
    stopping: bool = False

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Have a request go on after the run that sends it, in the log context of that run."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.in_flight.add(task)
        task.add_done_callback(self.in_flight.discard)

    def count_move(self, account: AccountAtWork, was: SessionState | None, now_in: SessionState) -> None:
        """Count a session that went from one state to another."""
        if was is not None and was is not now_in:
            labels = (account.name, account.provider_name, was.value, now_in.value)
            self.metrics.session_transitions_total.labels(*labels).inc()

    def market_lost(self, account: AccountAtWork, offer: Offer) -> None:
        """Take an offer that was rented or is gone off the list, without waiting for the next refresh."""
        account.market.index = account.market.index.without(offer.provider_id)

    @property
    def no_right(self) -> str:
        """Why this process may not act now, "" if it may. Nothing is decided without what the store does not know yet."""
        if self.stopping:
            return "stopping"
        if self.store.problem is not None:
            return str(self.store.problem)
        if self.clock.monotonic() >= self.acts_until:
            return "another shopperd holds the store, or this one could not renew its right to act in time"
        waiting = len(self.spool.waiting) if self.spool is not None else 0
        if waiting or self.unrecorded:
            return f"the store has not taken {waiting + len(self.unrecorded)} accepted creates yet"
        return ""

    @property
    def halted(self) -> str:
        """As `no_right`, or that it is frozen: what came while the store took its time to say that a request may go."""
        return self.no_right or ("the deployment is frozen" if self.frozen else "")

    def authority(self, *, observing: int = 0) -> Authority:
        """Whether this process may act now."""
        return Authority(no_right=self.no_right, observing=observing, frozen=self.frozen)


@define
class Report:
    """How a run ended: one sentence on what was seen, done and held, and when to run again at the latest.

    Attributes:
        idle: there was nothing to do, of which the log tells at level debug alone.
    """

    sentence: str
    again_in_seconds: float | None = None
    ok: bool = True
    idle: bool = False


class Job(Protocol):
    """One kind of periodic work of one account.

    `interval` and `deadline` are seconds; a run that takes longer than its deadline is cancelled and counted.
    """

    @property
    def name(self) -> str:
        """The kind of job, the same for all accounts."""

    @property
    def account(self) -> str:
        """The account's name, "" for work that is not one account's."""

    @property
    def interval(self) -> float:
        """Seconds from run to run."""

    @property
    def deadline(self) -> float:
        """Seconds that one run may take."""

    @property
    def must_finish(self) -> bool:
        """Whether a stop waits for its run: it may have asked a provider to change something."""

    async def run(self) -> Report:
        """One run. Any exception is a failed run: counted, logged, and tried again at the next."""

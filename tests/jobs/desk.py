"""One account's jobs at a desk: a real store in memory, a clock that jumps, and a marketplace that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from attrs import define, evolve, field

from shopperd.jobs.context import AccountAtWork, Context, Market
from shopperd.jobs.knowledge import record_snapshot, request_destroy
from shopperd.model import (
    CreateOutcome,
    DestroyJob,
    DestroyOrigin,
    Event,
    Instance,
    InstanceState,
    Offer,
    Ownership,
    Session,
    SessionState,
    Snapshot,
    Spec,
    tag_of,
)
from shopperd.offer_index import index_of
from shopperd.providers.contract import GATE, CreatedInstance, CreateRequest, InstanceNotFound, ProviderError
from shopperd.settings import AccountSettings, DestroySettings, Settings
from shopperd.store import Spool, Store, StoreError, StoreFull, destroys, events, sessions
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock

ACCOUNT = "main"
EVERYTHING = "everything"

T = TypeVar("T")


class WilfulStore:
    """A store that takes no transaction that is named in `refuses`, or none at all.

    Attributes:
        meanwhile: by a transaction, what happens before its answer is there.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.refuses: set[str] = set()
        self.breaks: set[str] = set()
        self.meanwhile: dict[str, Callable[[], None]] = {}
        self.problem: StoreError | None = None
        self.location = store.location

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        name = function.__name__
        if self.refuses & {name, EVERYTHING}:
            self.problem = StoreFull(self.location, "no room left")
            raise self.problem
        if name in self.breaks:
            raise ValueError(f"{name} is broken")
        result = await self.store.run(function, *args, **kwargs)
        self.problem = None
        if name in self.meanwhile:
            self.meanwhile[name]()
        return result


@define
class Marketplace:
    """Rents and destroys at once, except what it is told otherwise. Every request is noted with its moment.

    Attributes:
        stubborn: machines that a destroy does nothing to.
        hidden: machines that a single read tells nothing of.
        turns: creates, by their tag, that wait for their turn until it comes.
        waiting: the tags of those that wait, or have waited.
    """

    clock: FakeClock
    machines: dict[str, Instance] = field(factory=dict)
    stubborn: set[str] = field(factory=set)
    hidden: set[str] = field(factory=set)
    asked: list[tuple[str, float]] = field(factory=list)
    looks: list[tuple[str, float]] = field(factory=list)
    creates: list[str] = field(factory=list)
    answer: ProviderError | None = None
    turns: dict[str, asyncio.Event] = field(factory=dict)
    waiting: list[str] = field(factory=list)
    before_answer: Callable[[], object] = lambda: None
    on_destroy: Callable[[str], object] = lambda _: None
    name: str = "vastai"

    async def create_instance(self, request: CreateRequest) -> CreatedInstance:
        if request.tag in self.turns:
            self.waiting.append(request.tag)
            await self.turns[request.tag].wait()
        if (gate := GATE.get()) is not None:
            await gate()
        id_ = str(900 + len(self.creates))
        self.creates.append(request.tag)
        self.machines[id_] = machine(id_, request.tag, started_at=self.clock.now())
        self.before_answer()
        return CreatedInstance(id_, 0.42)

    async def destroy_instance(self, id: str) -> None:
        if (gate := GATE.get()) is not None:
            await gate()
        self.asked.append((id, self.clock.monotonic()))
        self.on_destroy(id)
        if self.answer is not None:
            raise self.answer
        if id not in self.stubborn:
            self.machines.pop(id, None)

    async def list_all_instances(self) -> Snapshot:
        now = self.clock.now()
        return Snapshot(ACCOUNT, "vastai", tuple(self.machines.values()), now, now, complete=True)

    async def get_instance_status(self, id: str) -> Instance:
        self.looks.append((id, self.clock.monotonic()))
        if id in self.hidden:
            raise ProviderError("nobody can say")
        if id not in self.machines:
            raise InstanceNotFound(f"there is no {id}")
        return self.machines[id]

    def asked_for(self, id_: str) -> list[float]:
        """The moments at which a machine's destroy was asked for."""
        return [at for asked, at in self.asked if asked == id_]


def machine(id_: str, tag: str | None = None, **changes: Any) -> Instance:
    session_id = None if tag is None else UUID(tag[-36:])
    values: dict[str, Any] = {
        "account": ACCOUNT,
        "provider": "vastai",
        "id": id_,
        "tag": tag,
        "session_id": session_id,
        "ownership": Ownership.OURS if tag else Ownership.FOREIGN,
        "state": InstanceState.RUNNING,
        "price_per_hour": 0.5,
        "gpu": "RTX 4090",
    }
    return Instance(**(values | changes))


@define
class Desk:
    """Everything that a job of one account needs."""

    context: Context
    store: Store
    wilful: WilfulStore
    clock: FakeClock
    market: Marketplace
    woken: list[tuple[str, str]]

    @property
    def at(self) -> AccountAtWork:
        return self.context.accounts[ACCOUNT]

    def restock(self) -> None:
        """Put the one offer on the market, again if it was rented."""
        market = (offer(),)
        self.at.market = Market(index_of(market), self.clock.now(), stale=False)

    def change(self, **rules: Any) -> None:
        """Put other rules for destroys in force."""
        settings = self.context.settings
        self.context.settings = evolve(settings, destroys=evolve(settings.destroys, **rules))

    def session(self, number: int, state: SessionState = SessionState.CREATING, **changes: Any) -> Session:
        """Write a session."""
        id_ = UUID(int=number, version=4)
        values: dict[str, Any] = {
            "id": id_,
            "account": ACCOUNT,
            "provider": "vastai",
            "state": state,
            "tag": tag_of(id_),
            "created_at": self.clock.now(),
            "spec": Spec(offer_id="vastai-1"),
            "offer_id": "vastai-1",
            "create_deadline_at": self.clock.now() + timedelta(seconds=600),
        }
        session = Session(**(values | changes))
        self.store.run_sync(sessions.insert, session)
        return session

    def told(self, session: Session) -> Session:
        """A session as it is now."""
        found = self.store.run_sync(sessions.get, session.id)
        assert found is not None
        return found

    def over(self, number: int, **changes: Any) -> DestroyJob:
        """A machine whose session is over, and the destroy that is recorded for it."""
        id_ = str(number)
        session = self.session(
            number,
            SessionState.ENDED,
            instance_id=id_,
            ended_at=self.clock.now(),
            create_outcome=CreateOutcome.ACCEPTED,
        )
        self.market.machines[id_] = machine(id_, session.tag)
        return self.ask(id_, **changes)

    def ask(self, id_: str, **changes: Any) -> DestroyJob:
        """Record a destroy, by command unless it is told otherwise."""
        now = self.clock.now()
        claim = self.market.machines[id_]
        values: dict[str, Any] = {
            "id": 0,
            "account": ACCOUNT,
            "instance_id": id_,
            "origin": DestroyOrigin.COMMAND,
            "reason": "it was asked for",
            "requested_at": now,
            "next_attempt_at": now,
            "session_id": claim.session_id,
            "tag": claim.tag,
        }
        return self.store.run_sync(request_destroy, DestroyJob(**(values | changes)), now)

    def job(self, id_: str) -> DestroyJob:
        """The destroy of a machine as it is now."""
        found = self.store.run_sync(destroys.for_instance, ACCOUNT, id_)
        assert found is not None
        return found

    def look(self) -> None:
        """Read and record a complete listing."""
        now = self.clock.now()
        seen = Snapshot(ACCOUNT, "vastai", tuple(self.market.machines.values()), now, now, complete=True)
        self.store.run_sync(record_snapshot, self.at.settings, self.context.settings, seen, now)
        self.at.last_complete_at, self.at.problem = now, ""

    def trail(self, kind: str | None = None, instance: str | None = None) -> list[Event]:
        """The audit trail, or what of it is of one kind or about one machine."""
        found = self.store.run_sync(events.page, limit=100_000, instance=instance)
        return [event for event in found if kind in (None, event.kind)]

    def freezes_during(self, transaction: str) -> None:
        """Have the kill switch thrown after that transaction, and before its answer is there."""

        def freeze() -> None:
            self.context.frozen = True

        self.wilful.meanwhile[transaction] = freeze

    async def settle(self) -> None:
        """Wait for every request that was spawned."""
        while self.context.in_flight:
            await asyncio.wait(set(self.context.in_flight))


def offer(number: int = 1, **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": f"vastai-{number}",
        "provider": "vastai",
        "provider_id": str(number),
        "account": ACCOUNT,
        "gpu": "RTX 4090",
        "gpu_count": 1,
        "vram_gb": 24,
        "price_per_hour": 0.4,
    }
    return Offer(**(values | changes))


def make_desk(store: Store, clock: FakeClock, metrics: Metrics, spool: Spool | None = None) -> Desk:
    settings = AccountSettings(ACCOUNT, "vastai")
    market, woken = Marketplace(clock), list[tuple[str, str]]()
    at = AccountAtWork(settings=settings, provider=market)  # type: ignore[arg-type]  # what of an adapter the jobs use here
    wilful = WilfulStore(store)

    def wake(job: str, account: str, *, in_seconds: float = 0.0) -> None:
        woken.append((job, account))

    context = Context(
        settings=Settings(accounts={ACCOUNT: settings}, destroys=DestroySettings()),
        clock=clock,
        store=wilful,  # type: ignore[arg-type]  # what of a store the jobs use
        metrics=metrics,
        accounts={ACCOUNT: at},
        wake=wake,
        spool=spool,
    )
    metrics.initialise([(ACCOUNT, "vastai")])
    desk = Desk(context, store, wilful, clock, market, woken)
    desk.restock()
    return desk

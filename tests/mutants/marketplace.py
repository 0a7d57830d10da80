"""A provider that does as a test says, to run one job at a time in front of a real store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from attrs import define, evolve, field

from shopperd.control import Control
from shopperd.jobs.context import AccountAtWork, Context
from shopperd.jobs.sweep import observing_key
from shopperd.model import Instance, InstanceState, Offer, Ownership, Snapshot, session_of, tag_of
from shopperd.providers.contract import (
    GATE,
    CreatedInstance,
    CreateRequest,
    Feature,
    InstanceNotFound,
    OfferFilter,
    OfferList,
)
from shopperd.store import Store, memory, meta
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.web.deployment import Deployment, make_deployment

ACCOUNT = "main"


async def _nothing() -> None:
    """What happens on the way unless a test says otherwise."""


@define(eq=False)
class Marketplace:
    """One account of a pretend marketplace.

    Attributes:
        machines: what exists, by id.
        listing: what a listing ends with instead of the truth.
        complete: whether listings are.
        shows, destroys, creates: what a single read, a destroy or a create ends with instead of the truth, until it is
            taken out again.
        on_list, on_show, on_create, on_turn: what happens while a listing, a single read or a create is under way, and
            while a destroy or a create waits for its turn.
        sent: the requests that were truly sent, as ``(operation, id or tag)``.
    """

    clock: FakeClock
    name: str = "vastai"
    machines: dict[str, Instance] = field(factory=dict)
    listing: Exception | None = None
    complete: bool = True
    shows: Exception | Instance | None = None
    destroys: Exception | None = None
    creates: Exception | None = None
    on_list: Callable[[], Awaitable[object]] = _nothing
    on_show: Callable[[], Awaitable[object]] = _nothing
    on_create: Callable[[], Awaitable[object]] = _nothing
    on_turn: Callable[[], Awaitable[object]] = _nothing
    sent: list[tuple[str, str]] = field(factory=list)

    def add(self, id_: str, owner: UUID | None = None, **more: Any) -> Instance:
        """A machine that runs under the tag of that session."""
        tag = None if owner is None else tag_of(owner)
        values: dict[str, Any] = {
            "account": ACCOUNT,
            "provider": self.name,
            "id": id_,
            "tag": tag,
            "session_id": session_of(tag),
            "ownership": Ownership.FOREIGN if owner is None else Ownership.OURS,
            "state": InstanceState.RUNNING,
            "gpu": "RTX 4090",
            "price_per_hour": 0.5,
            "started_at": self.clock.now(),
        }
        self.machines[id_] = Instance(**(values | more))
        return self.machines[id_]

    def asked(self, operation: str) -> list[str]:
        """Which machines or tags that was asked for, in order."""
        return [what for kind, what in self.sent if kind == operation]

    async def list_offers(self, filter: OfferFilter) -> OfferList:
        """None: markets are put in place by the tests."""
        return OfferList(())

    async def list_all_instances(self) -> Snapshot:
        """What there is when it begins."""
        began, seen = self.clock.now(), tuple(self.machines.values())
        self.sent.append(("list", ""))
        await self.on_list()
        if self.listing is not None:
            raise self.listing
        return Snapshot(
            account=ACCOUNT,
            provider=self.name,
            instances=seen,
            started_at=began,
            ended_at=self.clock.now(),
            complete=self.complete,
            reason="" if self.complete else "page_failed",
        )

    async def get_instance_status(self, id: str) -> Instance:
        """The machine as it is."""
        self.sent.append(("show", id))
        await self.on_show()
        if isinstance(self.shows, Exception):
            raise self.shows
        found = self.shows or self.machines.get(id)
        if found is None:
            raise InstanceNotFound("no such machine")
        return found

    async def create_instance(self, request: CreateRequest) -> CreatedInstance:
        """A machine with the next number, starting."""
        await self._turn()
        self.sent.append(("create", request.tag))
        await self.on_create()
        if self.creates is not None:
            raise self.creates
        id_ = str(1000 + len(self.machines))
        self.add(id_, session_of(request.tag), state=InstanceState.STARTING)
        return CreatedInstance(id_)

    async def destroy_instance(self, id: str) -> None:
        """Takes the machine away, unless told otherwise."""
        await self._turn()
        self.sent.append(("destroy", id))
        if self.destroys is not None:
            raise self.destroys
        self.machines.pop(id, None)

    def supports_feature(self, feature: Feature) -> bool:
        """Nothing special."""
        return False

    async def close(self) -> None:
        """There is nothing to close."""

    async def _turn(self) -> None:
        """As the transport does: the gate is asked when the call's turn has come."""
        await self.on_turn()
        if (gate := GATE.get()) is not None:
            await gate()


@define(eq=False)
class Bench:
    """A deployment whose account is at a pretend marketplace, with nothing that runs by itself."""

    deployment: Deployment
    market: Marketplace

    @classmethod
    def build(cls, store: Store, clock: FakeClock, metrics: Metrics) -> Bench:
        """With a memory that has been awake for a day, and no sweep left that only looks."""
        deployment = make_deployment(store, clock, metrics)
        market = Marketplace(clock)
        deployment.context.accounts[ACCOUNT].provider = market
        store.run_sync(memory.wake, clock.now() - timedelta(days=1))
        store.run_sync(memory.beat, clock.now() + timedelta(days=1), 3 * 86400.0)
        store.run_sync(meta.put, observing_key(ACCOUNT), 0)
        return cls(deployment, market)

    @property
    def context(self) -> Context:
        """What jobs are made from."""
        return self.deployment.context

    @property
    def control(self) -> Control:
        """What people ask."""
        return self.deployment.control

    @property
    def at(self) -> AccountAtWork:
        """The account."""
        return self.context.accounts[ACCOUNT]

    @property
    def store(self) -> Store:
        """What survives."""
        return self.context.store

    @property
    def clock(self) -> FakeClock:
        """The time."""
        return self.deployment.clock

    def now(self) -> datetime:
        """The moment."""
        return self.clock.now()

    def rules(self, **changes: Any) -> None:
        """Put other rules for orphans in force."""
        self.deployment.change_settings(orphans=evolve(self.context.settings.orphans, **changes))

    def offer(self, number: int, **changes: Any) -> Offer:
        """An offer of the account."""
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

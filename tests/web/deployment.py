"""A deployment without providers: a real store, real control, jobs that only count."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from attrs import define, evolve, field

from shopperd.control import Control
from shopperd.jobs.context import AccountAtWork, Context, Market, Report
from shopperd.jobs.knowledge import append
from shopperd.jobs.runner import Runner
from shopperd.model import (
    CreateOutcome,
    Event,
    Instance,
    InstanceState,
    Offer,
    OrphanKind,
    Ownership,
    Session,
    SessionState,
    Spec,
    Track,
    tag_of,
)
from shopperd.offer_index import index_of
from shopperd.providers.contract import CreateRequest
from shopperd.schedule import Schedule
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings, SecretSource, Settings
from shopperd.store import Store, instances, sessions
from shopperd.telemetry import Metrics
from shopperd.web import Health
from tests.clocks import FakeClock

TOKEN = "a-token-of-some-length"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class SilentProvider:
    """The web never asks a provider, so this one has nothing to say."""

    def __init__(self, name: str) -> None:
        self.name = name

    def check_create(self, request: CreateRequest) -> None:
        """Has nothing against any wish; this asks nobody."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the web asked a provider: {name}")


@define
class CountingJob:
    """A job that does nothing."""

    name: str
    account: str
    interval: float = 60.0
    deadline: float = 60.0

    async def run(self) -> Report:
        return Report("did nothing")


@define
class Deployment:
    """Everything behind the door, and short ways to put facts into it."""

    context: Context
    control: Control
    schedule: Schedule
    clock: FakeClock
    woken: list[tuple[str, str]]
    health: Health = field(factory=lambda: Health(alive=True))
    notices: list[str] = field(factory=list)

    @property
    def store(self) -> Store:
        return self.context.store

    def session(self, number: int, **changes: Any) -> Session:
        """Write a session."""
        id_ = UUID(int=number, version=4)
        values: dict[str, Any] = {
            "id": id_,
            "account": "main",
            "provider": "vastai",
            "state": SessionState.RUNNING,
            "tag": tag_of(id_),
            "created_at": self.clock.now(),
            "spec": Spec(),
            "create_outcome": CreateOutcome.ACCEPTED,
        }
        session = Session(**(values | changes))
        self.store.run_sync(sessions.insert, session)
        return session

    def track(self, id_: str, owner: UUID | None = None, **changes: Any) -> Track:
        """Write an instance; `owner`: the session that its tag names."""
        machine: dict[str, Any] = {
            "account": "main",
            "provider": "vastai",
            "id": id_,
            "tag": None if owner is None else tag_of(owner),
            "session_id": owner,
            "ownership": Ownership.FOREIGN if owner is None else Ownership.OURS,
            "state": InstanceState.RUNNING,
            "price_per_hour": 0.5,
        }
        machine |= {name: changes.pop(name) for name in list(changes) if name in Instance.__annotations__}
        values: dict[str, Any] = {"first_seen_at": self.clock.now(), "last_seen_at": self.clock.now(), "sightings": 1}
        track = Track(instance=Instance(**machine), **(values | changes))
        self.store.run_sync(instances.save, track.instance.account, [track])
        return track

    def orphan(self, id_: str, number: int, **changes: Any) -> Track:
        """Write an instance whose session is over."""
        session = self.session(number, state=SessionState.ENDED, instance_id=id_, ended_at=self.clock.now())
        return self.track(
            id_,
            session.id,
            kind=OrphanKind.ENDED,
            kind_sightings=changes.pop("kind_sightings", 3),
            orphan_since=self.clock.now(),
            **changes,
        )

    def event(self, kind: str, **more: Any) -> Event:
        """Write an event."""
        return self.store.run_sync(lambda conn: append(conn, self.clock.now(), kind, "it happened", **more))

    def offers(self, *offers: Offer, account: str = "main") -> None:
        """Put a market in place, read just now."""
        self.context.accounts[account].market = Market(index_of(offers), refreshed_at=self.clock.now(), stale=False)

    def seen(self, account: str = "main") -> None:
        """A complete snapshot was read just now."""
        at = self.context.accounts[account]
        at.last_complete_at, at.problem, at.detail = self.clock.now(), "", ""

    def change_settings(self, **changes: Any) -> None:
        """Put other settings in force."""
        self.context.settings = evolve(self.context.settings, **changes)


def offer(number: int, price: float = 0.4, **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": f"vastai-{number}",
        "provider": "vastai",
        "provider_id": str(number),
        "account": "main",
        "gpu": "RTX 4090",
        "gpu_count": 1,
        "vram_gb": 24,
        "price_per_hour": price,
        "location": "Sweden, SE",
        "reliability": 0.99,
        "verified": True,
    }
    return Offer(**(values | changes))


def make_deployment(store: Store, clock: FakeClock, metrics: Metrics) -> Deployment:
    """Two accounts, `main` at Vast.ai and `dock` at TensorDock."""
    accounts = {
        name: AccountSettings(name=name, provider=provider)
        for name, provider in (("main", "vastai"), ("dock", "tensordock"))
    }
    woken: list[tuple[str, str]] = []

    def wake(job: str, account: str, *, in_seconds: float = 0.0) -> None:
        woken.append((job, account))

    context = Context(
        settings=Settings(accounts=accounts),
        clock=clock,
        store=store,
        metrics=metrics,
        accounts={
            name: AccountAtWork(settings=settings, provider=SilentProvider(settings.provider))
            for name, settings in accounts.items()
        },
        wake=wake,
    )
    metrics.initialise([(name, settings.provider) for name, settings in accounts.items()])
    schedule = Schedule(clock, metrics)
    for name in accounts:
        for job in ("status", "offers"):
            schedule.add(Runner(CountingJob(job, name), context))
    schedule.add(Runner(CountingJob("housekeeping", ""), context))
    return Deployment(context, Control(context), schedule, clock, woken)


def token(environ: Callable[[], dict[str, str]] = lambda: {"WEB_TOKEN": TOKEN}) -> Secret:
    return Secret(SecretSource(env="WEB_TOKEN"), environ())

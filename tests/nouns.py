"""Short makers of the nouns, for tests of pure code."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from attrs import evolve

from shopperd.model import (
    CreateOutcome,
    DestroyJob,
    DestroyOrigin,
    Fleet,
    Instance,
    InstanceState,
    MemorySpan,
    Ownership,
    Session,
    SessionState,
    Snapshot,
    Spec,
    Track,
    session_of,
    tag_of,
)
from shopperd.reconcile import Account, Observed, observe
from shopperd.settings import OrphanSettings, Settings

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ACCOUNT = "vast-main"
SETTINGS = Settings(orphans=OrphanSettings(sightings=3, grace=300.0, observe_sweeps=0))


def sid(number: int) -> UUID:
    return UUID(int=number, version=4)


def session(number: int, state: SessionState = SessionState.RUNNING, **more: Any) -> Session:
    id_ = sid(number)
    values: dict[str, Any] = {
        "id": id_,
        "account": ACCOUNT,
        "provider": "vastai",
        "state": state,
        "tag": tag_of(id_),
        "created_at": NOW - timedelta(hours=1),
        "spec": Spec(),
        "create_outcome": CreateOutcome.ACCEPTED,
    }
    return Session(**(values | more))


def instance(id_: str, owner: int | None = None, **more: Any) -> Instance:
    tag = more.pop("tag", tag_of(sid(owner)) if owner is not None else None)
    claimed = session_of(tag)
    values: dict[str, Any] = {
        "account": ACCOUNT,
        "provider": "vastai",
        "id": id_,
        "tag": tag,
        "session_id": claimed,
        "ownership": Ownership.OURS if claimed else Ownership.FOREIGN,
        "state": InstanceState.RUNNING,
        "price_per_hour": 0.5,
        "started_at": NOW - timedelta(minutes=50),
    }
    return Instance(**(values | more))


def snapshot(*instances: Instance, at: datetime = NOW, complete: bool = True) -> Snapshot:
    return Snapshot(
        account=ACCOUNT,
        provider="vastai",
        instances=instances,
        started_at=at,
        ended_at=at + timedelta(seconds=1),
        complete=complete,
        reason="" if complete else "page_failed",
    )


def account(*sessions: Session, **more: Any) -> Account:
    values: dict[str, Any] = {
        "name": ACCOUNT,
        "exclusive": False,
        "sessions": {s.id: s for s in sessions},
        "tracks": {},
        "jobs": {},
        "fleet": Fleet(),
        "spans": (MemorySpan(NOW - timedelta(days=30), NOW + timedelta(days=30)),),
    }
    return Account(**(values | more))


def after(known: Account, seen: Observed) -> Account:
    """The account as the store would have it after an observation was written."""
    sessions = dict(known.sessions) | {step.session.id: step.session for step in seen.steps}
    tracks = dict(known.tracks) | {track.instance.id: track for track in seen.tracks}
    closed = {job.instance_id for job in seen.settled}
    jobs = {id_: job for id_, job in known.jobs.items() if id_ not in closed}
    numbers = itertools.count(1000)
    jobs |= {job.instance_id: evolve(job, id=next(numbers)) for job in seen.commands}
    return evolve(known, sessions=sessions, tracks=tracks, jobs=jobs, fleet=seen.fleet, rest=seen.rest)


def watch(
    known: Account,
    *snapshots: Snapshot,
    settings: Settings = SETTINGS,
) -> Account:
    """Count several snapshots in."""
    for one in snapshots:
        known = after(known, observe(known, one, settings, one.ended_at))
    return known


def rounds(*instances: Instance, count: int, start: datetime = NOW, every: float = 120.0) -> list[Snapshot]:
    """The same complete snapshot, several times in a row."""
    return [snapshot(*instances, at=start + timedelta(seconds=every * n)) for n in range(count)]


def track(one: Instance, **more: Any) -> Track:
    return Track(**({"instance": one, "first_seen_at": NOW, "last_seen_at": NOW, "sightings": 1} | more))


def job(instance_id: str, **more: Any) -> DestroyJob:
    values: dict[str, Any] = {
        "id": 1,
        "account": ACCOUNT,
        "instance_id": instance_id,
        "origin": DestroyOrigin.COMMAND,
        "reason": "test",
        "requested_at": NOW,
        "next_attempt_at": NOW,
    }
    return DestroyJob(**(values | more))

"""Accounts with a past, and snapshots of them, at random and cheaply: whoever hands in the randomness decides everything.

What is made here has lived: its counts come from snapshots that were observed, so it is a state that can be reached.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from shopperd.model import (
    CreateOutcome,
    DestroyJob,
    DestroyOrigin,
    Instance,
    InstanceState,
    MemorySpan,
    Ownership,
    Session,
    SessionState,
    Snapshot,
    tag_of,
)
from shopperd.reconcile import Account, Authority, Window, observe
from shopperd.settings import OrphanSettings, Settings
from tests.nouns import NOW, account, after, instance, job, session, sid, snapshot

IDS = tuple("abcdefgh")
SESSIONS = (1, 2, 3, 4)
ELSEWHERE = 6
"""The number of a session of another account."""
STRANGER = 7
"""The number of a session that no store ever heard of."""

MINUTE = timedelta(minutes=1)
WRONG_TAGS = (
    "SHOPPER-{}",
    "shopper-{} ",
    " shopper-{}",
    "shopper-{}-2",
    "shopper-prod-{}",
    "shopper_{}",
    "xshopper-{}",
)
"""Tags that are nearly ours."""


@frozen
class Case:
    """An account, what it was observed by, and what is asked of it.

    Attributes:
        now: a while after the newest snapshot.
    """

    known: Account
    seen: tuple[Snapshot, ...]
    settings: Settings
    now: datetime


def settings_of(rng: random.Random, **orphans: Any) -> Settings:
    """Settings of every size that matters, zero and one among them."""
    values: dict[str, Any] = {
        "mode": "destroy",
        "sightings": rng.choice((1, 2, 3)),
        "grace": rng.choice((0.0, 300.0)),
        "max_destroys_per_sweep": rng.choice((0, 1, 3, 100)),
        "max_share_per_sweep": rng.choice((0.0, 0.1, 0.5, 1.0)),
        "max_share_per_hour": rng.choice((0.0, 0.2, 1.0)),
    }
    return Settings(orphans=OrphanSettings(**(values | orphans)))


def generous(rng: random.Random) -> Settings:
    """Settings whose limits hold nothing."""
    return settings_of(rng, max_destroys_per_sweep=1000, max_share_per_hour=1.0)


BOUND = (SessionState.STARTING, SessionState.RUNNING, SessionState.STOPPED, SessionState.LOST)
"""States in which a session has an instance for certain."""


def session_at_random(rng: random.Random, number: int, id_: str) -> Session:
    """A session in any state that it can be in, with what belongs to that; if it has an instance, the one of that id."""
    state = rng.choice(tuple(SessionState))
    made = NOW - rng.choice((10, 60, 600)) * MINUTE
    more: dict[str, Any] = {"created_at": made, "state_since": made}
    if state in (SessionState.EXPECTED, SessionState.CREATING, SessionState.FAILED):
        unclear = (CreateOutcome.NONE, CreateOutcome.SENT, CreateOutcome.UNCLEAR, CreateOutcome.REFUSED)
        more["create_outcome"] = CreateOutcome.NONE if state is SessionState.EXPECTED else rng.choice(unclear)
    elif state is SessionState.ENDING and rng.random() < 0.3:
        more["create_outcome"] = rng.choice((CreateOutcome.SENT, CreateOutcome.UNCLEAR))
    elif state in BOUND or rng.random() < 0.8:
        more["instance_id"] = id_
    if more.get("create_outcome", CreateOutcome.NONE) is not CreateOutcome.NONE:
        more["create_deadline_at"] = NOW + rng.choice((-5, 3, 60)) * MINUTE
    if rng.random() < 0.3:
        more["expires_at"] = NOW + rng.choice((-30, 4, 600)) * MINUTE
    if state in (SessionState.ENDED, SessionState.FAILED, SessionState.LOST):
        more["ended_at"] = NOW - rng.choice((1, 60, 3000)) * MINUTE
    if state in (SessionState.ENDING, SessionState.ENDED):
        more["reason"] = rng.choice(("ended by request", "expired"))
    if rng.random() < 0.1:
        more["exempt"] = True
    return session(number, state, **more)


def instance_at_random(rng: random.Random, id_: str) -> Instance:
    """A machine of anybody's; what its adapter thinks of the ownership is as good as nothing."""
    owner = rng.choice((*SESSIONS, *SESSIONS, ELSEWHERE, STRANGER, None, None))
    more: dict[str, Any] = {}
    if owner is None:
        nearly = rng.choice(WRONG_TAGS).format(sid(rng.choice(SESSIONS)))
        more["tag"] = rng.choice((None, "theirs", nearly))
    return evolve(
        instance(
            id_,
            owner,
            state=rng.choice(tuple(InstanceState)),
            price_per_hour=rng.choice((None, 0.1, 0.5, 2.0)),
            started_at=rng.choice((None, NOW - 700 * MINUTE, NOW - 50 * MINUTE, NOW - 2 * MINUTE)),
            **more,
        ),
        ownership=rng.choice(tuple(Ownership)),
    )


def case_of(rng: random.Random, settings: Settings | None = None, *, snapshots: int = 4) -> Case:
    """An account that has been looked at for a while."""
    settings = settings or settings_of(rng)
    ids = rng.sample(IDS, len(SESSIONS))
    sessions = [
        session_at_random(rng, number, id_) for number, id_ in zip(SESSIONS, ids, strict=True) if rng.random() < 0.8
    ]
    sessions.append(session(ELSEWHERE, rng.choice((SessionState.RUNNING, SessionState.ENDED)), account="elsewhere"))
    known = account(*sessions, exclusive=rng.random() < 0.5, spans=spans_of(rng))
    if rng.random() < 0.2:
        known = evolve(known, restored_at=NOW - 20 * MINUTE)
    fleet = [instance_at_random(rng, id_) for id_ in IDS if rng.random() < 0.6]
    at = NOW
    seen: list[Snapshot] = []
    for _ in range(rng.randint(0, snapshots)):
        one = snapshot_of(rng, fleet, at)
        known = _told_of(known, seen, settings)
        known = after(known, observe(known, one, settings, one.ended_at))
        seen.append(one)
        at += rng.choice((1, 2, 6)) * MINUTE
        if rng.random() < 0.3:
            fleet = changed_fleet(rng, fleet)
    known = with_jobs(rng, known, at)
    tracks = {id_: evolve(track, exempt=rng.random() < 0.1) for id_, track in known.tracks.items()}
    return Case(_told_of(evolve(known, tracks=tracks), seen, settings), tuple(seen), settings, at)


def _told_of(known: Account, seen: Sequence[Snapshot], settings: Settings) -> Account:
    """The account with what the store tells of the complete snapshots so far."""
    starts = [one.started_at for one in seen if one.complete]
    enough = settings.orphans.sightings
    return evolve(
        known,
        last_complete_at=starts[-1] if starts else None,
        missed_since=starts[-enough] if len(starts) >= enough else None,
    )


def spans_of(rng: random.Random) -> tuple[MemorySpan, ...]:
    """A memory that is unbroken, young, gone, or has a hole."""
    always = MemorySpan(NOW - timedelta(days=9), NOW + timedelta(days=9))
    young = MemorySpan(NOW - 10 * MINUTE, NOW + timedelta(days=9))
    return rng.choice(((always,), (always,), (young,), (), (MemorySpan(always.started_at, NOW - 60 * MINUTE), young)))


def snapshot_of(
    rng: random.Random, fleet: Sequence[Instance], at: datetime, *, complete: bool | None = None
) -> Snapshot:
    """Most of a fleet, in any order."""
    shown = [one for one in fleet if rng.random() < 0.85]
    rng.shuffle(shown)
    return snapshot(*shown, at=at, complete=rng.random() < 0.75 if complete is None else complete)


def changed_fleet(rng: random.Random, fleet: Sequence[Instance]) -> list[Instance]:
    """A fleet in which one machine has gone, come, or become another."""
    left = [one for one in fleet if rng.random() < 0.8]
    free = [id_ for id_ in IDS if id_ not in {one.id for one in left}]
    if free:
        left.append(instance_at_random(rng, rng.choice(free)))
    return left


def with_jobs(rng: random.Random, known: Account, now: datetime) -> Account:
    """The account with some destroys under way."""
    jobs = dict(known.jobs)
    for id_, track in known.tracks.items():
        if rng.random() < 0.2:
            jobs.setdefault(id_, job_at_random(rng, track.instance, now))
    return evolve(known, jobs=jobs)


def job_at_random(rng: random.Random, meant: Instance, now: datetime) -> DestroyJob:
    """A destroy of this machine, or of the one that had its id before."""
    origin = rng.choice(tuple(DestroyOrigin))
    return job(
        meant.id,
        origin=origin,
        session_id=rng.choice((meant.session_id, sid(rng.choice(SESSIONS)))),
        tag=rng.choice((meant.tag, tag_of(sid(1)))),
        instance_started_at=rng.choice((meant.started_at, None, NOW - 900 * MINUTE)),
        requested_at=now - rng.choice((0, 30, 90)) * MINUTE,
    )


def authority_of(rng: random.Random) -> Authority:
    """Mostly one that may act."""
    if rng.random() < 0.7:
        return Authority()
    return rng.choice((Authority(no_right="no"), Authority(observing=1), Authority(frozen=True)))


def window_of(rng: random.Random) -> Window:
    """What was carried out lately."""
    hour = rng.choice((0, 0, 1, 3, 20))
    return Window(last_sweep=min(hour, rng.choice((0, 1, 3))), last_hour=hour)


def by_id(instances: Sequence[Instance]) -> Mapping[str, Instance]:
    """Instances by their ids."""
    return {one.id: one for one in instances}

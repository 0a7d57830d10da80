"""The shapes of answers. Times are UTC and written as RFC 3339 with a Z; money is US dollars; null is "not known".

Answers have no slots: an object with slots is encoded in the order of the alphabet, one without in the order of its fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from aiohttp import web
from attrs import fields, frozen

from shopperd import reasons
from shopperd.explanation import Explanation
from shopperd.model import (
    DestroyJob,
    DestroyOrigin,
    Event,
    HoldReason,
    InstanceState,
    Offer,
    OrphanKind,
    OrphanPhase,
    Ownership,
    Session,
    SessionState,
    Track,
)
from shopperd.reconcile import Guard, Orphan
from shopperd.redaction import redact

T = TypeVar("T")


@frozen(slots=False)
class ListAnswer(Generic[T]):
    """A piece of a list; `next` goes into the query as `cursor` for the following piece, null at the end."""

    items: Sequence[T]
    next: str | None = None


@frozen(slots=False)
class EventAnswer:
    """One row of the audit trail."""

    id: int
    at: datetime
    kind: str
    message: str
    account: str | None
    session_id: UUID | None
    instance_id: str | None
    data: Mapping[str, object]


@frozen
class Cost:
    """What something has cost in USD, and what it is billed per hour now."""

    usd: float = 0.0
    per_hour: float = 0.0


@frozen(slots=False)
class CostAnswer:
    """What an account, session or instance has cost in a time; what the list is not by is null.

    Attributes:
        session_id: null too where a machine belongs to no session.
        until: null: up to the newest complete snapshot.
        estimated_usd: the part of `cost_usd` for times in which nobody looked, as the next look showed it.
        machine_seconds: how long machines were billed, together.
        unpriced: the price of a machine is not known for some of it, which is then not counted.
    """

    account: str
    provider: str
    session_id: UUID | None
    instance_id: str | None
    since: datetime
    until: datetime | None
    cost_usd: float
    estimated_usd: float
    machine_seconds: float
    unpriced: bool


@frozen(slots=False)
class SessionAnswer:
    """A session. What its machine was given to run (`env`, `onstart`) is not told: it may hold secrets.

    Attributes:
        cost_usd: what its machines have cost so far; `burn_per_hour`: what they are billed now.
    """

    id: UUID
    account: str
    provider: str
    state: SessionState
    tag: str
    instance_id: str | None
    offer_id: str | None
    gpu: str | None
    gpu_count: int | None
    price_per_hour: float | None
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    reason: str | None
    exempt: bool
    cost_usd: float
    burn_per_hour: float


@frozen(slots=False)
class SessionWithEvents(SessionAnswer):
    """A session and what happened to it, oldest first."""

    events: Sequence[EventAnswer]


@frozen(slots=False)
class InstanceAnswer:
    """A rented machine. `session_id` is the session that it is bound to, else the one that its tag names.

    Attributes:
        cost_usd: what it has cost since its account is watched; `burn_per_hour`: what it is billed in its present state.
    """

    account: str
    provider: str
    id: str
    tag: str | None
    session_id: UUID | None
    ownership: Ownership
    state: InstanceState
    provider_state: str | None
    gpu: str | None
    gpu_count: int | None
    price_per_hour: float | None
    address: str | None
    ssh_port: int | None
    started_at: datetime | None
    first_seen_at: datetime
    last_seen_at: datetime
    exempt: bool
    cost_usd: float
    burn_per_hour: float


@frozen(slots=False)
class OfferAnswer:
    """A machine that could be rented when the market was last read, `age_seconds` ago."""

    id: str
    provider: str
    provider_id: str
    account: str
    gpu: str
    gpu_count: int
    vram_gb: int | None
    price_per_hour: float
    location: str | None
    reliability: float | None
    verified: bool | None
    available: bool
    interruptible: bool
    disk_gb: float | None
    age_seconds: float
    stale: bool


@frozen(slots=False)
class GpuPricesAnswer:
    """The offers of one GPU: how many, and what one of these GPUs cost per hour."""

    gpu: str
    interruptible: bool
    offers: int
    least: float
    p10: float
    p50: float
    p90: float


@frozen(slots=False)
class MarketPricesAnswer:
    """What GPUs cost when a market was read. `partial`: the provider cut it off, so offers are missing."""

    at: datetime
    account: str
    partial: bool
    gpus: Sequence[GpuPricesAnswer]


@frozen(slots=False)
class OrphanAnswer:
    """An instance that should not be.

    Attributes:
        hold_reason: the guard that it waits for, null if none holds it; `hold_detail` says the same in words.
        attempts, stuck: of its destroy: how often it was asked for, and whether a person should look at the machine.
        orphan_since: when it was first seen to be an orphan; `first_seen_at`: when the machine was first seen at all.
        leaked_usd: what it has cost since `orphan_since`.
    """

    account: str
    instance_id: str
    session_id: UUID | None
    kind: OrphanKind
    phase: OrphanPhase
    first_seen_at: datetime
    orphan_since: datetime
    sightings: int
    price_per_hour: float | None
    leaked_usd: float
    hold_reason: HoldReason | None
    hold_detail: str | None
    attempts: int
    stuck: bool


@frozen(slots=False)
class DestroyAnswer:
    """A destroy that is recorded and carried out until its instance is proven gone.

    Attributes:
        next_attempt_at: when it is tried next, unless a guard holds it then.
        stuck: it goes on for so long, or was asked for so often, that a person should look at the machine.
        last_error: what the provider, or the guard, said to the newest try.
    """

    account: str
    instance_id: str
    session_id: UUID | None
    origin: DestroyOrigin
    reason: str
    requested_at: datetime
    attempts: int
    hold_reason: HoldReason | None
    gone_at: datetime | None
    next_attempt_at: datetime
    stuck: bool
    last_error: str | None


@frozen(slots=False)
class SightingsAnswer:
    """How often complete snapshots in a row held or missed a machine.

    Attributes:
        in_a_row: snapshots that held it; the count stops at 3.
        absences: those since it was last seen that did not hold it.
        agreeing: those that agree on the verdict in `kind`; `needed`: so many must.
        orphan_since: when that verdict was first given.
    """

    first_seen_at: datetime
    last_seen_at: datetime
    in_a_row: int
    absences: int
    agreeing: int
    needed: int
    orphan_since: datetime | None
    gone_at: datetime | None


@frozen(slots=False)
class RuleAnswer:
    """A guard that a destroy must pass: what must be so, whether it holds the destroy now, and why or how to change it if so."""

    rule: HoldReason
    requires: str
    holds: bool
    detail: str | None
    remedy: str | None


@frozen(slots=False)
class ExplainAnswer:
    """Why an instance stays, or goes, or waits.

    Attributes:
        kind: the verdict on it now, null if it may stay; `because` says why.
        phase: null if no destroy of it is wanted.
        rules: what its destroy must pass, in the order in which it is asked.
        first_hold: the first of them that holds, or what its destroy waits for.
    """

    account: str
    instance_id: str
    summary: str
    would_change: str
    kind: OrphanKind | None
    because: str | None
    phase: OrphanPhase | None
    first_hold: HoldReason | None
    sightings: SightingsAnswer
    rules: Sequence[RuleAnswer]
    instance: InstanceAnswer
    session: SessionAnswer | None
    destroy: DestroyAnswer | None


_OF_EVENT = tuple(attribute.name for attribute in fields(EventAnswer))
_COSTS = ("cost_usd", "burn_per_hour")
_OF_SESSION = tuple(attribute.name for attribute in fields(SessionAnswer) if attribute.name not in ("exempt", *_COSTS))
_OF_MACHINE = tuple(
    attribute.name
    for attribute in fields(InstanceAnswer)
    if attribute.name not in ("session_id", "first_seen_at", "last_seen_at", "exempt", *_COSTS)
)
_OF_OFFER = tuple(attribute.name for attribute in fields(OfferAnswer) if attribute.name not in ("age_seconds", "stale"))


def answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer in JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json", headers=headers
    )


def event_answer(event: Event) -> EventAnswer:
    """One row of the audit trail."""
    return EventAnswer(**{name: getattr(event, name) for name in _OF_EVENT})


def session_answer(session: Session, track: Track | None, cost: Cost) -> SessionAnswer:
    """A session and its machine, as far as one is known; the machine's exemption is the session's."""
    return SessionAnswer(**_told_of(session, track, cost))


def session_with_events(session: Session, track: Track | None, cost: Cost, trail: Sequence[Event]) -> SessionWithEvents:
    """A session with its trail."""
    return SessionWithEvents(
        **_told_of(session, track, cost),
        events=[event_answer(event) for event in trail],
    )


def _told_of(session: Session, track: Track | None, cost: Cost) -> dict[str, Any]:
    told = {name: getattr(session, name) for name in _OF_SESSION}
    exempt = session.exempt or (track is not None and track.exempt)
    return told | {"exempt": exempt, "cost_usd": cost.usd, "burn_per_hour": cost.per_hour}


def instance_answer(track: Track, bound_to: UUID | None, last_seen_at: datetime, cost: Cost) -> InstanceAnswer:
    """A machine. `bound_to`: the session that it is bound to by its id, if it is to one."""
    told = {name: getattr(track.instance, name) for name in _OF_MACHINE}
    return InstanceAnswer(
        **told,
        session_id=bound_to or track.instance.session_id,
        first_seen_at=track.first_seen_at,
        last_seen_at=last_seen_at,
        exempt=track.exempt,
        cost_usd=cost.usd,
        burn_per_hour=cost.per_hour,
    )


def offer_answer(offer: Offer, age_seconds: float, stale: bool) -> OfferAnswer:
    """An offer and how old the list is that it stands in."""
    told = {name: getattr(offer, name) for name in _OF_OFFER}
    return OfferAnswer(**told, age_seconds=age_seconds, stale=stale)


def orphan_answer(orphan: Orphan, leaked_usd: float) -> OrphanAnswer:
    """An orphan of a plan, and what it has cost."""
    track = orphan.track
    return OrphanAnswer(
        account=track.instance.account,
        instance_id=track.instance.id,
        session_id=track.instance.session_id,
        kind=orphan.kind,
        phase=orphan.phase,
        first_seen_at=track.first_seen_at,
        orphan_since=track.orphan_since or track.first_seen_at,
        sightings=track.kind_sightings,
        price_per_hour=track.instance.price_per_hour,
        leaked_usd=leaked_usd,
        hold_reason=orphan.hold,
        hold_detail=None if orphan.hold is None else reasons.HOLDS[orphan.hold].hold,
        attempts=orphan.attempts,
        stuck=orphan.stuck,
    )


def destroy_answer(job: DestroyJob, *, stuck: bool) -> DestroyAnswer:
    """A destroy job."""
    return DestroyAnswer(
        account=job.account,
        instance_id=job.instance_id,
        session_id=job.session_id,
        origin=job.origin,
        reason=job.reason,
        requested_at=job.requested_at,
        attempts=job.attempts,
        hold_reason=job.hold,
        gone_at=job.gone_at,
        next_attempt_at=job.next_attempt_at,
        stuck=stuck,
        last_error=None if job.last_error is None else redact(job.last_error),
    )


def explain_answer(told: Explanation, sightings_needed: int, cost: Cost, session_cost: Cost) -> ExplainAnswer:
    """Why an instance stays, or goes, or waits, and what it and its session have cost meanwhile."""
    track, session, judgement = told.track, told.session, told.judgement
    return ExplainAnswer(
        account=track.instance.account,
        instance_id=track.instance.id,
        summary=redact(told.summary),
        would_change=told.would_change,
        kind=None if judgement is None else judgement.kind,
        because=None if judgement is None else judgement.because,
        phase=told.phase,
        first_hold=told.hold,
        sightings=SightingsAnswer(
            first_seen_at=track.first_seen_at,
            last_seen_at=told.last_seen_at,
            in_a_row=track.sightings,
            absences=track.absences,
            agreeing=track.kind_sightings,
            needed=sightings_needed,
            orphan_since=track.orphan_since,
            gone_at=track.gone_at,
        ),
        rules=[_rule_answer(guard) for guard in told.guards],
        instance=instance_answer(
            track, session.id if session is not None and told.bound else None, told.last_seen_at, cost
        ),
        session=None if session is None else session_answer(session, track if told.bound else None, session_cost),
        destroy=None if told.job is None else destroy_answer(told.job, stuck=told.stuck),
    )


def _rule_answer(guard: Guard) -> RuleAnswer:
    words = reasons.HOLDS[guard.reason]
    return RuleAnswer(
        rule=guard.reason,
        requires=words.rule,
        holds=guard.holds,
        detail=words.hold if guard.holds else None,
        remedy=words.remedy if guard.holds else None,
    )

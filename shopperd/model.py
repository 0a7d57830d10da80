"""The nouns of shopperd: frozen values without I/O, shared by every other room.

Units are in the names or the docstrings. ``None`` always means "the provider did not say", never zero.
Times are timezone-aware UTC datetimes. Money is US dollars.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from attrs import evolve, field, frozen

TAG_PREFIX = "shopper-"
DEPLOYMENT_PATTERN = re.compile(r"[a-z0-9]{1,16}")
_UUID_PATTERN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def tag_of(session_id: UUID, deployment: str = "") -> str:
    """The name that an instance of this session carries at its provider (44 to 61 characters of ``[a-z0-9-]``)."""
    return f"{TAG_PREFIX}{deployment}-{session_id}" if deployment else f"{TAG_PREFIX}{session_id}"


def session_of(tag: str | None, deployment: str = "") -> UUID | None:
    """The session that a tag names, or None unless the tag is exactly of this deployment's form.

    There is no prefix match and no forgiveness for case or spaces: what is not exactly ours is foreign.
    """
    if tag is None:
        return None
    start = f"{TAG_PREFIX}{deployment}-" if deployment else TAG_PREFIX
    if not tag.startswith(start):
        return None
    rest = tag[len(start) :]
    return UUID(rest) if _UUID_PATTERN.fullmatch(rest) else None


class Ownership(enum.StrEnum):
    """Whose an instance is."""

    OURS = "ours"
    """It carries our exact tag, or an id that a create of ours was answered with."""
    UNKNOWN = "unknown"
    """It carries our exact tag, but the store never heard of that session."""
    FOREIGN = "foreign"
    """Its tag is not exactly ours. Never touched, only counted."""


class InstanceState(enum.StrEnum):
    """What an instance does, over all providers' words. A stopped machine still bills its disk or more."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@frozen
class Instance:
    """A rented machine as its provider reports it in one answer.

    `session_id` is what the tag says and proves nothing by itself. An adapter sets `ownership` to OURS or FOREIGN from
    the tag alone; whether the session is known is for the store to say.

    Attributes:
        price_per_hour: USD, the upper one where it is in doubt.
        billed_per_hour: USD that are charged in its present state, where that is told and may be less; for accounts alone.
    """

    account: str
    provider: str
    id: str
    tag: str | None = None
    session_id: UUID | None = None
    ownership: Ownership = Ownership.FOREIGN
    state: InstanceState = InstanceState.UNKNOWN
    provider_state: str | None = None
    gpu: str | None = None
    gpu_count: int | None = None
    vram_gb: int | None = None
    price_per_hour: float | None = None
    address: str | None = None
    ssh_port: int | None = None
    started_at: datetime | None = None
    billed_per_hour: float | None = None

    @property
    def rate_per_hour(self) -> float | None:
        """USD that it costs per hour as it is now, as far as that is told."""
        return self.price_per_hour if self.billed_per_hour is None else self.billed_per_hour


def is_price(usd_per_hour: float | None) -> bool:
    """Whether that is a price, or none: what is not finite or below zero can be added up to no sum, and stored nowhere."""
    return usd_per_hour is None or 0.0 <= usd_per_hour < math.inf


def priced(instance: Instance) -> Instance:
    """The instance, with what is no price left out as not told. No provider should tell such a thing, but a plug-in may."""
    if is_price(instance.price_per_hour) and is_price(instance.billed_per_hour):
        return instance
    price, billed = instance.price_per_hour, instance.billed_per_hour
    return evolve(
        instance,
        price_per_hour=price if is_price(price) else None,
        billed_per_hour=billed if is_price(billed) else None,
    )


@frozen
class Charge:
    """What one machine cost per hour over a time in which nothing about that changed.

    Attributes:
        usd_per_hour: None while its provider has not told it yet.
        ended_at: None while it goes on.
        estimated: nobody looked then; it is what the next look showed.
    """

    account: str
    provider: str
    instance_id: str
    started_at: datetime
    session_id: UUID | None = None
    state: InstanceState = InstanceState.UNKNOWN
    usd_per_hour: float | None = None
    ended_at: datetime | None = None
    estimated: bool = False

    def usd(self, since: datetime, until: datetime) -> float:
        """What it cost between two moments, in USD."""
        return (self.usd_per_hour or 0.0) * self.seconds(since, until) / 3600

    def seconds(self, since: datetime, until: datetime) -> float:
        """How much of it lies between two moments."""
        end = until if self.ended_at is None else min(self.ended_at, until)
        return max(0.0, (end - max(self.started_at, since)).total_seconds())


@frozen
class Snapshot:
    """The result of one listing of one account.

    Attributes:
        complete: the provider's whole answer was read and understood, and agrees with its own totals. Only a complete
            snapshot can prove absence; an incomplete one still proves that what is in it exists.
        reason: why it is not complete, one of a bounded set of words (``page_failed``, ``count_mismatch`` ...); "" if it is.
        detail: the same for people.
        started_at, ended_at: around the requests, by our clock.
        pages: how many answers it was put together from.
    """

    account: str
    provider: str
    instances: tuple[Instance, ...]
    started_at: datetime
    ended_at: datetime
    complete: bool
    reason: str = ""
    detail: str = ""
    pages: int = 1


@frozen(weakref_slot=False)
class Offer:
    """A machine that can be rented now, normalised.

    Attributes:
        id: unique over all accounts' markets, such as ``vastai-41000001``; ends in ``-bid`` for an interruptible offer.
        provider_id: what the provider needs to rent it.
        vram_gb: nominal memory of one GPU.
        price_per_hour: USD for the whole machine as it would be rented by default, disk included.
        reliability: 0 to 1.
    """

    id: str
    provider: str
    provider_id: str
    account: str
    gpu: str
    gpu_count: int
    vram_gb: int | None
    price_per_hour: float
    location: str | None = None
    reliability: float | None = None
    verified: bool | None = None
    available: bool = True
    interruptible: bool = False
    disk_gb: float | None = None


class SessionState(enum.StrEnum):
    """Where a session is in its life; `lifecycle` says what may follow what."""

    EXPECTED = "expected"
    CREATING = "creating"
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    ENDING = "ending"
    ENDED = "ended"
    FAILED = "failed"
    LOST = "lost"

    @property
    def live(self) -> bool:
        """Whether a session in this state claims an instance."""
        return self in _LIVE


# A tuple: a set would ask for the hash of a state, which takes longer than to look at all of these.
_LIVE = (
    SessionState.RUNNING,
    SessionState.STARTING,
    SessionState.STOPPED,
    SessionState.CREATING,
    SessionState.EXPECTED,
)


class CreateOutcome(enum.StrEnum):
    """What became of the request that a create intent led to."""

    NONE = "none"
    """No request was ever begun: the session was registered, or its intent waits for its turn."""
    SENT = "sent"
    """A request is on its way, or the process died while it was: to be read as unclear after a restart."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNCLEAR = "unclear"


@frozen
class Spec:
    """What somebody asked to rent. Either one offer, or the cheapest that fits the wishes."""

    offer_id: str | None = None
    gpu: str | None = None
    gpu_count: int = 1
    min_vram_gb: int | None = None
    max_price_per_hour: float | None = None
    interruptible: bool = False
    image: str | None = None
    disk_gb: float | None = None
    env: Mapping[str, str] = field(factory=dict, repr=lambda env: f"<{len(env)} values>")
    ssh_key: str | None = None
    onstart: str | None = field(default=None, repr=lambda text: "<script>" if text else "None")


@frozen
class Session:
    """The claim that an instance should exist.

    Attributes:
        instance_id: the machine bound to it. Never erased, not even when the session is over.
        create_outcome, create_deadline_at: the fate of the create request, and until when an unclear one is looked for.
        deadline_set_at: when `expires_at` was last set; None: with the session.
        version: grows with every change; a writer that has read an older one is refused.
    """

    id: UUID
    account: str
    provider: str
    state: SessionState
    tag: str
    created_at: datetime
    spec: Spec
    instance_id: str | None = None
    offer_id: str | None = None
    gpu: str | None = None
    gpu_count: int | None = None
    price_per_hour: float | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    exempt: bool = False
    create_outcome: CreateOutcome = CreateOutcome.NONE
    create_deadline_at: datetime | None = None
    state_since: datetime | None = None
    deadline_set_at: datetime | None = None
    version: int = 1

    @property
    def create_open(self) -> bool:
        """Whether a create of this session may still bring an instance that nobody has seen yet."""
        return self.instance_id is None and self.create_outcome in (CreateOutcome.SENT, CreateOutcome.UNCLEAR)


class OrphanKind(enum.StrEnum):
    """Why an instance with our tag should not exist."""

    ENDED = "ended"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"


class OrphanPhase(enum.StrEnum):
    """How far shopperd is with an orphan."""

    SUSPECTED = "suspected"
    """Sightings or grace are not reached yet."""
    HELD = "held"
    """Ripe, but a guard holds it; the hold says which."""
    DESTROYING = "destroying"
    """A destroy job works on it until it is proven gone."""


class HoldReason(enum.StrEnum):
    """Why an act waits. In which order the guards are asked, `reconcile` says."""

    NO_RIGHT_TO_ACT = "no_right_to_act"
    OBSERVING = "observing"
    FROZEN = "frozen"
    REPORT_MODE = "report_mode"
    NOT_OURS = "not_ours"
    NOT_EXCLUSIVE = "not_exclusive"
    MEMORY_BROKEN = "memory_broken"
    EXEMPT = "exempt"
    LIVE_SESSION = "live_session"
    OPEN_CREATE = "open_create"
    SIGHTINGS = "sightings"
    GRACE = "grace"
    FLEET_JUMP = "fleet_jump"
    STALE_SNAPSHOT = "stale_snapshot"
    LIMIT_PER_SWEEP = "limit_per_sweep"
    LIMIT_PER_HOUR = "limit_per_hour"
    LAST_LOOK = "last_look"


@frozen
class Track:
    """What the store remembers of one instance of one account, over all snapshots.

    Attributes:
        instance: its newest report.
        last_seen_at: while complete snapshots hold it just as it was, the newest of those tells better: `sightings.last_seen`.
        sightings: complete snapshots in a row that held it, as far as that is counted.
        absences: complete snapshots in a row that began after it was last seen and did not hold it.
        kind, kind_sightings: the verdict that the newest complete snapshots agree on, and how many in a row do.
        orphan_since: when the present verdict was first given, or the last one of a machine that is gone.
        ever_seen: whether any listing ever held it (an id known only from a create's answer has not been seen).
        missed_at: when the newest complete snapshot before its first sight began, which did not hold it: it was made later.
        gone_at: when it was proven gone; the row stays as a tombstone.
    """

    instance: Instance
    first_seen_at: datetime
    last_seen_at: datetime
    sightings: int = 0
    absences: int = 0
    kind: OrphanKind | None = None
    kind_sightings: int = 0
    orphan_since: datetime | None = None
    ever_seen: bool = True
    exempt: bool = False
    missed_at: datetime | None = None
    gone_at: datetime | None = None


@frozen
class Fleet:
    """Whether most of an account's instances came or went at once; if so, it is the provider and not the machines.

    Attributes:
        jump_at: when they did; None while all is calm.
        change: ``vanished`` or ``appeared``.
        snapshots_since: complete snapshots after that one.
    """

    jump_at: datetime | None = None
    change: str = ""
    snapshots_since: int = 0


class DestroyOrigin(enum.StrEnum):
    """The two roads to a destroy; there is no third."""

    COMMAND = "command"
    VERDICT = "verdict"


@frozen
class DestroyJob:
    """A destroy that is recorded before its first request and ends only when the instance is proven gone.

    Attributes:
        id: 0 until the store has numbered it.
        kind: of the orphan, for a verdict.
        attempts: requests sent so far.
        accepted_at: when the provider last said yes; a claim that listings have yet to verify. That it knows no such machine any
            more is a yes where none was before.
        hold: the guard that stopped the newest try, None if none did.
    """

    id: int
    account: str
    instance_id: str
    origin: DestroyOrigin
    reason: str
    requested_at: datetime
    next_attempt_at: datetime
    session_id: UUID | None = None
    kind: OrphanKind | None = None
    tag: str | None = None
    instance_started_at: datetime | None = None
    attempts: int = 0
    accepted_at: datetime | None = None
    gone_at: datetime | None = None
    last_error: str | None = None
    hold: HoldReason | None = None


@frozen
class Event:
    """One row of the audit trail. `kind` is a stable ``noun.verb`` such as ``orphan.destroy_requested``."""

    at: datetime
    kind: str
    message: str
    account: str | None = None
    session_id: UUID | None = None
    instance_id: str | None = None
    data: Mapping[str, object] = field(factory=dict)
    id: int = 0


@frozen
class MemorySpan:
    """A run of heartbeats without a gap: what happened inside of it cannot have been missed or forgotten."""

    started_at: datetime
    last_beat_at: datetime

    def covers(self, moment: datetime, before: timedelta = timedelta(), after: timedelta = timedelta()) -> bool:
        """Whether the store's memory was awake at that moment, and by so much before and after it."""
        return self.started_at + before <= moment <= self.last_beat_at - after

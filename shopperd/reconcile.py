"""The heart: what to make of a snapshot, which instances should not be, and what may be done about them.

Pure: no I/O, no clock, no logging. Everything that decides about destroying is in here, and nothing outside may.

The invariant, argued once: a destroy needs a `DestroyJob`, and a job comes from a command or from `plan`. `plan` makes one
only for an instance that (1) the newest complete snapshot holds, (2) got the same verdict from `sightings` complete snapshots
in a row, (3) is older than the grace, and (4) passes every guard, the blast limits last. A verdict in turn
needs the exact tag and a session that the store remembers as over (or, for ``unknown``, an account declared exclusive and a
memory without a gap around the instance's creation). No error, missing page or empty answer can make any of these true: errors
make no snapshot, incomplete snapshots count no verdict, and absence is never evidence against an instance that is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, cached_property
from uuid import UUID

from attrs import evolve, field, frozen

from shopperd.attempts import is_stuck
from shopperd.lifecycle import REASON_EXPIRED, Step, advance, knows_deadline, may_come_back
from shopperd.model import (
    DestroyJob,
    DestroyOrigin,
    Fleet,
    HoldReason,
    Instance,
    MemorySpan,
    OrphanKind,
    OrphanPhase,
    Ownership,
    Session,
    SessionState,
    Snapshot,
    Track,
)
from shopperd.rest import NO_REST, Rest, Stirred, Trio
from shopperd.settings import OrphanSettings, Settings
from shopperd.sightings import COUNT_MAX, fleet_after, is_present, is_settled, same_machine, tally

BIRTH_MARGIN = timedelta(seconds=60)
"""A provider's clock and ours may differ by so much, and a beat may be lost with a database that fails over."""


@frozen
class Account:
    """What the store knows of one account before a snapshot.

    Attributes:
        exclusive: nobody else uses tags of our form in it.
        sessions: every session that the account's tracks, bindings or tags may refer to, whatever its state.
        tracks: by instance id, gone ones included where the snapshot holds them.
        jobs: open destroy jobs, by instance id.
        restored_at: when the store was last found to have been put back from a backup: what was done between that backup
            and then, an extension for one, it cannot know.
        last_complete_at: when the newest complete snapshot before this one began.
        missed_since: when the oldest of the newest `orphans.sightings` complete snapshots before this one began: what none of
            them held was made since. None as long as there are fewer.
        rest: what the snapshot before this one left at rest. It changes nothing but how long the next one takes.
    """

    name: str
    exclusive: bool
    sessions: Mapping[UUID, Session]
    tracks: Mapping[str, Track]
    jobs: Mapping[str, DestroyJob]
    fleet: Fleet
    spans: Sequence[MemorySpan]
    restored_at: datetime | None = None
    last_complete_at: datetime | None = None
    missed_since: datetime | None = None
    rest: Rest = field(default=NO_REST, eq=False, repr=False)

    @cached_property
    def bindings(self) -> Mapping[str, Session]:
        """The session that an instance id is bound to; of several, one that is not over."""
        return self.bindings_of(self.sessions.values())

    def bindings_of(self, sessions: Iterable[Session]) -> Mapping[str, Session]:
        """The same, where these are all the sessions that are asked for."""
        by_id: dict[str, Session] = {}
        for session in sessions:
            if session.instance_id is None or session.account != self.name:
                continue
            other = by_id.get(session.instance_id)
            if other is None or not holds_binding(other):
                by_id[session.instance_id] = session
        return by_id

    @property
    def listed_since_restore(self) -> bool:
        """Whether the account was listed whole since the store was put back from a backup, if it ever was."""
        if self.restored_at is None:
            return True
        return self.last_complete_at is not None and self.last_complete_at >= self.restored_at

    def comes_back_from(self, now: datetime) -> datetime | None:
        """When the time anew begins in which what was lost in the backup may come back; not before it could have been seen."""
        return self.restored_at if self.listed_since_restore else now


def holds_binding(session: Session) -> bool:
    """Whether the id that a session was given still names its machine, whatever the tag says."""
    return session.state.live or session.state is SessionState.ENDING


@frozen
class Observed:
    """What a snapshot changed.

    Attributes:
        tracks: the tracks that differ from before.
        steps: the sessions that moved.
        commands: destroy jobs that follow from an end that was asked for before the instance was known.
        settled: open destroy jobs whose instance is proven gone, with that moment.
        returned, replaced: instance ids that came back from the dead, or now name another machine.
        rest: what of it the next snapshot may leave out.
    """

    tracks: tuple[Track, ...]
    steps: tuple[Step, ...]
    commands: tuple[DestroyJob, ...]
    settled: tuple[DestroyJob, ...]
    fleet: Fleet
    returned: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    rest: Rest = field(default=NO_REST, eq=False, repr=False)


def observe(account: Account, snapshot: Snapshot, settings: Settings, now: datetime) -> Observed:
    """Count a snapshot, move the sessions, and give every instance its verdict.

    What is at rest is left out: no other machine or session names it, and nothing would come of it.
    """
    rest, stirred = _stirred(account, snapshot, settings, now)
    seen = evolve(snapshot, instances=stirred.rows)
    counted = tally(stirred.tracks, seen, account.last_complete_at)
    counted = evolve(counted, present_before=counted.present_before + len(rest.machines))
    touched = {id_: track for id_, track in stirred.tracks.items() if track.gone_at is not None} | dict(counted.tracks)
    tracks = {**account.tracks, **touched}
    sessions, moving = dict(account.sessions), stirred.sessions
    steps, commands = _advance_sessions(
        account, tracks, sessions, moving, seen, settings, now, replaced=counted.replaced
    )
    after = account
    if steps:
        after, moving = evolve(account, sessions=sessions), [sessions[session.id] for session in moving]
    bindings = account.bindings_of(moving)
    appeared = set(counted.appeared)
    unexplained: list[str] = []
    for id_ in dict.fromkeys(instance.id for instance in seen.instances):
        track = tracks[id_]
        bound_to = bindings.get(id_)
        kind = verdict(after, track.instance, bound_to, tracks, settings, now).kind
        owner = ownership(after, track.instance, bound_to)
        if owner is not track.instance.ownership:
            track = evolve(track, instance=evolve(track.instance, ownership=owner))
        before = account.tracks.get(id_)
        if before is None and account.missed_since is not None:
            track = evolve(track, missed_at=account.missed_since)
        if before is not None and before is not track and before.instance.tag != track.instance.tag:
            track = _with_verdict(track, None, now)  # what was seen under another tag is not held against this one
        if snapshot.complete:
            track = _with_verdict(track, kind, now)
            if kind is not None and id_ in appeared:
                unexplained.append(id_)
        tracks[id_] = track
    fleet, left = account.fleet, account.rest
    if snapshot.complete:
        fleet = fleet_after(
            fleet,
            counted,
            explained_vanished=account.jobs.keys(),
            unexplained_appeared=unexplained,
            now=now,
        )
        still = _left_as_they_were(account, seen, tracks, stirred.sessions, steps)
        left = rest.joined(still, settings.sessions, now)
    settled = tuple(
        evolve(job, gone_at=now)
        for id_, job in account.jobs.items()
        if id_ in counted.replaced or _is_gone(tracks.get(id_))
    )
    return Observed(
        tracks=tuple(tracks[id_] for id_ in touched if _differs(account.tracks.get(id_), tracks[id_])),
        steps=tuple(steps),
        commands=tuple(commands),
        settled=settled,
        fleet=fleet,
        returned=counted.returned,
        replaced=counted.replaced,
        rest=left,
    )


def _stirred(account: Account, snapshot: Snapshot, settings: Settings, now: datetime) -> tuple[Rest, Stirred]:
    """What is at rest and what is to be looked at; all of it where anything is out of the ordinary, though less would do."""
    rules = settings.orphans
    settled = is_settled(account.fleet, sightings=rules.sightings, grace_seconds=rules.grace, now=now)
    rest = account.rest if settled and account.listed_since_restore else NO_REST
    return rest.stirred_by(snapshot, account.tracks, account.sessions, settings.sessions, now)


def _left_as_they_were(
    account: Account,
    seen: Snapshot,
    tracks: Mapping[str, Track],
    sessions: Iterable[Session],
    steps: Iterable[Step],
) -> Iterator[Trio]:
    """The machines of a complete snapshot that it left as they were, each with its live session, which it left so too.

    That they are left as they were says much: no verdict, nothing new, and so many sightings that they count no more. A session that
    moved counts twice, as it was and as it is.
    """
    alone: dict[str | None, Session | None] = {}
    for session in (*sessions, *(step.session for step in steps)):
        alone[session.instance_id] = session if session.instance_id not in alone else None
    for row in seen.instances:
        track, claim = tracks[row.id], alone.get(row.id)
        if claim is None or track is not account.tracks.get(row.id):
            continue
        if claim.account != account.name or not claim.state.live:
            continue
        if claim.id == track.instance.session_id:
            yield row, track, claim


def _differs(before: Track | None, after: Track) -> bool:
    return before is not after and before != after


def _is_gone(track: Track | None) -> bool:
    return track is not None and track.gone_at is not None


def _with_verdict(track: Track, kind: OrphanKind | None, now: datetime) -> Track:
    if kind is None:
        if track.kind is None and not track.kind_sightings and track.orphan_since is None:
            return track
        return evolve(track, kind=None, kind_sightings=0, orphan_since=None)
    if kind is track.kind:
        return evolve(track, kind_sightings=min(track.kind_sightings + 1, COUNT_MAX))
    return evolve(track, kind=kind, kind_sightings=1, orphan_since=now)


def _advance_sessions(
    account: Account,
    tracks: Mapping[str, Track],
    sessions: dict[UUID, Session],
    moving: Sequence[Session],
    snapshot: Snapshot,
    settings: Settings,
    now: datetime,
    *,
    replaced: Collection[str] = (),
) -> tuple[list[Step], list[DestroyJob]]:
    """Move those of these sessions that are of the account; `sessions`, all of them, is brought up to date in place.

    An id that was `replaced` names another machine now: the one that a session was bound to is gone, whatever came instead.
    """
    stolen = {
        session.id: evolve(account.tracks[id_], gone_at=now)
        for session in moving
        if (id_ := session.instance_id) is not None
        and id_ in replaced
        and session.account == account.name
        and tracks[id_].instance.session_id != session.id
    }
    held = {
        session.instance_id: session.id
        for session in moving
        if session.account == account.name
        and session.instance_id is not None
        and holds_binding(session)
        and session.id not in stolen
    }

    @cache
    def by_tag() -> Mapping[UUID, list[Instance]]:
        found: dict[UUID, list[Instance]] = {}
        for instance in snapshot.instances:
            if instance.session_id is not None:
                found.setdefault(instance.session_id, []).append(tracks[instance.id].instance)
        return found

    def claimants(session: Session) -> Iterator[Instance]:
        # Hardly a session asks, and nothing is sorted by tags before one does.
        for instance in by_tag().get(session.id, ()):
            if held.get(instance.id, session.id) == session.id:
                yield instance

    comes_back_from = account.comes_back_from(now)
    steps: list[Step] = []
    commands: list[DestroyJob] = []
    for session in moving:
        if session.account != account.name:
            continue
        lost = stolen.get(session.id)
        step = advance(
            session,
            tracks if lost is None else {**tracks, lost.instance.id: lost},
            claimants(session),
            snapshot,
            settings.sessions,
            now,
            deadline_is_known=knows_deadline(session, account.restored_at),
            replaced=lost is not None,
            restored_at=comes_back_from,
        )
        if step is None:
            continue
        steps.append(evolve(step, was=session.state))
        sessions[session.id] = step.session
        if step.session.instance_id is not None and step.session.instance_id != session.instance_id:
            held[step.session.instance_id] = session.id
            if step.session.state is SessionState.ENDING and step.session.reason != REASON_EXPIRED:
                commands.append(command_for(step.session, tracks.get(step.session.instance_id), now))
    return steps, commands


def command_for(session: Session, track: Track | None, now: datetime) -> DestroyJob:
    """The destroy that follows from a person or a tool having ended this session.

    Raises:
        ValueError: the session has no instance.
    """
    if session.instance_id is None:
        raise ValueError(f"session {session.id} has no instance to destroy")
    return DestroyJob(
        id=0,
        account=session.account,
        instance_id=session.instance_id,
        origin=DestroyOrigin.COMMAND,
        reason=session.reason or "the session was ended",
        requested_at=now,
        next_attempt_at=now,
        session_id=session.id,
        tag=session.tag,
        instance_started_at=track.instance.started_at if track is not None else None,
    )


def ownership(account: Account, instance: Instance, bound_to: Session | None) -> Ownership:
    """Whose an instance is: ours by tag and memory or by an id that binds; unknown by tag alone; else foreign."""
    if bound_to is not None and holds_binding(bound_to):
        return Ownership.OURS
    if instance.session_id is None:
        return Ownership.FOREIGN
    known = account.sessions.get(instance.session_id)
    return Ownership.OURS if known is not None and known.account == account.name else Ownership.UNKNOWN


@frozen
class Judgement:
    """Whether an instance that is there should be: `kind` says why not, None if it should or if that is not ours to say."""

    kind: OrphanKind | None
    because: str


_CLAIMED = Judgement(None, "a live session is bound to it")
_EXPIRED = Judgement(OrphanKind.EXPIRED, "its session is past its deadline")
_ENDED_BY_COMMAND = Judgement(None, "its session was ended by command, and the destroy recorded with that is at work")
_ENDED_UNDONE = Judgement(OrphanKind.ENDED, "its session was ended, and no destroy of it is at work")
_FOREIGN = Judgement(None, "its tag is not exactly ours: it is foreign, and never touched")
_SEEN_TWICE = Judgement(None, "its session is at home in another account that sees the same machine")
_UNKNOWN = Judgement(
    OrphanKind.UNKNOWN, "its tag is exactly ours, and the store never heard of that session in this account"
)
_AWAITED = Judgement(None, "a live session that has no instance yet waits for its tag")
_DUPLICATE = Judgement(
    OrphanKind.DUPLICATE, "a live session has this tag, and its own instance is another one that is there"
)
_TWIN_UNSEEN = Judgement(
    None, "a live session has this tag, and its own instance is out of sight: this one may have to take its place"
)
_CREATE_OPEN = Judgement(None, "its session is ending, and a create of it may still be answered")
_MAY_COME_BACK = Judgement(None, "its session was lost and may still come back (sessions.resurrection_window)")
_ENDED = Judgement(OrphanKind.ENDED, "its session is over")


def verdict(
    account: Account,
    instance: Instance,
    bound_to: Session | None,
    tracks: Mapping[str, Track],
    settings: Settings,
    now: datetime,
) -> Judgement:
    """Why this instance, which is there, should not be, or why it may stay."""
    if bound_to is not None and holds_binding(bound_to):
        if bound_to.state.live:
            return _CLAIMED
        if bound_to.reason == REASON_EXPIRED:
            return _EXPIRED
        # A session that was ended by command closes in the ordinary way, through the job recorded with its end.
        job = account.jobs.get(instance.id)
        return _ENDED_BY_COMMAND if job is not None and job.origin is DestroyOrigin.COMMAND else _ENDED_UNDONE
    if instance.session_id is None:
        # Without a tag of ours a bare id binds only as long as its session lasts: after that it may name another machine.
        return _FOREIGN
    session = account.sessions.get(instance.session_id)
    if session is not None and session.account != account.name and session.instance_id == instance.id:
        # The same machine, seen through a second account with the same rights: its session is at home in the first.
        return _SEEN_TWICE
    if session is None or session.account != account.name:
        return _UNKNOWN
    if session.state.live:
        if session.instance_id is None:
            return _AWAITED
        own = tracks.get(session.instance_id)
        return _DUPLICATE if own is not None and is_present(own) else _TWIN_UNSEEN
    if session.create_open and session.state is SessionState.ENDING:
        return _CREATE_OPEN
    if may_come_back(session, settings.sessions, now, account.comes_back_from(now)):
        return _MAY_COME_BACK
    return _ENDED


@frozen
class Authority:
    """Whether this process may act at all, apart from any one instance.

    Attributes:
        no_right: why not (a store that does not answer, an account owned by somebody else), "" if it may.
        observing: sweeps that still only look, after a start with a new or changed store.
        frozen: the kill switch.
    """

    no_right: str = ""
    observing: int = 0
    frozen: bool = False


@frozen
class Guard:
    """One guard of a destroy, and whether it holds it now."""

    reason: HoldReason
    holds: bool


def first_hold(guards: Iterable[Guard]) -> HoldReason | None:
    """The first guard that holds, None if all let it pass. Those behind it are not even asked."""
    return next((guard.reason for guard in guards if guard.holds), None)


def standing_guards(
    account: Account,
    track: Track,
    origin: DestroyOrigin,
    authority: Authority,
    settings: OrphanSettings,
) -> Iterator[Guard]:
    """The guards that every destroy of this instance must pass, recorded or not, in the order that is promised.

    Commands skip what verdicts must reach by looking (sightings, grace, limits, the first sweeps), nothing else.
    """
    instance = track.instance
    yield Guard(HoldReason.NO_RIGHT_TO_ACT, authority.no_right != "")
    if origin is DestroyOrigin.VERDICT:
        yield Guard(HoldReason.OBSERVING, authority.observing > 0)
    yield Guard(HoldReason.FROZEN, authority.frozen)
    yield Guard(HoldReason.REPORT_MODE, settings.mode == "report")
    yield from _ownership_guards(account, track, origin, settings)
    tagged = account.sessions.get(instance.session_id) if instance.session_id is not None else None
    bound_to = account.bindings.get(instance.id)
    spared = any(session is not None and session.exempt for session in (tagged, bound_to))
    yield Guard(HoldReason.EXEMPT, track.exempt or spared)
    claimed = claim_on(instance, tagged, bound_to)
    yield Guard(HoldReason.LIVE_SESSION, claimed is HoldReason.LIVE_SESSION)
    yield Guard(HoldReason.OPEN_CREATE, claimed is HoldReason.OPEN_CREATE)


def _ownership_guards(
    account: Account, track: Track, origin: DestroyOrigin, settings: OrphanSettings
) -> Iterator[Guard]:
    instance = track.instance
    bound_to = account.bindings.get(instance.id)
    bound = bound_to is not None and holds_binding(bound_to)
    if bound or origin is DestroyOrigin.COMMAND:
        # An id that binds, or a tag of ours and a person who named the machine.
        yield Guard(HoldReason.NOT_OURS, not bound and instance.session_id is None)
        return
    # A session that is remembered, but on another account: somebody copied its tag.
    remembered = instance.session_id in account.sessions
    copied = remembered and ownership(account, instance, None) is not Ownership.OURS
    yield Guard(HoldReason.NOT_OURS, instance.session_id is None or copied)
    if instance.session_id is None or remembered:
        return
    yield Guard(HoldReason.NOT_EXCLUSIVE, not account.exclusive)
    margin = min(BIRTH_MARGIN, timedelta(seconds=settings.grace))
    yield Guard(HoldReason.MEMORY_BROKEN, not _remembers_its_birth(account, track, margin))


def claim_on(instance: Instance, tagged: Session | None, bound_to: Session | None) -> HoldReason | None:
    """How a session still claims an instance, by its id or by its tag; None if none does."""
    if bound_to is not None and bound_to.state.live:
        return HoldReason.LIVE_SESSION
    if tagged is not None and tagged.state.live and tagged.instance_id in (None, instance.id):
        return HoldReason.OPEN_CREATE if tagged.create_open else HoldReason.LIVE_SESSION
    if tagged is not None and tagged.create_open and tagged.state is SessionState.ENDING:
        return HoldReason.OPEN_CREATE
    return None


def _remembers_its_birth(account: Account, track: Track, margin: timedelta) -> bool:
    """Whether the store's memory was awake when the instance was made.

    Where the provider does not tell when that was, it was between the newest complete snapshot that did not hold it and its
    first sight. Without such a snapshot it may be of any age: a first listing shows everything that was there before.
    """
    born = track.instance.started_at
    if born is not None:
        return any(span.covers(born, before=BIRTH_MARGIN, after=margin) for span in account.spans)
    missed = track.missed_at
    if missed is None:
        return False
    return any(span.covers(missed) and span.covers(track.first_seen_at) for span in account.spans)


@frozen
class Orphan:
    """An instance that should not be, how far shopperd is with it, and the guard that holds it if one does.

    Attributes:
        attempts, stuck: of its destroy, see `attempts.is_stuck`.
    """

    track: Track
    kind: OrphanKind
    phase: OrphanPhase
    hold: HoldReason | None = None
    attempts: int = 0
    stuck: bool = False


@frozen
class Plan:
    """What a sweep would do now, and why not more.

    Attributes:
        orphans: all of the account, costliest first.
        destroys: the jobs to record, in order.
        allowed: how many verdicts the blast limits let pass in this sweep.
    """

    account: str
    orphans: tuple[Orphan, ...] = ()
    destroys: tuple[DestroyJob, ...] = ()
    allowed: int = 0
    notes: tuple[str, ...] = field(default=())


@frozen
class Window:
    """Verdicts that were carried out lately, from the store: restarts do not forget them."""

    last_sweep: int = 0
    last_hour: int = 0


def blast_limit(instances: int, window: Window, settings: OrphanSettings) -> tuple[int, HoldReason]:
    """How many verdicts may become acts now, and the limit that says so.

    Both limits of a sweep at zero mean that nothing may be destroyed, never "no limit". An hourly share of 1.0 is no
    hourly limit; an hour's limit is never below a sweep's.
    """
    left_in_sweep = limit_per_sweep(instances, settings) - window.last_sweep
    per_hour = limit_per_hour(instances, settings)
    if per_hour is None:
        return max(0, left_in_sweep), HoldReason.LIMIT_PER_SWEEP
    left_in_hour = per_hour - window.last_hour
    if left_in_hour < left_in_sweep:
        return max(0, left_in_hour), HoldReason.LIMIT_PER_HOUR
    return max(0, left_in_sweep), HoldReason.LIMIT_PER_SWEEP


def limit_per_sweep(instances: int, settings: OrphanSettings) -> int:
    """The most verdicts of one sweep, in an account with so many instances."""
    return max(settings.max_destroys_per_sweep, int(settings.max_share_per_sweep * instances))


def limit_per_hour(instances: int, settings: OrphanSettings) -> int | None:
    """The most verdicts of one hour, in an account with so many instances; None where there is no such limit."""
    per_sweep = limit_per_sweep(instances, settings)
    if per_sweep == 0:
        return 0
    if settings.max_share_per_hour >= 1.0:
        return None
    return max(per_sweep, int(settings.max_share_per_hour * instances))


def plan(
    account: Account,
    settings: Settings,
    authority: Authority,
    window: Window,
    now: datetime,
    *,
    snapshot_is_fresh: bool,
) -> Plan:
    """What to do about the account's orphans, and what to hold, and why.

    `snapshot_is_fresh`: the newest snapshot is complete and recent; without it nothing new is begun.
    """
    sweep = _Sweep.of(account, settings, authority, window, now, snapshot_is_fresh=snapshot_is_fresh)
    orphans: list[Orphan] = []
    destroys: list[DestroyJob] = []
    for track in sorted(_condemned(account), key=_costliest_first):
        kind = track.kind
        if kind is None:
            continue
        job = account.jobs.get(track.instance.id)
        if job is not None:
            stuck = is_stuck(job, settings.destroys, now)
            orphans.append(Orphan(track, kind, OrphanPhase.DESTROYING, job.hold, job.attempts, stuck))
            continue
        hold = first_hold(sweep.guards(track, before_it=len(destroys)))
        if hold is not None:
            phase = OrphanPhase.SUSPECTED if hold in UNRIPE else OrphanPhase.HELD
            orphans.append(Orphan(track, kind, phase, hold))
            continue
        destroys.append(_verdict_job(account, track, kind, now))
        orphans.append(Orphan(track, kind, OrphanPhase.DESTROYING))
    return Plan(account=account.name, orphans=tuple(orphans), destroys=tuple(destroys), allowed=sweep.allowed)


def guards_of_verdict(
    account: Account,
    track: Track,
    settings: Settings,
    authority: Authority,
    window: Window,
    now: datetime,
    *,
    snapshot_is_fresh: bool,
) -> tuple[Guard, ...]:
    """Every guard that `plan` asks before it has this instance destroyed, in its order, the ones behind the first that holds too."""
    made = plan(account, settings, authority, window, now, snapshot_is_fresh=snapshot_is_fresh)
    before_it = [
        job for job in made.destroys if _costliest_first(account.tracks[job.instance_id]) < _costliest_first(track)
    ]
    sweep = _Sweep.of(account, settings, authority, window, now, snapshot_is_fresh=snapshot_is_fresh)
    return tuple(sweep.guards(track, before_it=len(before_it)))


UNRIPE = frozenset({HoldReason.SIGHTINGS, HoldReason.GRACE})
"""What only time and further snapshots bring."""


@frozen
class _Sweep:
    """What is the same for all orphans of one sweep."""

    account: Account
    authority: Authority
    rules: OrphanSettings
    now: datetime
    settled: bool
    fresh: bool
    allowed: int
    limit: HoldReason

    @classmethod
    def of(
        cls,
        account: Account,
        settings: Settings,
        authority: Authority,
        window: Window,
        now: datetime,
        *,
        snapshot_is_fresh: bool,
    ) -> _Sweep:
        rules = settings.orphans
        present = sum(is_present(track) for track in account.tracks.values())
        allowed, limit = blast_limit(present, window, rules)
        settled = is_settled(account.fleet, sightings=rules.sightings, grace_seconds=rules.grace, now=now)
        return cls(account, authority, rules, now, settled, snapshot_is_fresh, allowed, limit)

    def guards(self, track: Track, *, before_it: int) -> Iterator[Guard]:
        """All guards of a verdict; `before_it`: how many this sweep has destroyed before this one."""
        rules = self.rules
        yield Guard(HoldReason.SIGHTINGS, track.kind_sightings < rules.sightings)
        yield Guard(HoldReason.GRACE, self.now - track.first_seen_at < timedelta(seconds=rules.grace))
        yield from standing_guards(self.account, track, DestroyOrigin.VERDICT, self.authority, rules)
        yield Guard(HoldReason.FLEET_JUMP, not self.settled)
        yield Guard(HoldReason.STALE_SNAPSHOT, not self.fresh)
        yield Guard(self.limit, before_it >= self.allowed)


def _condemned(account: Account) -> Iterator[Track]:
    return (track for track in account.tracks.values() if track.kind is not None and is_present(track))


def _costliest_first(track: Track) -> tuple[float, str]:
    price = track.instance.price_per_hour
    return (-price if price is not None else 0.0, track.instance.id)


def _verdict_job(account: Account, track: Track, kind: OrphanKind, now: datetime) -> DestroyJob:
    instance = track.instance
    bound_to = account.bindings.get(instance.id)
    return DestroyJob(
        id=0,
        account=account.name,
        instance_id=instance.id,
        origin=DestroyOrigin.VERDICT,
        reason=f"orphan of kind {kind}",
        requested_at=now,
        next_attempt_at=now,
        session_id=bound_to.id if bound_to is not None else instance.session_id,
        kind=kind,
        tag=instance.tag,
        instance_started_at=instance.started_at,
    )


def may_send(
    account: Account, job: DestroyJob, authority: Authority, settings: OrphanSettings, now: datetime
) -> HoldReason | None:
    """The guard that holds the next request of a destroy job, None if it may be sent."""
    return first_hold(guards_of_request(account, job, authority, settings))


def guards_of_request(
    account: Account, job: DestroyJob, authority: Authority, settings: OrphanSettings
) -> Iterator[Guard]:
    """Every guard that the next request of a destroy job must pass, in order.

    Asked again before every request: a freeze, an exemption or a session that came alive since the job was recorded
    holds it. Sightings, grace and limits were reached when it was recorded.
    """
    track = account.tracks.get(job.instance_id)
    if track is None:
        track = Track(
            instance=Instance(
                account=job.account, provider="", id=job.instance_id, tag=job.tag, session_id=job.session_id
            ),
            first_seen_at=job.requested_at,
            last_seen_at=job.requested_at,
            ever_seen=False,
        )
    # The first sweeps only look; a job that an earlier run recorded had its evidence and goes on.
    yield from standing_guards(account, track, job.origin, evolve(authority, observing=0), settings)
    if job.origin is DestroyOrigin.COMMAND:
        return
    yield Guard(HoldReason.OBSERVING, _is_of_a_backup(account, job))
    # A verdict that the newest snapshots do not give any more is taken back: the twin of a duplicate may be gone since.
    yield Guard(HoldReason.LAST_LOOK, not is_present(track) or track.kind is None)


def _is_of_a_backup(account: Account, job: DestroyJob) -> bool:
    """Whether a verdict may have been called off after the backup that it came out of, and nothing was listed since that was put back."""
    if account.restored_at is None or job.requested_at >= account.restored_at:
        return False
    return not account.listed_since_restore


def confirms(account: Account, job: DestroyJob, looked: Instance | None) -> bool:
    """Whether the last look, right before the request, still shows the machine that the job means.

    `looked` is None when the provider said that there is no such instance: for a verdict that ends the matter for now; a
    command goes on as long as nothing contradicts it (a machine just created is unknown to a single read for a while).
    """
    if looked is None:
        return job.origin is DestroyOrigin.COMMAND
    if looked.id != job.instance_id:
        return False
    track = account.tracks.get(job.instance_id)
    started_at = job.instance_started_at
    if started_at is None and track is not None:
        started_at = track.instance.started_at  # it was seen only after the destroy had been recorded
    meant = Instance(account=job.account, provider="", id=job.instance_id, started_at=started_at)
    if not same_machine(meant, looked):
        return False
    bound_to = account.bindings.get(job.instance_id)
    if bound_to is not None and holds_binding(bound_to) and bound_to.id == job.session_id:
        # The id binds, whatever became of the tag.
        return True
    if looked.session_id is not None:
        return looked.session_id == job.session_id
    # A tag that a single read does not tell is the listing's to say; one that now reads otherwise is a person's edit.
    return looked.tag is None and track is not None and track.instance.tag == job.tag


def wants_proof(account: Account, settings: Settings, now: datetime) -> tuple[Track, ...]:
    """The instances that were missed often enough for a single read to prove them gone, oldest sight first.

    An id that no listing ever held may still be on its way until the deadline of its create.
    """
    rules = settings.orphans
    if not is_settled(account.fleet, sightings=rules.sightings, grace_seconds=rules.grace, now=now):
        return ()
    ripe = []
    for track in account.tracks.values():
        if track.gone_at is not None or track.absences < rules.sightings:
            continue
        if not track.ever_seen:
            bound_to = account.bindings.get(track.instance.id)
            deadline = bound_to.create_deadline_at if bound_to is not None else None
            if deadline is not None and now < deadline:
                continue
        ripe.append(track)
    return tuple(sorted(ripe, key=lambda track: (track.last_seen_at, track.instance.id)))


def settle(account: Account, gone: Sequence[str], settings: Settings, now: datetime) -> Observed:
    """What follows from instances that a single read has just proven gone, after they were missed often enough."""
    tracks = dict(account.tracks)
    for id_ in gone:
        tracks[id_] = evolve(tracks[id_], gone_at=now, kind=None, kind_sightings=0)
    present = tuple(track.instance for track in tracks.values() if is_present(track))
    seen = Snapshot(account=account.name, provider="", instances=present, started_at=now, ended_at=now, complete=False)
    sessions = dict(account.sessions)
    moving = tuple(sessions.values())
    steps, commands = _advance_sessions(account, tracks, sessions, moving, seen, settings, now)
    return Observed(
        tracks=tuple(tracks[id_] for id_ in gone),
        steps=tuple(steps),
        commands=tuple(commands),
        settled=tuple(evolve(job, gone_at=now) for id_, job in account.jobs.items() if _is_gone(tracks.get(id_))),
        fleet=account.fleet,
    )


def published_bound_seconds(
    settings: Settings, *, place: int = 1, destroy_interval: float = 3.0, listing: float = 10.0
) -> float:
    """How soon an orphan is gone with its provider healthy, by the published formula."""
    rules = settings.orphans
    return rules.grace + (rules.sightings + 1) * settings.jobs.sweep.interval + place * destroy_interval + listing


def held_reasons(orphans: Iterable[Orphan]) -> dict[HoldReason, int]:
    """How many ripe orphans each reason holds."""
    counts: dict[HoldReason, int] = {}
    for orphan in orphans:
        if orphan.phase is OrphanPhase.HELD and orphan.hold is not None:
            counts[orphan.hold] = counts.get(orphan.hold, 0) + 1
    return counts

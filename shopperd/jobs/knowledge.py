"""What the store knows of an account, read for `reconcile`, and what `reconcile` found, written back, each in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from attrs import evolve, frozen
from sqlalchemy import Connection

from shopperd.jobs.tally import Tally, tally_of
from shopperd.model import DestroyJob, Event, Fleet, Instance, MemorySpan, Session, Snapshot, Track, priced
from shopperd.reconcile import Account, Authority, Observed, observe, settle
from shopperd.rest import NO_REST
from shopperd.settings import AccountSettings, Settings
from shopperd.sightings import merged, same_machine
from shopperd.store import destroys, events, instances, memo, memory, meta, sessions

FROZEN_KEY = "frozen"
"""Where the store keeps the kill switch: ``{"reason", "at"}``, or nothing."""

RESTORED_KEY = "restored_at"
"""Where the store keeps when it was last found to have been put back from a backup."""

_REST = "rest"
"""The room for what is at rest, by account. It is written nowhere else: each look compares it with what the store tells."""


@frozen
class Recorded:
    """What a transaction wrote, and the account as it is after it, counted; `before`: when the newest complete snapshot until then
    began."""

    observed: Observed
    account: Account
    tally: Tally
    detected: tuple[Track, ...] = ()
    before: datetime | None = None


def load(
    conn: Connection, account: AccountSettings, settings: Settings, now: datetime, snapshot: Snapshot | None = None
) -> Account:
    """All that `reconcile` needs to know about an account, with what the snapshot may refer to."""
    tracks = instances.tracks(conn, account.name)
    window = timedelta(seconds=settings.sessions.resurrection_window)
    by_id: dict[UUID, Session] = {session.id: session for session in sessions.open_sessions(conn, account.name)}
    restored_at = _read_moment(conn, RESTORED_KEY)
    since = now - window
    listed_at = last_complete_at(conn, account.name)
    if restored_at is not None and (restored_at > since or listed_at is None or listed_at < restored_at):
        since = datetime.min.replace(tzinfo=UTC)  # all that were lost before it may have come back since the backup
    for session in sessions.lost_since(conn, account.name, since):
        by_id.setdefault(session.id, session)
    told = snapshot.instances if snapshot is not None else ()
    wanted = [session.instance_id for session in by_id.values() if session.instance_id is not None]
    wanted.extend(instance.id for instance in told)
    if gone := instances.some(conn, account.name, [id_ for id_ in wanted if id_ not in tracks]):
        tracks = {**tracks, **gone}
    jobs = {job.instance_id: job for job in destroys.open_jobs(conn, account.name)}
    named = {track.instance.session_id: None for track in tracks.values()}
    named.update((job.session_id, None) for job in jobs.values())
    named.update((instance.session_id, None) for instance in told)
    by_id.update(sessions.known(conn, [id_ for id_ in named if id_ is not None and id_ not in by_id]))
    untagged = {track.instance.id: None for track in tracks.values() if track.instance.session_id is None}
    untagged.update((instance.id, None) for instance in told if instance.session_id is None)
    for session in sessions.bound(conn, account.name, list(untagged)).values():
        by_id.setdefault(session.id, session)
    return Account(
        name=account.name,
        exclusive=account.exclusive,
        sessions=by_id,
        tracks=tracks,
        jobs=jobs,
        fleet=_read_fleet(conn, account.name),
        spans=_spans(conn, account.name),
        restored_at=restored_at,
        last_complete_at=listed_at,
        missed_since=_missed_since(conn, account.name, settings.orphans.sightings),
        rest=memo.room(conn, _REST).get(account.name, NO_REST),
    )


def record_snapshot(
    conn: Connection, account: AccountSettings, settings: Settings, snapshot: Snapshot, now: datetime
) -> Recorded:
    """Count a snapshot into the store: tracks, sessions, destroy jobs, fleet, events."""
    correct_restored_at(conn, now)
    before = load(conn, account, settings, now, snapshot)
    observed = observe(before, snapshot, settings, now)
    if snapshot.complete:
        _note_complete(conn, account.name, snapshot.started_at, settings.orphans.sightings)
    memo.room(conn, _REST)[account.name] = observed.rest
    return _write(conn, account, settings, before, observed, now)


def record_gone(
    conn: Connection, account: AccountSettings, settings: Settings, gone: Sequence[str], now: datetime
) -> Recorded:
    """Record instances that a single read has proven gone, unless something saw them again meanwhile."""
    before = load(conn, account, settings, now)
    enough = settings.orphans.sightings
    sure = [
        id_ for id_ in gone if (track := before.tracks.get(id_)) and track.gone_at is None and track.absences >= enough
    ]
    observed = settle(before, sure, settings, now)
    return _write(conn, account, settings, before, observed, now)


def recognise(conn: Connection, account: str, key: str, snapshot: Snapshot, now: datetime) -> bool:
    """Whether what a key shows is the account that is known: one of its machines that are not proven gone is proof enough.

    Where none is known there is nothing to compare with. It is taken for the same one, whose memory begins now.
    """
    before = meta.get(conn, _recognised_key(account))
    if before == key:
        return True
    if before is not None:
        known = instances.tracks(conn, account)
        if known and not any(instance.id in known for instance in snapshot.instances):
            return False
        if not known:
            meta.put(conn, _watched_key(account), now.isoformat())
        append(conn, now, "account.recognised", "with other credentials, or at another address", account)
    meta.put(conn, _recognised_key(account), key)
    return True


def trust(conn: Connection, account: str, key: str, reason: str, now: datetime) -> None:
    """Take what a key shows for this account from now on, whatever was known before."""
    meta.put(conn, _recognised_key(account), key)
    meta.put(conn, _watched_key(account), now.isoformat())
    append(conn, now, "account.trusted", reason, account)


def record_first_sight(conn: Connection, account: str, looked: Instance, now: datetime) -> None:
    """Note that a single read showed an instance that no listing has held yet: it was seen once, and may be missed from now."""
    current, looked = instances.get(conn, account, looked.id), priced(looked)
    if current is None or current.ever_seen or current.gone_at is not None:
        return
    seen = evolve(
        current,
        instance=merged(current.instance, evolve(looked, ownership=current.instance.ownership)),
        first_seen_at=now,
        last_seen_at=now,
        absences=0,
        ever_seen=True,
    )
    instances.save(conn, account, [seen])


def record_contradiction(conn: Connection, account: str, looked: Instance, now: datetime) -> None:
    """Note that a single read shows an instance that listings miss: it is there, and its destroy has to be asked for again."""
    current = instances.get(conn, account, looked.id)
    if current is None or current.gone_at is not None or not same_machine(current.instance, looked):
        return
    instances.save(conn, account, [evolve(current, absences=0, last_seen_at=now, ever_seen=True)])
    job = destroys.for_instance(conn, account, looked.id)
    if job is not None and job.gone_at is None and job.accepted_at is not None:
        destroys.update(conn, evolve(job, accepted_at=None))
        message = f"the provider said yes, listings miss instance {looked.id}, and yet it is there"
        append(conn, now, "destroy.contradicted", message, account, job.session_id, looked.id)


def record_details(conn: Connection, account: str, looked: Instance) -> None:
    """Keep what a single read told beyond the listing (price, GPU, address)."""
    current, looked = instances.get(conn, account, looked.id), priced(looked)
    if current is None or current.gone_at is not None:
        return
    told = evolve(current, instance=_with_price(merged(looked, current.instance), looked))
    if told != current:
        instances.save(conn, account, [told])


def _with_price(machine: Instance, looked: Instance) -> Instance:
    """The machine at the price that a single read tells, which is newer than any that was known."""
    if looked.price_per_hour is None or looked.provider_state != machine.provider_state:
        return machine
    return evolve(machine, price_per_hour=looked.price_per_hour, billed_per_hour=looked.billed_per_hour)


def _write(
    conn: Connection,
    account: AccountSettings,
    settings: Settings,
    before: Account,
    observed: Observed,
    now: datetime,
) -> Recorded:
    if observed.tracks:
        instances.save(conn, account.name, observed.tracks)
    for step in observed.steps:
        sessions.update(conn, step.session)
        if step.kind:
            append(conn, now, step.kind, step.message, account.name, step.session.id, step.session.instance_id)
    for job in observed.commands:
        request_destroy(conn, job, now)
    for job in observed.settled:
        destroys.update(conn, job)
        took = (now - job.requested_at).total_seconds()
        message = f"instance {job.instance_id} is proven gone, {took:.0f} s after its destroy was recorded"
        append(conn, now, "destroy.verified", message, account.name, job.session_id, job.instance_id)
    for id_ in observed.returned:
        message = f"instance {id_} had been proven gone and is listed again"
        append(conn, now, "instance.returned", message, account.name, None, id_)
    for id_ in observed.replaced:
        message = f"the id {id_} now names another machine than before"
        append(conn, now, "instance.replaced", message, account.name, None, id_)
    detected = tuple(
        track
        for track in observed.tracks
        if track.kind is not None and track.kind_sightings == 1 and track.orphan_since == now
    )
    for track in detected:
        message = f"instance {track.instance.id} should not be: {track.kind}"
        append(conn, now, "orphan.detected", message, account.name, track.instance.session_id, track.instance.id)
    if observed.fleet != before.fleet:
        _write_fleet(conn, account.name, observed.fleet)
        if observed.fleet.jump_at == now:
            message = f"more than half of the account's instances {observed.fleet.change} at once; verdicts are held"
            append(conn, now, "fleet.jumped", message, account.name)
    after = load(conn, account, settings, now)
    return Recorded(
        observed=observed,
        account=after,
        tally=tally_of(after, settings, now),
        detected=detected,
        before=before.last_complete_at,
    )


def request_destroy(conn: Connection, job: DestroyJob, now: datetime) -> DestroyJob:
    """Record a destroy before anything is asked of the provider; an open job for the instance is kept."""
    recorded = destroys.add(conn, job)
    append(conn, now, "destroy.recorded", f"{job.origin}: {job.reason}", job.account, job.session_id, job.instance_id)
    return recorded


def with_freeze(conn: Connection, authority: Authority) -> Authority:
    """The authority to act, with the kill switch as the store has it this moment."""
    return evolve(authority, frozen=authority.frozen or bool(meta.get(conn, FROZEN_KEY)))


def append(
    conn: Connection,
    now: datetime,
    kind: str,
    message: str,
    account: str | None = None,
    session_id: UUID | None = None,
    instance_id: str | None = None,
    **data: object,
) -> Event:
    """Write one row of the audit trail."""
    event = Event(
        at=now,
        kind=kind,
        message=message,
        account=account,
        session_id=session_id,
        instance_id=instance_id,
        data=data,
    )
    return events.append(conn, event)


def _spans(conn: Connection, account: str) -> list[MemorySpan]:
    """When the store's memory was awake and had an eye on this account."""
    since, spans = _read_moment(conn, _watched_key(account)), memory.spans(conn)
    if since is None:
        return spans
    return [evolve(span, started_at=max(span.started_at, since)) for span in spans if span.last_beat_at >= since]


def _read_moment(conn: Connection, key: str) -> datetime | None:
    raw = meta.get(conn, key)
    return datetime.fromisoformat(raw) if isinstance(raw, str) else None


def correct_restored_at(conn: Connection, now: datetime) -> None:
    """A clock that was ahead noted the future. Until that is put right no deadline is known, so whoever sets one does it first."""
    restored_at = _read_moment(conn, RESTORED_KEY)
    if restored_at is not None and restored_at > now:
        meta.put(conn, RESTORED_KEY, now.isoformat())


def last_complete_at(conn: Connection, account: str) -> datetime | None:
    """When the newest complete snapshot of an account began."""
    starts = complete_starts(conn, account)
    return starts[-1] if starts else None


def _missed_since(conn: Connection, account: str, sightings: int) -> datetime | None:
    """When the oldest of so many newest complete snapshots began; None if there were fewer. One alone may have lied."""
    starts = complete_starts(conn, account)
    return starts[-sightings] if len(starts) >= sightings else None


def _note_complete(conn: Connection, account: str, started_at: datetime, sightings: int) -> None:
    starts = [*complete_starts(conn, account), started_at][-sightings:]
    meta.put(conn, _complete_key(account), [start.isoformat() for start in starts])


def complete_starts(conn: Connection, account: str) -> list[datetime]:
    """When the newest complete snapshots of an account began, oldest first."""
    raw = meta.get(conn, _complete_key(account), [])
    starts = raw if isinstance(raw, list) else [raw]  # one alone, as 0.1.0 wrote it
    return [datetime.fromisoformat(start) for start in starts if isinstance(start, str)]


def _complete_key(account: str) -> str:
    return f"complete:{account}"


def _recognised_key(account: str) -> str:
    return f"recognised:{account}"


def _watched_key(account: str) -> str:
    return f"watched:{account}"


def _fleet_key(account: str) -> str:
    return f"fleet:{account}"


def _read_fleet(conn: Connection, account: str) -> Fleet:
    raw = meta.get(conn, _fleet_key(account), None)
    if not isinstance(raw, dict):
        return Fleet()
    jump_at = raw.get("jump_at")
    return Fleet(
        jump_at=datetime.fromisoformat(jump_at) if isinstance(jump_at, str) else None,
        change=str(raw.get("change", "")),
        snapshots_since=int(raw.get("snapshots_since", 0)),
    )


def _write_fleet(conn: Connection, account: str, fleet: Fleet) -> None:
    meta.put(
        conn,
        _fleet_key(account),
        {
            "jump_at": fleet.jump_at.isoformat() if fleet.jump_at is not None else None,
            "change": fleet.change,
            "snapshots_since": fleet.snapshots_since,
        },
    )

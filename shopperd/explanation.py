"""Why an instance is there, why it is to go, and what holds that: asked of the code that decides, and put into words.

Nothing is decided in here. The verdict, the guards and their order are those of `reconcile`.
"""

from __future__ import annotations

from datetime import datetime

from attrs import frozen
from sqlalchemy import Connection

from shopperd import reasons
from shopperd.attempts import is_stuck
from shopperd.jobs.knowledge import load, with_freeze
from shopperd.jobs.sweep import bounds_of_sweep
from shopperd.model import DestroyJob, Fleet, HoldReason, OrphanPhase, Session, Track
from shopperd.reconcile import (
    UNRIPE,
    Account,
    Authority,
    Guard,
    Judgement,
    first_hold,
    guards_of_request,
    guards_of_verdict,
    holds_binding,
    verdict,
)
from shopperd.settings import AccountSettings, Settings
from shopperd.sightings import is_present, last_seen
from shopperd.store import destroys, instances


@frozen
class Explanation:
    """What is known about one instance, and what follows.

    Attributes:
        session: the one that it is bound to, else the one that its tag names.
        bound: whether it is bound by its id.
        judgement: the verdict on it as it is now; None if the newest listings do not hold it.
        phase: None if no destroy of it is wanted.
        job: its open destroy, else the one that it went by.
        guards: those that a destroy of it must pass, in order, each with whether it holds now.
        hold: the first that does.
        stuck: of its destroy, see `attempts.is_stuck`.
    """

    track: Track
    session: Session | None
    bound: bool
    last_seen_at: datetime
    judgement: Judgement | None
    phase: OrphanPhase | None
    job: DestroyJob | None
    guards: tuple[Guard, ...]
    hold: HoldReason | None
    stuck: bool
    summary: str
    would_change: str


def explain(
    conn: Connection,
    account: AccountSettings,
    settings: Settings,
    authority: Authority,
    now: datetime,
    instance_id: str,
    *,
    fresh: bool,
) -> Explanation | None:
    """Explain one instance of an account, recording nothing; None if the store never heard of it.

    `fresh`: the newest listing of the account was complete.
    """
    known = load(conn, account, settings, now)
    track = known.tracks.get(instance_id) or instances.get(conn, account.name, instance_id)
    if track is None:
        return None
    authority, window = bounds_of_sweep(conn, account, settings, with_freeze(conn, authority), now)
    bound_to = known.bindings.get(instance_id)
    bound = bound_to is not None and holds_binding(bound_to)
    judgement = verdict(known, track.instance, bound_to, known.tracks, settings, now) if is_present(track) else None
    job = known.jobs.get(instance_id) or destroys.for_instance(conn, account.name, instance_id)
    guards: tuple[Guard, ...] = ()
    if track.gone_at is None and job is not None and job.gone_at is None:
        guards = tuple(guards_of_request(known, job, authority, settings.orphans))
    elif is_present(track):
        guards = guards_of_verdict(known, track, settings, authority, window, now, snapshot_is_fresh=fresh)
    hold = first_hold(guards)
    phase = _phase(track, job, hold)
    waits_for = job.hold if hold is None and phase is OrphanPhase.DESTROYING and job is not None else hold
    return Explanation(
        track=track,
        session=bound_to if bound else _named(known, track) or bound_to,
        bound=bound,
        last_seen_at=last_seen(track, known.last_complete_at),
        judgement=judgement,
        phase=phase,
        job=job,
        guards=guards,
        hold=waits_for,
        stuck=job is not None and is_stuck(job, settings.destroys, now),
        summary=_summary(track, judgement, phase, job, waits_for),
        would_change=_would_change(track, judgement, phase, waits_for, known.fleet) + _others(guards, waits_for),
    )


def _named(known: Account, track: Track) -> Session | None:
    return None if track.instance.session_id is None else known.sessions.get(track.instance.session_id)


def _phase(track: Track, job: DestroyJob | None, hold: HoldReason | None) -> OrphanPhase | None:
    if track.gone_at is not None:
        return None
    if job is not None and job.gone_at is None:
        return OrphanPhase.DESTROYING
    if track.kind is None or not is_present(track):
        return None
    if hold is None:
        return OrphanPhase.DESTROYING
    return OrphanPhase.SUSPECTED if hold in UNRIPE else OrphanPhase.HELD


def _summary(
    track: Track,
    judgement: Judgement | None,
    phase: OrphanPhase | None,
    job: DestroyJob | None,
    hold: HoldReason | None,
) -> str:
    if track.gone_at is not None:
        by = f", after a destroy by {job.origin} ({job.reason})" if job is not None else ""
        return f"it is proven gone{by}"
    if phase is OrphanPhase.DESTROYING and job is not None and job.gone_at is None:
        waits = f"; the next request waits: {reasons.HOLDS[hold].hold}" if hold is not None else ""
        return f"it is being destroyed by {job.origin} ({job.reason}), {job.attempts} requests so far{waits}"
    if judgement is None:
        return "the newest complete listing does not hold it; it counts as gone when that is proven"
    if judgement.kind is None:
        return f"it stays: {judgement.because}"
    condemned = f"it should not be ({judgement.kind}): {judgement.because}"
    if track.kind is not judgement.kind:
        return f"{condemned}; the next listing counts that for the first time"
    if hold is None:
        return f"{condemned}; the next sweep records its destroy"
    return f"{condemned}; held: {reasons.HOLDS[hold].hold}"


def _would_change(
    track: Track, judgement: Judgement | None, phase: OrphanPhase | None, hold: HoldReason | None, fleet: Fleet
) -> str:
    if track.gone_at is not None:
        return "nothing: it is gone. If it is listed again, it is looked at anew"
    if hold is not None and (phase is not None or (judgement is not None and judgement.kind is not None)):
        more = f" (the fleet {fleet.change} at {fleet.jump_at:%H:%M:%S} UTC)" if _jumped(hold, fleet) else ""
        return reasons.HOLDS[hold].remedy + more
    if phase is OrphanPhase.DESTROYING or (judgement is not None and judgement.kind is not None):
        return "`shopperd instances adopt` or `exempt` before its destroy is sent, or `shopperd freeze`"
    if judgement is None:
        return "a listing that holds it again, or a single read in which the marketplace says that it is gone"
    return "a verdict, which nothing gives it now; or a command, if it is ours: `shopperd instances destroy`"


def _others(guards: tuple[Guard, ...], first: HoldReason | None) -> str:
    """The guards behind the first that would hold it then."""
    others = [str(guard.reason) for guard in guards if guard.holds and guard.reason is not first]
    return f"; then {' and '.join(others)} would still hold it" if first is not None and others else ""


def _jumped(hold: HoldReason, fleet: Fleet) -> bool:
    return hold is HoldReason.FLEET_JUMP and fleet.jump_at is not None

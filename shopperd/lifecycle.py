"""The session state machine: which state may follow which, and what a snapshot moves.

Pure. Nothing in here destroys or creates; it only says what a session is now. `reconcile` decides what that means for
instances.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from attrs import evolve, frozen

from shopperd.model import (
    CreateOutcome,
    Instance,
    InstanceState,
    Session,
    SessionState,
    Snapshot,
    Track,
)
from shopperd.settings import SessionSettings
from shopperd.sightings import is_present

REASON_EXPIRED = "expired"
"""The reason of a session that ended by its deadline: its instance goes by verdict, not by command."""

REASON_REPLACED = "its id names another machine now"
"""The reason of a session that was lost to a re-used id: the bare id must never give it that machine."""

LATE_ANSWER = "its create was answered when it was over"
"""The reason of a session that is ending once more, because of what it rented after all."""

_S = SessionState

FOLLOWS: Mapping[SessionState, frozenset[SessionState]] = {
    _S.EXPECTED: frozenset({_S.STARTING, _S.RUNNING, _S.STOPPED, _S.ENDING, _S.ENDED}),
    _S.CREATING: frozenset({_S.STARTING, _S.RUNNING, _S.STOPPED, _S.ENDING, _S.ENDED, _S.FAILED}),
    _S.STARTING: frozenset({_S.RUNNING, _S.STOPPED, _S.ENDING, _S.LOST}),
    _S.RUNNING: frozenset({_S.STARTING, _S.STOPPED, _S.ENDING, _S.LOST}),
    _S.STOPPED: frozenset({_S.STARTING, _S.RUNNING, _S.ENDING, _S.LOST}),
    # An instance that is on its way out can only be proven gone.
    _S.ENDING: frozenset({_S.ENDED}),
    # A lost one can come back, or be given up.
    _S.LOST: frozenset({_S.STARTING, _S.RUNNING, _S.STOPPED, _S.ENDED}),
    # Only by a create that is answered when its session is over already.
    _S.ENDED: frozenset({_S.ENDING}),
    _S.FAILED: frozenset({_S.ENDING}),
}

_BY_INSTANCE = {
    InstanceState.STARTING: _S.STARTING,
    InstanceState.RUNNING: _S.RUNNING,
    InstanceState.STOPPED: _S.STOPPED,
}


class IllegalTransition(ValueError):
    """A session was to go where it cannot; the text names both states."""


def moved(session: Session, state: SessionState, now: datetime, *, reason: str | None = None) -> Session:
    """The session in its next state.

    Raises:
        IllegalTransition: the state machine has no such arrow.
    """
    if state is session.state:
        return session
    if state not in FOLLOWS[session.state]:
        raise IllegalTransition(f"session {session.id} is {session.state} and cannot become {state}")
    over = state in (_S.ENDED, _S.FAILED, _S.LOST)
    return evolve(
        session,
        state=state,
        state_since=now,
        ended_at=now if over else None,
        reason=reason if reason is not None else session.reason,
    )


def knows_deadline(session: Session, restored_at: datetime | None) -> bool:
    """Whether a session's deadline is sure to be its last one. A store put back from a backup may have missed an extension."""
    if restored_at is None or session.expires_at is None:
        return True
    return (session.deadline_set_at or session.created_at) >= restored_at


def is_expired(session: Session, settings: SessionSettings, now: datetime, *, deadline_is_known: bool = True) -> bool:
    """Whether a session is past its own deadline or the longest life that the settings allow."""
    if deadline_is_known and session.expires_at is not None and now >= session.expires_at:
        return True
    longest = settings.max_lifetime
    return longest > 0 and now >= session.created_at + timedelta(seconds=longest)


def may_come_back(
    session: Session, settings: SessionSettings, now: datetime, restored_at: datetime | None = None
) -> bool:
    """Whether a lost session still takes its instance back.

    A store put back from a backup does not know whether it has come back since: the time counts anew from `restored_at`.
    """
    if session.state is not _S.LOST or session.ended_at is None:
        return False
    since = session.ended_at if restored_at is None else max(session.ended_at, restored_at)
    return now < since + timedelta(seconds=settings.resurrection_window)


def bound(session: Session, instance: Instance, now: datetime) -> Session:
    """The session, bound to an instance and in the state that the instance is in; an unknown one changes no state."""
    bound_before = session.instance_id is not None and session.state.live
    state = _BY_INSTANCE.get(instance.state, session.state if bound_before else _S.STARTING)
    tied = evolve(
        session,
        instance_id=instance.id,
        gpu=instance.gpu or session.gpu,
        gpu_count=instance.gpu_count or session.gpu_count,
        price_per_hour=session.price_per_hour if instance.price_per_hour is None else instance.price_per_hour,
        create_outcome=CreateOutcome.ACCEPTED
        if session.create_outcome is not CreateOutcome.NONE
        else session.create_outcome,
    )
    if session.state is _S.ENDING:
        return tied
    return moved(tied, state, now)


def revived(session: Session, instance_id: str, now: datetime) -> Session:
    """A session that was over, bound to what its create has rented after all, which goes before it is over again."""
    return moved(evolve(session, instance_id=instance_id), _S.ENDING, now, reason=LATE_ANSWER)


def best_claimant(instances: Iterable[Instance]) -> Instance | None:
    """Of several instances with one unbound session's tag, the one to bind: one that runs, then the oldest."""

    def rank(instance: Instance) -> tuple[bool, bool, float, str]:
        started = instance.started_at
        return (
            instance.state is not InstanceState.RUNNING,
            started is None,
            started.timestamp() if started is not None else 0.0,
            instance.id,
        )

    return min(instances, key=rank, default=None)


@frozen
class Step:
    """What a snapshot moved: the session as it is now, and why, as ``noun.verb`` and a sentence.

    `kind` is "" for a change that is no news, such as a new price; `was` is the state before.
    """

    session: Session
    kind: str
    message: str
    was: SessionState | None = None


def advance(
    session: Session,
    tracks: Mapping[str, Track],
    tagged: Iterable[Instance],
    snapshot: Snapshot,
    settings: SessionSettings,
    now: datetime,
    *,
    deadline_is_known: bool = True,
    replaced: bool = False,
    restored_at: datetime | None = None,
) -> Step | None:
    """Where a snapshot moves a session, None if it stays.

    Args:
        deadline_is_known: see `knows_deadline`; without it the session is not ended by its own deadline.
        tracks: the account's instances, with this snapshot counted in.
        tagged: those instances of the snapshot that carry this session's tag and that no other session is bound to.
        restored_at: see `may_come_back`.
        replaced: the id that it is bound to names another machine in this snapshot; `tracks` holds the former one, as gone.
    """
    if session.state in (_S.ENDED, _S.FAILED):
        return None
    if _waits_for_the_clock(session, settings, now):
        # The clock has been put back since it was asked for; the deadline of its create must not wait until it catches up.
        deadline = now + timedelta(seconds=settings.create_deadline)
        return Step(evolve(session, create_deadline_at=deadline), "", "")
    if session.state is _S.LOST:
        return _come_back(session, tracks, tagged, settings, now, replaced=replaced, restored_at=restored_at)
    if session.state is _S.ENDING:
        return _finish(session, tracks, tagged, snapshot, now)
    if is_expired(session, settings, now, deadline_is_known=deadline_is_known):
        if session.instance_id is None and not session.create_open:
            ended = moved(session, _S.ENDED, now, reason=REASON_EXPIRED)
            return Step(ended, "session.ended", "its deadline passed before an instance was seen")
        return Step(moved(session, _S.ENDING, now, reason=REASON_EXPIRED), "session.expired", "its deadline passed")
    if session.instance_id is None:
        return _find(session, tagged, snapshot, now)
    return _follow(session, tracks, tagged, now, replaced=replaced)


def _waits_for_the_clock(session: Session, settings: SessionSettings, now: datetime) -> bool:
    latest = now + timedelta(seconds=settings.create_deadline)
    return session.created_at > now and session.create_deadline_at is not None and session.create_deadline_at > latest


def _find(session: Session, tagged: Iterable[Instance], snapshot: Snapshot, now: datetime) -> Step | None:
    found = best_claimant(tagged)
    if found is not None:
        return Step(bound(session, found, now), "session.bound", f"instance {found.id} carries its tag")
    if session.state is not _S.CREATING or session.create_deadline_at is None:
        return None
    if now < session.create_deadline_at:
        return None
    if session.create_outcome is CreateOutcome.NONE:
        failed = moved(session, _S.FAILED, now, reason="the create was never requested before its deadline")
        return Step(failed, "session.failed", failed.reason or "")
    if snapshot.complete and snapshot.started_at >= session.create_deadline_at:
        failed = moved(
            session, _S.FAILED, now, reason="the create had no clear answer and no instance with its tag appeared"
        )
        return Step(failed, "session.failed", failed.reason or "")
    return None


def _follow(
    session: Session, tracks: Mapping[str, Track], tagged: Iterable[Instance], now: datetime, *, replaced: bool
) -> Step | None:
    track = tracks.get(session.instance_id or "")
    if track is None:
        return None
    if track.gone_at is not None:
        other = best_claimant(tagged)
        if other is not None:
            return Step(
                bound(session, other, now),
                "session.rebound",
                f"instance {session.instance_id} is gone and {other.id} carries its tag",
            )
        return Step(
            moved(session, _S.LOST, now, reason=REASON_REPLACED if replaced else "its instance is gone"),
            "session.lost",
            f"the id {session.instance_id} names another machine now"
            if replaced
            else f"instance {session.instance_id} is proven gone",
        )
    if not is_present(track) or _shows(session, track.instance):
        return None
    after = bound(session, track.instance, now)
    if after == session:
        return None
    if after.state is session.state:
        return Step(after, "", "")
    return Step(after, f"session.{after.state}", f"instance {session.instance_id} is {after.state}")


def _shows(session: Session, instance: Instance) -> bool:
    """Whether a bound session tells all that its instance does, as nearly all do nearly always."""
    return (
        _BY_INSTANCE.get(instance.state, session.state) is session.state
        and instance.price_per_hour in (None, session.price_per_hour)
        and instance.gpu in (None, session.gpu)
        and instance.gpu_count in (None, session.gpu_count)
        and session.create_outcome in (CreateOutcome.NONE, CreateOutcome.ACCEPTED)
    )


def _finish(
    session: Session, tracks: Mapping[str, Track], tagged: Iterable[Instance], snapshot: Snapshot, now: datetime
) -> Step | None:
    if session.instance_id is not None:
        track = tracks.get(session.instance_id)
        if track is None or track.gone_at is None:
            return None
        return Step(moved(session, _S.ENDED, now), "session.ended", f"instance {session.instance_id} is proven gone")
    found = best_claimant(tagged)
    if found is not None and session.create_open:
        return Step(bound(session, found, now), "session.bound", f"instance {found.id} carries its tag, and goes")
    deadline = session.create_deadline_at
    looked = deadline is None or (snapshot.complete and snapshot.started_at >= deadline)
    if session.create_open and not looked:
        return None
    return Step(moved(session, _S.ENDED, now), "session.ended", "it never had an instance")


def _come_back(
    session: Session,
    tracks: Mapping[str, Track],
    tagged: Iterable[Instance],
    settings: SessionSettings,
    now: datetime,
    *,
    replaced: bool,
    restored_at: datetime | None,
) -> Step | None:
    if session.ended_at is not None and session.ended_at > now:
        # The clock has been put back since; the time in which it may come back must not last until it catches up.
        return Step(evolve(session, ended_at=now), "", "")
    if not may_come_back(session, settings, now, restored_at):
        return None
    replaced = replaced or session.reason == REASON_REPLACED
    own = tracks.get(session.instance_id or "")
    returned = own is not None and is_present(own) and own.instance.tag in (None, session.tag)
    back = own.instance if own is not None and returned and not replaced else best_claimant(tagged)
    if back is None:
        return (
            Step(evolve(session, reason=REASON_REPLACED), "", "")
            if replaced and session.reason != REASON_REPLACED
            else None
        )
    return Step(bound(session, back, now), "session.returned", f"instance {back.id} is back")

"""What people and tools decide, written down: one transaction each, with its row in the audit trail.

What a decision is against is said by what it raises, and nothing is written then.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import evolve, frozen
from sqlalchemy import Connection

from shopperd.jobs.context import AccountAtWork
from shopperd.jobs.knowledge import FROZEN_KEY, append, correct_restored_at, load, request_destroy
from shopperd.lifecycle import bound, moved
from shopperd.model import (
    DestroyJob,
    DestroyOrigin,
    Instance,
    Ownership,
    Session,
    SessionState,
    Spec,
    Track,
    tag_of,
)
from shopperd.reconcile import claim_on, command_for, holds_binding
from shopperd.settings import AccountSettings, Settings
from shopperd.store import destroys, instances, meta, sessions


class RequestError(Exception):
    """A request that cannot be done. The text says what is wrong and what would help."""


class NotFound(RequestError):
    """There is no such session, instance, account or job."""


class Invalid(RequestError):
    """The request makes no sense as it is."""


class Conflicting(RequestError):
    """It would make sense, but not now: the state of things is against it."""


class OverBudget(Conflicting):
    """The account would cost more by the hour than it may."""


@frozen
class Made:
    """A session that was made, or found again under its idempotency key."""

    session: Session
    again: bool = False


@frozen
class Adoption:
    """How an instance is to be adopted. `session_id` None: by the session that its tag names, or by a new one."""

    reason: str
    session_id: UUID | None
    expires_at: datetime | None
    keeps_deadline: bool


def insert(
    conn: Connection, session: Session, now: datetime, key: str | None, fingerprint: str, budget_per_hour: float
) -> Made:
    """Note the intent to rent a machine, or find the session that was made with this idempotency key.

    Args:
        budget_per_hour: what the account may cost, USD per hour; 0.0 sets no limit.

    Raises:
        Conflicting: frozen, over budget, or the key was used for something else.
    """
    if key is not None:
        known = sessions.by_key(conn, key)
        if known is not None:
            found = sessions.get(conn, known[0])
            if known[1] != fingerprint or found is None:
                raise Conflicting(f"the idempotency key {key[:64]!r} was used for another request")
            return Made(found, again=True)
    if meta.get(conn, FROZEN_KEY):
        raise Conflicting("the deployment is frozen: nothing is created until `shopperd unfreeze`")
    if budget_per_hour > 0:
        _check_budget(conn, session, budget_per_hour)
    correct_restored_at(conn, now)
    sessions.insert(conn, session)
    if key is not None:
        sessions.remember_key(conn, key, fingerprint, session.id, now)
    append(conn, now, "session.created", f"asked for offer {session.offer_id}", session.account, session.id)
    return Made(session)


def _check_budget(conn: Connection, session: Session, budget_per_hour: float) -> None:
    """Everything that is billed or on its way counts, at the worse of two prices."""
    billed = {
        id_: track.instance.price_per_hour or 0.0 for id_, track in instances.tracks(conn, session.account).items()
    }
    coming = 0.0
    for other in sessions.open_sessions(conn, session.account):
        price = other.price_per_hour or 0.0
        if other.instance_id in billed:
            billed[other.instance_id] = max(billed[other.instance_id], price)
        else:
            coming += price
    total = sum(billed.values()) + coming + (session.price_per_hour or 0.0)
    if total > budget_per_hour + 1e-9:
        raise OverBudget(
            f"account {session.account} would cost {total:.3f} USD per hour, over its budget of {budget_per_hour:.3f}"
        )


def register(conn: Connection, session: Session, now: datetime) -> None:
    """Expect a machine that another tool rents.

    Raises:
        Conflicting: the id is taken.
    """
    if sessions.known(conn, [session.id]):
        raise Conflicting(f"session {session.id} exists already")
    correct_restored_at(conn, now)
    sessions.insert(conn, session)
    append(conn, now, "session.registered", f"expects an instance named {session.tag}", session.account, session.id)


def _get(conn: Connection, session_id: UUID) -> Session:
    session = sessions.get(conn, session_id)
    if session is None:
        raise NotFound(f"there is no session {session_id}")
    return session


def end(conn: Connection, session_id: UUID, reason: str, now: datetime) -> Session:
    """End a session, and note the destroy of its machine. Ending twice is once.

    Raises:
        NotFound: no such session.
    """
    session = _get(conn, session_id)
    if session.state in (SessionState.ENDED, SessionState.FAILED):
        return session
    if session.state is SessionState.LOST:
        ended = sessions.update(conn, moved(session, SessionState.ENDED, now, reason=reason))
        append(conn, now, "session.ended", reason, session.account, session.id, session.instance_id)
        return ended
    if session.state is SessionState.ENDING:
        # An expired one waits for a verdict; being asked for by name is enough to go at once.
        ending = sessions.update(conn, evolve(session, reason=reason))
    elif session.instance_id is None and not session.create_open:
        ended = sessions.update(conn, moved(session, SessionState.ENDED, now, reason=reason))
        append(conn, now, "session.ended", f"{reason}; it never had an instance", session.account, session.id)
        return ended
    else:
        ending = sessions.update(conn, moved(session, SessionState.ENDING, now, reason=reason))
    append(conn, now, "session.ending", reason, session.account, session.id, session.instance_id)
    if ending.instance_id is not None:
        track = instances.get(conn, ending.account, ending.instance_id)
        request_destroy(conn, command_for(ending, track, now), now)
    return ending


def extend(conn: Connection, session_id: UUID, deadline: datetime | None, now: datetime) -> Session:
    """Move a session's deadline; None takes it away.

    Raises:
        NotFound: no such session.
        Conflicting: it is over or ending, or the deadline has passed.
    """
    session = _get(conn, session_id)
    if not session.state.live:
        raise Conflicting(f"session {session_id} is {session.state}; only a live one can be extended")
    if deadline is not None and deadline <= now:
        raise Conflicting("the new deadline has passed already; use `end` to end a session now")
    correct_restored_at(conn, now)
    extended = sessions.update(conn, evolve(session, expires_at=deadline, deadline_set_at=now))
    text = f"until {deadline.isoformat()}" if deadline is not None else "without a deadline"
    append(conn, now, "session.extended", text, session.account, session.id, session.instance_id)
    return extended


def destroy(
    conn: Connection, account: AccountSettings, settings: Settings, instance_id: str, reason: str, now: datetime
) -> DestroyJob:
    """Note the destroy of one machine of ours, ending its session first.

    Raises:
        NotFound: no such machine.
        Conflicting: it is foreign, or exempt.
    """
    track = instances.get(conn, account.name, instance_id)
    if track is None or track.gone_at is not None:
        raise NotFound(f"account {account.name} has no instance {instance_id!r} now")
    known = load(conn, account, settings, now)
    bound_to = known.bindings.get(instance_id)
    if bound_to is not None and not holds_binding(bound_to):
        bound_to = None
    if bound_to is None and track.instance.session_id is None:
        raise Conflicting(f"instance {instance_id} is foreign: its tag is not ours, so shopperd never touches it")
    claim = bound_to
    if claim is None and track.instance.session_id is not None:
        claim = known.sessions.get(track.instance.session_id)
    if track.exempt or (claim is not None and claim.exempt):
        raise Conflicting(f"instance {instance_id} is exempt; end that first with unexempt")
    if claim is not None and claim.account != account.name:
        claim = None  # its tag is a copy: the session is at home elsewhere, and has nothing to do with this machine
    if claim is not None and claim.instance_id in (None, instance_id) and claim.state.live:
        end(conn, claim.id, reason, now)
        job = destroys.for_instance(conn, account.name, instance_id)
        if job is not None and job.gone_at is None:
            return job
    return request_destroy(conn, _by_hand(track.instance, bound_to, reason, now), now)


def _by_hand(instance: Instance, bound_to: Session | None, reason: str, now: datetime) -> DestroyJob:
    return DestroyJob(
        id=0,
        account=instance.account,
        instance_id=instance.id,
        origin=DestroyOrigin.COMMAND,
        reason=reason,
        requested_at=now,
        next_attempt_at=now,
        session_id=instance.session_id if bound_to is None else bound_to.id,
        tag=instance.tag,
        instance_started_at=instance.started_at,
    )


def adopt(
    conn: Connection,
    account: AccountAtWork,
    settings: Settings,
    instance_id: str,
    adoption: Adoption,
    new_id: UUID,
    now: datetime,
) -> Session:
    """Give a machine with our tag to a session: the one that waits for it, or a new one with the id `new_id`.

    Raises:
        NotFound: no such machine.
        Conflicting: it is foreign, claimed by another session, on its way out, or that session cannot take it.
    """
    track = instances.get(conn, account.name, instance_id)
    if track is None or track.gone_at is not None:
        raise NotFound(f"account {account.name} has no instance {instance_id!r} now")
    known = load(conn, account.settings, settings, now)
    bound_to = known.bindings.get(instance_id)
    if bound_to is not None and holds_binding(bound_to):
        if bound_to.state.live and adoption.session_id in (None, bound_to.id):
            return bound_to
        raise Conflicting(f"instance {instance_id} belongs to session {bound_to.id}, which is {bound_to.state}")
    if track.instance.session_id is None:
        raise Conflicting(
            f"instance {instance_id} is foreign: its tag is not ours, so shopperd never touches it; `shopperd sessions register` "
            "makes a session, and gives the tag that a machine must carry to be taken for its own"
        )
    tagged = known.sessions.get(track.instance.session_id)
    if tagged is not None and tagged.account == account.name and claim_on(track.instance, tagged, None) is not None:
        # It will be bound to the instance sooner or later: two sessions with one machine end each other's.
        takes_it = _waits_for_a_machine(tagged) and adoption.session_id in (None, tagged.id)
        if not takes_it:
            raise Conflicting(
                f"session {tagged.id}, which is {tagged.state}, claims instance {instance_id} by its tag and takes it by itself"
            )
    job = destroys.for_instance(conn, account.name, instance_id)
    if job is not None and job.gone_at is None:
        raise Conflicting(
            f"a destroy of instance {instance_id} is recorded already; `exempt` holds it, if it is not too late"
        )
    correct_restored_at(conn, now)
    session = _adopter(conn, account, settings, track, adoption, new_id, now)
    message = f"instance {instance_id} is adopted by session {session.id}: {adoption.reason}"
    append(conn, now, "instance.adopted", message, account.name, session.id, instance_id)
    theirs = evolve(track.instance, ownership=Ownership.OURS)
    instances.save(conn, account.name, [evolve(track, instance=theirs, kind=None, kind_sightings=0, orphan_since=None)])
    return session


def _adopter(
    conn: Connection,
    account: AccountAtWork,
    settings: Settings,
    track: Track,
    adoption: Adoption,
    new_id: UUID,
    now: datetime,
) -> Session:
    """The session that takes the instance, written: one that waits for its machine, or a new one."""
    asked = adoption.session_id
    by_tag = track.instance.session_id
    found = {} if by_tag is None and asked is None else sessions.known(conn, [id_ for id_ in (asked, by_tag) if id_])
    named = found.get(asked or by_tag or new_id)
    if named is not None and named.account == account.name and _waits_for_a_machine(named):
        tied = bound(named, track.instance, now)
        return sessions.update(
            conn,
            tied if adoption.keeps_deadline else evolve(tied, expires_at=adoption.expires_at, deadline_set_at=now),
        )
    if asked is not None and named is not None:
        raise Conflicting(
            f"session {asked} is {named.state} in account {named.account} and cannot take a machine of {account.name}"
        )
    id_ = asked or (by_tag if by_tag is not None and by_tag not in found else new_id)
    session = Session(
        id=id_,
        account=account.name,
        provider=account.provider_name,
        state=SessionState.EXPECTED,
        tag=tag_of(id_, settings.deployment),
        created_at=now,
        spec=Spec(),
        expires_at=adoption.expires_at,
        state_since=now,
    )
    sessions.insert(conn, session)
    return sessions.update(conn, bound(session, track.instance, now))


def _waits_for_a_machine(session: Session) -> bool:
    """Whether a session has no machine and none on its way: registered and not seen yet, or lost."""
    return session.state in (SessionState.EXPECTED, SessionState.LOST)


def exempt(conn: Connection, account: str, instance_id: str, reason: str, is_exempt: bool, now: datetime) -> None:
    """Protect a machine from every destroy, or end that.

    Raises:
        NotFound: no such machine.
    """
    if not instances.set_exempt(conn, account, instance_id, is_exempt):
        raise NotFound(f"account {account} has no instance {instance_id!r}")
    kind = "instance.exempted" if is_exempt else "instance.unexempted"
    append(conn, now, kind, reason, account, None, instance_id)


def freeze(conn: Connection, reason: str, now: datetime) -> None:
    """Throw the kill switch."""
    meta.put(conn, FROZEN_KEY, {"reason": reason, "at": now.isoformat()})
    append(conn, now, "deployment.frozen", reason)


def unfreeze(conn: Connection, reason: str, now: datetime) -> None:
    """Let destroys and creates go on."""
    meta.remove(conn, FROZEN_KEY)
    append(conn, now, "deployment.unfrozen", reason)

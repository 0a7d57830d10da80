"""Counts what machines cost, after each complete snapshot was recorded.

In a transaction of its own: whatever goes wrong with money must not keep a snapshot from being recorded, and the next look
makes up for one that was left out. A machine that costs what it did before costs no write.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import datetime, timedelta
from uuid import UUID

from attrs import evolve, frozen
from sqlalchemy import Connection

from shopperd import costs
from shopperd.costs import BLIND_SECONDS, End, Look
from shopperd.jobs.context import AccountAtWork, Context, log
from shopperd.jobs.knowledge import Recorded, complete_starts, last_complete_at
from shopperd.model import Charge, CreateOutcome, Instance, InstanceState, Track, priced
from shopperd.reconcile import Account
from shopperd.sightings import is_present
from shopperd.store import StoreError, charges, destroys, instances, meta

TURN_TIME = timedelta(days=7)
"""A price that is read alone comes soon after a turn; what is older than that is not counted anew."""


@frozen
class Counted:
    """What a look added.

    Attributes:
        usd: since the look before. Below zero where that one had counted a machine for too long.
        leaked_usd: what of it went into orphans since they were first seen to be some, except those that somebody exempted.
        per_hour: USD that the present machines are billed now; `unpriced`: how many of them have no known price.
        unreadable: what is wrong with charges that cannot be read.
        missed: until when the machines are counted that are billed and not there.
    """

    usd: float
    leaked_usd: float
    per_hour: float
    unpriced: int
    unreadable: Set[str]
    missed: Mapping[str, datetime]


async def count_costs(context: Context, account: AccountAtWork, recorded: Recorded) -> None:
    """Count what the machines of an account have cost since the look before. A failure is told, and costs nothing else."""
    status = context.settings.jobs.status
    blind_seconds = max(BLIND_SECONDS, 3 * status.interval)
    before = account.uncounted_since or recorded.before
    replaced = frozenset(recorded.observed.replaced)
    try:
        counted = await context.store.run(
            record_costs, recorded.account, before, replaced, account.missed, blind_seconds
        )
    except StoreError:
        account.uncounted_since = before
        return  # it is told by whatever else needs the store
    except Exception:
        account.uncounted_since = before
        log.exception("costs.crashed")
        return
    account.uncounted_since = None
    if counted is None:
        return
    account.missed = counted.missed
    # A counter cannot go back, so what was counted too much is taken off what comes.
    account.uncounted_usd += counted.usd
    if account.uncounted_usd > 0:
        context.metrics.spent_usd_total.labels(**account.labels).inc(account.uncounted_usd)
        account.uncounted_usd = 0.0
    account.uncounted_leaked_usd += counted.leaked_usd
    if account.uncounted_leaked_usd > 0:
        context.metrics.leaked_usd_total.labels(**account.labels).inc(account.uncounted_leaked_usd)
        account.leaked_usd += account.uncounted_leaked_usd
        account.uncounted_leaked_usd = 0.0
    account.billed_per_hour = counted.per_hour
    for detail in counted.unreadable - account.unreadable_charges:
        log.error("charge.unreadable", detail=f"{detail}; it is left out of what is told of costs")
    account.unreadable_charges = counted.unreadable
    context.metrics.unreadable_charges.labels(**account.labels).set(len(counted.unreadable))
    context.metrics.billed_usd_per_hour.labels(**account.labels).set(counted.per_hour)
    context.metrics.unpriced_instances.labels(**account.labels).set(counted.unpriced)


async def count_turn(context: Context, account: AccountAtWork, read: Instance) -> None:
    """Count a machine at the price that a single read tells of its present state, since it has turned to that. Failures cost no more."""
    try:
        added = await context.store.run(record_turn, account.name, read)
    except StoreError:
        return
    except Exception:
        log.exception("costs.crashed")
    else:
        account.uncounted_usd += added


def record_turn(conn: Connection, account: str, read: Instance) -> float:
    """See `count_turn`; USD that this adds to what was counted, mostly below zero."""
    charge, looked_at = charges.going_on(conn, account).get(read.id), last_complete_at(conn, account)
    rate = priced(read).rate_per_hour
    if charge is None or looked_at is None or rate is None or charge.usd_per_hour in (None, rate):
        return 0.0
    turn = [charge]
    for older in reversed(charges.over_of_instances(conn, account, [read.id], charge.started_at - TURN_TIME)):
        if older.ended_at != turn[-1].started_at or _terms(older) != _terms(charge):
            break
        turn.append(older)
    after = [evolve(one, usd_per_hour=rate) for one in turn]
    charges.save(conn, account, after)
    return sum(one.usd(one.started_at, looked_at) for one in after) - sum(
        one.usd(one.started_at, looked_at) for one in turn
    )


def record_costs(
    conn: Connection,
    known: Account,
    before: datetime | None,
    replaced: frozenset[str],
    missed: Mapping[str, datetime],
    blind_seconds: float = BLIND_SECONDS,
) -> Counted | None:
    """Bring the charges of an account in line with its machines. None if there is no complete snapshot yet.

    Args:
        before: when the last complete snapshot before the newest began that was counted.
        missed: as that one told it.

    A charge that cannot be read is no reason not to act: it is left out, and its machine is counted anew from the look before.
    """
    at = known.last_complete_at
    if at is None:
        return None
    if before is not None:
        before = min(before, at)  # a clock that was ahead has told the future
    look = Look(at, before, _since(conn, known.name, at), blind_seconds)
    going_on = charges.going_on(conn, known.name)
    changed: list[Charge] = []
    new: dict[str, UUID | None] = {}
    missing: dict[str, datetime] = {}
    leaking: dict[str, datetime] = {}
    back_usd = back_leaked = 0.0
    priced: list[Charge] = []
    looked_away = look.is_blind
    per_hour, unpriced = 0.0, 0
    for id_, track in known.tracks.items():
        if (since := _leaks_since(known, track)) is not None:
            leaking[id_] = since
        if not is_present(track):
            if id_ in going_on and track.gone_at is None:
                missing[id_] = track.last_seen_at
            continue
        rate = track.instance.rate_per_hour
        per_hour += rate or 0.0
        unpriced += rate is None
        owner, charge = _owner(known, track.instance), going_on.get(id_)
        if charge is not None and id_ in missed:
            back_usd += charge.usd(missed[id_], before or at)
            if since is not None:
                back_leaked += charge.usd(max(missed[id_], since), before or at)
        if charge is not None and not looked_away and id_ not in replaced and charge.started_at <= at:
            machine = track.instance
            if charge.state is machine.state and charge.usd_per_hour == rate and charge.session_id == owner:
                continue  # most of them: nothing has to be made to see that
        if charge is None:
            new[id_] = owner
            continue
        if charge.usd_per_hour is None and rate is not None:
            priced += charges.price(conn, known.name, id_, rate)
            charge = evolve(charge, usd_per_hour=rate)
        changed += costs.followed(charge, track, owner, look, replaced=id_ in replaced)
    ends = charges.newest_ends(conn, known.name, new) if new else {}
    if new:
        ends.update(dict.fromkeys(charges.unreadable_machines(conn, known.name), before or at))
    for id_, owner in new.items():
        changed += costs.begun(known.tracks[id_], owner, look, ends.get(id_), _asked_at(known, id_))
    left = _left(conn, known, going_on)
    for id_, charge in going_on.items():
        there = known.tracks.get(id_) or left.get(id_)
        if there is None or there.gone_at is not None:
            changed += costs.ended(charge, _end(conn, known.name, there, charge), blind_seconds)
    tracks = {**known.tracks, **left}
    leaking.update((id_, since) for id_, track in left.items() if (since := _leaks_since(known, track)) is not None)
    leaked_before = costs.leaked(going_on.values(), tracks, leaking, before or at) if leaking else 0.0
    if not changed and not priced:
        hours = 0.0 if before is None else (at - before).total_seconds() / 3600
        damage = charges.unreadable(conn, known.name)
        leaked_now = costs.leaked(going_on.values(), tracks, leaking, at) if leaking else 0.0
        return Counted(
            per_hour * hours + back_usd, leaked_now - leaked_before + back_leaked, per_hour, unpriced, damage, missing
        )
    told_before = costs.cost(going_on.values(), tracks, before or at)
    charges.save(conn, known.name, changed)
    over = [charge for charge in (*priced, *changed) if charge.ended_at is not None]
    told = [*charges.going_on(conn, known.name).values(), *over]
    leaked_now = costs.leaked(told, tracks, leaking, at)
    return Counted(
        costs.cost(told, tracks, at) - told_before + back_usd,
        leaked_now - leaked_before + back_leaked,
        per_hour,
        unpriced,
        charges.unreadable(conn, known.name),
        missing,
    )


def _leaks_since(known: Account, track: Track) -> datetime | None:
    """Since when nobody claims a machine. One that somebody exempted is there because a person wants it to be."""
    if track.orphan_since is None or track.exempt:
        return None
    named = track.instance.session_id
    session = None if named is None else known.sessions.get(named)
    return None if session is not None and session.exempt else track.orphan_since


def _left(conn: Connection, known: Account, going_on: Mapping[str, Charge]) -> dict[str, Track]:
    """The machines that are billed and not there any more."""
    found = {id_: instances.get(conn, known.name, id_) for id_ in going_on if id_ not in known.tracks}
    return {id_: track for id_, track in found.items() if track is not None}


def _owner(known: Account, machine: Instance) -> UUID | None:
    """Who pays: the live session that it is bound to, else the one that its tag names, else one that is over."""
    bound = known.bindings.get(machine.id)
    if bound is not None and (bound.state.live or machine.session_id is None):
        return bound.id
    return machine.session_id


def _terms(charge: Charge) -> tuple[InstanceState, float | None]:
    return charge.state, charge.usd_per_hour


def _asked_at(known: Account, id_: str) -> datetime | None:
    """When the machine was asked for, if shopperd rented it."""
    bound = known.bindings.get(id_)
    return None if bound is None or bound.create_outcome is CreateOutcome.NONE else bound.created_at


def _since(conn: Connection, account: str, at: datetime) -> datetime:
    """When the costs of an account were first counted."""
    key = f"costs_since:{account}"
    raw = meta.get(conn, key)
    if isinstance(raw, str) and (since := datetime.fromisoformat(raw)) <= at:
        return since
    meta.put(conn, key, at.isoformat())
    return at


def _end(conn: Connection, account: str, track: Track | None, charge: Charge) -> End:
    starts = complete_starts(conn, account)
    if track is None:  # forgotten, as after a backup was put back: nobody knows, so as little as possible
        return End(charge.started_at, charge.started_at)
    missed = starts[-min(track.absences, len(starts))] if track.absences and starts else track.last_seen_at
    job = destroys.for_instance(conn, account, track.instance.id)
    return End(track.last_seen_at, missed, None if job is None else job.accepted_at)

"""What a look at an account adds to what its machines have cost. Pure, and for accounts alone: no destroy is decided by it.

Between two looks nobody knows when something changed: half of the time counts as before, half as after, so that over many changes
too much and too little come out even. Where there was no look for long (the daemon was down, the provider away), it is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from attrs import evolve, frozen

from shopperd.model import Charge, Instance, Track
from shopperd.sightings import is_present

LINGERS_SECONDS = 60.0
"""So long a machine may still be listed after its destroy was accepted, though it costs nothing any more. TensorDock needs some seconds."""

BLIND_SECONDS = 900.0
"""A machine may be stopped and started within that time without being seen; what is longer is told as an estimate."""


@frozen
class Look:
    """When an account was looked at.

    Attributes:
        at: when the newest complete snapshot began; `before`: the one before that, None if there was none.
        since: when its costs were first counted; what it cost before that is not known.
        blind_seconds: two looks that are further apart left a time of which nothing is known.
    """

    at: datetime
    before: datetime | None
    since: datetime
    blind_seconds: float = BLIND_SECONDS

    @property
    def is_blind(self) -> bool:
        """Whether it follows a time of which nothing is known."""
        return self.before is not None and self.at - self.before > timedelta(seconds=self.blind_seconds)

    @property
    def middle(self) -> datetime:
        """When what has changed since the look before is taken to have changed."""
        if self.before is None or self.before > self.at:
            return self.at
        return self.before + (self.at - self.before) / 2


@frozen
class End:
    """When a machine was there for the last time, and when it was first missed or is known to have been destroyed."""

    seen_at: datetime
    missed_at: datetime
    accepted_at: datetime | None = None

    @property
    def at(self) -> datetime:
        """When its costs ended: at the accepted destroy, or when it was last seen right after that, else in the middle."""
        missed_at = max(self.seen_at, self.missed_at)
        lingers = timedelta(seconds=LINGERS_SECONDS)
        if self.accepted_at is not None and self.seen_at - lingers <= self.accepted_at <= missed_at:
            return max(self.seen_at, self.accepted_at)
        return self.seen_at + (missed_at - self.seen_at) / 2


def charge_of(machine: Instance, owner: UUID | None, started_at: datetime) -> Charge:
    """What a machine costs from that moment on."""
    return Charge(
        account=machine.account,
        provider=machine.provider,
        instance_id=machine.id,
        started_at=started_at,
        session_id=owner,
        state=machine.state,
        usd_per_hour=machine.rate_per_hour,
    )


def begun(
    track: Track, owner: UUID | None, look: Look, newest_end: datetime | None, asked_at: datetime | None = None
) -> list[Charge]:
    """The charges of a machine that had none that goes on.

    It costs from its start, where that is told, but not from before its account was first looked at; one that came back,
    from when it was seen again.

    Args:
        asked_at: when it was asked for, if it was here. Where its start is not told it costs from then, if the look before was earlier.
    """
    told = track.instance.started_at
    if told is None and asked_at is not None and (look.before is None or look.before <= asked_at):
        told = asked_at
    start = look.middle if track.first_seen_at >= look.at else track.first_seen_at
    if newest_end is None:
        start = max(look.since, start if told is None else told)
    else:
        start = max(newest_end, start, look.since)
    start = min(start, look.at)
    if look.at - start <= timedelta(seconds=look.blind_seconds):
        return [charge_of(track.instance, owner, start)]
    return [
        evolve(charge_of(track.instance, owner, start), ended_at=look.at, estimated=True),
        charge_of(track.instance, owner, look.at),
    ]


def followed(charge: Charge, track: Track, owner: UUID | None, look: Look, *, replaced: bool = False) -> list[Charge]:
    """What becomes of a charge whose machine is there: nothing, in most cases."""
    now = charge_of(track.instance, owner, look.at)
    if now.usd_per_hour is None:
        now = evolve(now, usd_per_hour=charge.usd_per_hour)
    if charge.started_at > look.at:  # by a clock that has been put back since: it begins now, and never did then
        return [evolve(charge, ended_at=charge.started_at), now]
    same = not replaced and _tells_the_same(charge, now)
    if look.is_blind and look.before is not None and charge.started_at < look.before:
        unseen = evolve(now, started_at=look.before, ended_at=look.at, estimated=True)
        halves = [
            evolve(
                unseen,
                ended_at=look.middle,
                state=charge.state,
                usd_per_hour=charge.usd_per_hour,
                session_id=charge.session_id,
            ),
            evolve(unseen, started_at=look.middle),
        ]
        return [evolve(charge, ended_at=look.before), *([unseen] if same else halves), now]
    if same:
        return []
    turn = max(look.middle, charge.started_at)
    return [evolve(charge, ended_at=turn), evolve(now, started_at=turn)]


def ended(charge: Charge, end: End, blind_seconds: float = BLIND_SECONDS) -> list[Charge]:
    """How a charge ends whose machine is gone."""
    at = max(end.at, charge.started_at)
    seen_at = max(end.seen_at, charge.started_at)
    if at - seen_at <= timedelta(seconds=blind_seconds):
        return [evolve(charge, ended_at=at)]
    return [evolve(charge, ended_at=seen_at), evolve(charge, started_at=seen_at, ended_at=at, estimated=True)]


def cost(charges: Iterable[Charge], tracks: Mapping[str, Track], until: datetime) -> float:
    """USD that charges come to by that moment."""
    return sum(charge.usd(charge.started_at, counted_until(charge, tracks, until)) for charge in charges)


def leaked(
    charges: Iterable[Charge], tracks: Mapping[str, Track], leaking: Mapping[str, datetime], until: datetime
) -> float:
    """USD of what charges come to by that moment, that went into machines which nobody claims.

    Args:
        leaking: since when a machine is one of those, by its id.
    """
    return sum(
        charge.usd(leaking[charge.instance_id], counted_until(charge, tracks, until))
        for charge in charges
        if charge.instance_id in leaking
    )


def counted_until(charge: Charge, tracks: Mapping[str, Track], until: datetime) -> datetime:
    """Until when a charge is counted. One that goes on for a machine that is missed: until that was last seen."""
    track = tracks.get(charge.instance_id)
    if charge.ended_at is not None or (track is not None and is_present(track)):
        return until
    return charge.started_at if track is None else min(until, track.last_seen_at)


def _tells_the_same(before: Charge, now: Charge) -> bool:
    return (before.usd_per_hour, before.state, before.session_id) == (now.usd_per_hour, now.state, now.session_id)

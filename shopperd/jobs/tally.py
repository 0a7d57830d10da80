"""What is counted over all of an account's machines and sessions. Pure.

It is done where the account is read, in the store's own thread: among a hundred thousand machines it takes longer than others may
wait for their turn of the loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from shopperd.model import Instance, InstanceState, Ownership, SessionState, Track
from shopperd.reconcile import Account, wants_proof
from shopperd.settings import Settings
from shopperd.sightings import is_present, is_settled

_MOVING = (SessionState.CREATING, SessionState.STARTING, SessionState.ENDING)


@frozen
class Tally:
    """The counts of an account, and those few machines that need a look.

    Attributes:
        instances: that are present, by state and ownership.
        sessions: the account's own, by state.
        live: sessions that claim a machine.
        burn_per_hour: USD for what is present.
        settled: the fleet has not jumped lately.
        moving: something is starting or going away.
        missed: what a single read may prove gone.
        untold: what is present and ours, and of which no listing tells the price or the GPU.
    """

    instances: Mapping[tuple[InstanceState, Ownership], int]
    sessions: Mapping[SessionState, int]
    live: int
    burn_per_hour: float
    settled: bool
    moving: bool
    missed: tuple[Track, ...]
    untold: tuple[Instance, ...]


def tally_of(known: Account, settings: Settings, now: datetime) -> Tally:
    """Count an account."""
    rules = settings.orphans
    present = [track.instance for track in known.tracks.values() if is_present(track)]
    sessions = Counter(session.state for session in known.sessions.values() if session.account == known.name)
    return Tally(
        instances=Counter((instance.state, instance.ownership) for instance in present),
        sessions=sessions,
        live=sum(count for state, count in sessions.items() if state.live),
        burn_per_hour=sum(instance.price_per_hour or 0.0 for instance in present),
        settled=is_settled(known.fleet, sightings=rules.sightings, grace_seconds=rules.grace, now=now),
        moving=bool(known.jobs) or any(sessions[state] for state in _MOVING),
        missed=wants_proof(known, settings, now),
        untold=tuple(
            instance
            for instance in present
            if (instance.price_per_hour is None or instance.gpu is None) and instance.ownership is not Ownership.FOREIGN
        ),
    )

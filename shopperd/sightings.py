"""What a snapshot adds to the memory of an account's instances: who was seen, who was missed, and what to make of it.

Pure. Two rules carry everything else:

- an incomplete snapshot proves that what it holds exists, and nothing about what it does not hold;
- absence is counted only from complete snapshots, in a row, and any sighting puts it back to zero.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, frozen

from shopperd.model import Fleet, Instance, Snapshot, Track

COUNT_MAX = 1000
"""Verdicts and absences stop counting here; no setting asks for more."""

SIGHTINGS_MAX = 3
"""Sightings stop counting here: from then on an instance that is as it was changes nothing, and costs no write."""

SAME_START = timedelta(seconds=90)
"""Reports of one machine's start may differ by so much; more is another machine under a re-used id. A guess, on the wide side."""

FLEET_MIN = 2
"""Fewer instances than this have no fleet that could jump."""

APPEARED_MIN = 3
"""So many unexplained newcomers are needed before a growth is suspicious; small accounts double in daily use."""


@frozen
class Tally:
    """The memory of an account after a snapshot.

    Attributes:
        tracks: every track that is not gone, and those that came back, by instance id.
        appeared: ids that the newest complete snapshot did not hold and this one does.
        vanished: ids that the newest complete snapshot held and this complete one does not.
        returned: ids that had been proven gone.
        replaced: ids that now name another machine than the one remembered.
        present_before: how many instances the newest complete snapshot held.
    """

    tracks: Mapping[str, Track]
    appeared: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    present_before: int = 0


def last_seen(track: Track, last_complete_at: datetime | None) -> datetime:
    """When an instance was last seen, given when its account's newest complete snapshot began."""
    if is_present(track) and last_complete_at is not None:
        return max(track.last_seen_at, last_complete_at)
    return track.last_seen_at


def is_present(track: Track) -> bool:
    """Whether the newest complete snapshot, or any later one, held the instance."""
    return track.ever_seen and track.absences == 0 and track.gone_at is None


def same_machine(before: Instance, after: Instance) -> bool:
    """Whether two reports under one id are of one rental. A changed tag says nothing: people edit tags."""
    if before.started_at is None or after.started_at is None:
        return True
    return abs(after.started_at - before.started_at) <= SAME_START


def merged(before: Instance, after: Instance) -> Instance:
    """The newer report, with what only a single read tells (price, GPU, address) kept from the older one."""
    kept: dict[str, Any] = {
        name: getattr(before, name)
        for name in ("gpu", "gpu_count", "vram_gb", "price_per_hour", "started_at")
        if getattr(after, name) is None and getattr(before, name) is not None
    }
    if after.billed_per_hour is None and after.price_per_hour is None and after.provider_state == before.provider_state:
        kept["billed_per_hour"] = before.billed_per_hour
    if after.address is None and before.address is not None and after.state is before.state:
        kept["address"] = before.address
        kept["ssh_port"] = before.ssh_port if after.ssh_port is None else after.ssh_port
    return evolve(after, **kept) if kept else after


def tally(tracks: Mapping[str, Track], snapshot: Snapshot, last_complete_at: datetime | None = None) -> Tally:
    """Count a snapshot into the tracks (gone ones included, so that a return is noticed).

    `last_complete_at` is when the newest complete snapshot before this one began. A track that tells nothing new is the very
    one that it was.
    """
    after: dict[str, Track] = {}
    appeared: list[str] = []
    vanished: list[str] = []
    returned: list[str] = []
    replaced: list[str] = []
    seen_at = snapshot.ended_at
    for instance in snapshot.instances:
        before = tracks.get(instance.id)
        if before is None:
            appeared.append(instance.id)
            after[instance.id] = _first_sight(instance, seen_at, complete=snapshot.complete)
            continue
        if snapshot.complete and _is_well_known(before, seen_at) and _tells_the_same(before.instance, instance):
            after[instance.id] = before
            continue
        if not same_machine(before.instance, instance):
            replaced.append(instance.id)
            appeared.append(instance.id)
            after[instance.id] = _first_sight(instance, seen_at, complete=snapshot.complete)
            continue
        if before.gone_at is not None:
            returned.append(instance.id)
        if not is_present(before):
            appeared.append(instance.id)
        after[instance.id] = _seen_again(before, instance, seen_at, complete=snapshot.complete)
    present_before = 0
    for id_, before in tracks.items():
        present = is_present(before)
        present_before += present
        if id_ in after or before.gone_at is not None:
            continue
        if snapshot.complete and _began_later(snapshot, before.last_seen_at):
            after[id_] = _missed(before, last_seen(before, last_complete_at))
            if present:
                vanished.append(id_)
        else:
            after[id_] = before
    return Tally(
        tracks=after,
        appeared=tuple(appeared),
        vanished=tuple(vanished),
        returned=tuple(returned),
        replaced=tuple(replaced),
        present_before=present_before,
    )


def _first_sight(instance: Instance, seen_at: datetime, *, complete: bool) -> Track:
    return Track(instance=instance, first_seen_at=seen_at, last_seen_at=seen_at, sightings=1 if complete else 0)


def _seen_again(before: Track, instance: Instance, seen_at: datetime, *, complete: bool) -> Track:
    fresh = before.gone_at is not None or not before.ever_seen
    sightings = 0 if before.gone_at is not None else before.sightings
    return evolve(
        before,
        instance=merged(before.instance, instance),
        first_seen_at=seen_at if fresh else min(before.first_seen_at, seen_at),
        last_seen_at=seen_at,
        sightings=min(sightings + 1, SIGHTINGS_MAX) if complete else sightings,
        absences=0,
        ever_seen=True,
        gone_at=None,
        kind=None if before.gone_at is not None else before.kind,
        kind_sightings=0 if before.gone_at is not None else before.kind_sightings,
        orphan_since=None if before.gone_at is not None else before.orphan_since,
    )


def _is_well_known(track: Track, now: datetime) -> bool:
    # A first sight in the future was noted by a clock that has been put back since; it must not be waited for.
    return is_present(track) and track.sightings >= SIGHTINGS_MAX and track.first_seen_at <= now


def _tells_the_same(before: Instance, after: Instance) -> bool:
    if after is before:
        return True
    if after.ownership is not before.ownership:  # an adapter knows the tag alone
        after = evolve(after, ownership=before.ownership)
    return after == before or merged(before, after) == before


def _missed(before: Track, last_seen_at: datetime) -> Track:
    return evolve(
        before, last_seen_at=last_seen_at, sightings=0, absences=min(before.absences + 1, COUNT_MAX), kind_sightings=0
    )


def _began_later(snapshot: Snapshot, last_seen_at: datetime) -> bool:
    # A last sight that lies in the future was written by a clock that has since been put back; listings of one
    # account never overlap, so this one began later all the same.
    return snapshot.started_at >= last_seen_at or last_seen_at > snapshot.ended_at


def fleet_after(
    fleet: Fleet,
    counted: Tally,
    *,
    explained_vanished: Collection[str],
    unexplained_appeared: Collection[str],
    now: datetime,
) -> Fleet:
    """Whether the fleet jumped with this complete snapshot, or still has to settle from an earlier jump.

    `explained_vanished` are ids that we asked to be destroyed; `unexplained_appeared` newcomers without a live session.
    """
    vanished = len([id_ for id_ in counted.vanished if id_ not in explained_vanished])
    if counted.present_before >= FLEET_MIN and vanished * 2 > counted.present_before:
        return Fleet(jump_at=now, change="vanished")
    appeared = len(unexplained_appeared)
    if appeared >= APPEARED_MIN and appeared * 2 > counted.present_before:
        return Fleet(jump_at=now, change="appeared")
    if fleet.jump_at is None:
        return fleet
    if fleet.jump_at > now:  # a clock that has been put back since
        fleet = evolve(fleet, jump_at=now)
    return evolve(fleet, snapshots_since=min(fleet.snapshots_since + 1, COUNT_MAX))


def is_settled(fleet: Fleet, *, sightings: int, grace_seconds: float, now: datetime) -> bool:
    """Whether the newest jump is old enough, in snapshots and in time, to be taken for the truth."""
    if fleet.jump_at is None:
        return True
    return fleet.snapshots_since >= sightings and now - fleet.jump_at >= timedelta(seconds=grace_seconds)

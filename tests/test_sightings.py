"""The memory of an account's machines: what a listing adds to it, and what it takes back."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from shopperd.model import Fleet, Instance, InstanceState, OrphanKind, Ownership, Snapshot, Track
from shopperd.sightings import (
    SIGHTINGS_MAX,
    Tally,
    fleet_after,
    is_present,
    is_settled,
    last_seen,
    merged,
    same_machine,
    tally,
)
from tests.nouns import NOW, instance, track


def listing(*instances: Instance, at: datetime = NOW, complete: bool = True) -> Snapshot:
    return Snapshot("main", "vastai", instances, at - timedelta(seconds=2), at, complete)


def well_known(one: Instance) -> Track:
    return track(one, sightings=SIGHTINGS_MAX)


def test_an_instance_that_is_as_it_was_changes_nothing() -> None:
    known = well_known(instance("a", 1))
    counted = tally({"a": known}, listing(instance("a", 1), at=NOW + timedelta(hours=1)))
    assert counted.tracks["a"] is known


def test_what_only_the_adapter_cannot_know_is_no_difference() -> None:
    known = well_known(evolve(instance("a", 1), ownership=Ownership.UNKNOWN, price_per_hour=0.5))
    told = evolve(instance("a", 1), ownership=Ownership.OURS, price_per_hour=None)
    assert tally({"a": known}, listing(told)).tracks["a"] is known


def test_whatever_else_is_told_anew_is_taken_over() -> None:
    known = well_known(evolve(instance("a", 1), price_per_hour=0.5))
    later = NOW + timedelta(hours=1)
    after = tally({"a": known}, listing(evolve(instance("a", 1), price_per_hour=0.6), at=later)).tracks["a"]
    assert after.instance.price_per_hour == 0.6
    assert after.last_seen_at == later


def test_an_incomplete_listing_that_holds_an_instance_is_noted_with_its_time() -> None:
    known = well_known(instance("a", 1))
    later = NOW + timedelta(hours=1)
    after = tally({"a": known}, listing(instance("a", 1), at=later, complete=False)).tracks["a"]
    assert after.last_seen_at == later


def test_a_present_instance_was_last_seen_by_the_newest_complete_snapshot() -> None:
    known = well_known(instance("a", 1))
    later = NOW + timedelta(hours=1)
    assert last_seen(known, later) == later
    assert last_seen(known, None) == NOW
    assert last_seen(known, NOW - timedelta(hours=1)) == NOW
    assert last_seen(evolve(known, absences=1), later) == NOW


def test_when_it_was_last_seen_is_kept_as_it_is_missed() -> None:
    known = well_known(instance("a", 1))
    newest = NOW + timedelta(hours=1)
    missed = tally({"a": known}, listing(at=newest + timedelta(minutes=1)), newest).tracks["a"]
    assert missed.last_seen_at == newest
    again = tally({"a": missed}, listing(at=newest + timedelta(minutes=2)), newest + timedelta(minutes=1)).tracks["a"]
    assert again.last_seen_at == newest, "it was not in the newest complete snapshot"
    assert again.absences == 2


@pytest.mark.parametrize(
    ("more", "present"),
    [({}, True), ({"ever_seen": False}, False), ({"absences": 1}, False), ({"gone_at": NOW}, False)],
)
def test_what_the_newest_complete_listing_held_is_present(more: dict[str, Any], *, present: bool) -> None:
    assert is_present(track(instance("a", 1), **more)) is present


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [(None, 0, True), (0, None, True), (0, 90, True), (90, 0, True), (0, 91, False), (91, 0, False)],
)
def test_machines_that_start_a_minute_and_a_half_apart_may_be_the_same(
    before: int | None, after: int | None, *, same: bool
) -> None:
    starts = (None if seconds is None else NOW + timedelta(seconds=seconds) for seconds in (before, after))
    one, other = (instance("a", 1, started_at=start) for start in starts)
    assert same_machine(one, other) is same


# --- what of an older report is kept ----------------------------------------------------------------------------------

OLDER = instance("a", 1, billed_per_hour=0.6, provider_state="on", address="10.0.0.1", ssh_port=2222)
BRIEF = evolve(OLDER, price_per_hour=None, billed_per_hour=None, address=None, ssh_port=None, started_at=None)
"""The same, in a listing that tells little."""


def test_what_only_a_single_read_tells_is_kept() -> None:
    assert merged(OLDER, BRIEF) == OLDER


@pytest.mark.parametrize(
    ("newer", "billed"),
    [
        ({}, 0.6),
        ({"billed_per_hour": 0.7}, 0.7),
        ({"price_per_hour": 0.5}, None),
        ({"provider_state": "off"}, None),
    ],
)
def test_what_is_billed_is_kept_as_long_as_nothing_is_told_of_prices_and_the_state_is_the_same(
    newer: dict[str, Any], billed: float | None
) -> None:
    assert merged(OLDER, evolve(BRIEF, **newer)).billed_per_hour == billed


@pytest.mark.parametrize(
    ("older", "newer", "told"),
    [
        ({}, {}, ("10.0.0.1", 2222)),
        ({}, {"ssh_port": 22}, ("10.0.0.1", 22)),
        ({}, {"address": "10.0.0.2"}, ("10.0.0.2", None)),
        ({}, {"state": InstanceState.STOPPED}, (None, None)),
        ({"address": None}, {}, (None, None)),
    ],
)
def test_an_address_is_kept_with_its_port_while_the_machine_is_in_one_state(
    older: dict[str, Any], newer: dict[str, Any], told: tuple[str | None, int | None]
) -> None:
    after = merged(evolve(OLDER, **older), evolve(BRIEF, **newer))
    assert (after.address, after.ssh_port) == told


# --- what a listing counts --------------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


def test_a_listing_tells_who_came_who_went_and_how_many_there_were() -> None:
    another = instance("replaced", 3, started_at=NOW + HOUR)
    tracks = {
        "stays": track(instance("stays", 1)),
        "missed": track(instance("missed", 2), absences=1),
        "replaced": track(instance("replaced", 3)),
        "gone": track(instance("gone", 4), gone_at=NOW),
        "went": track(instance("went", 5)),
        "long-gone": track(instance("long-gone", 6), gone_at=NOW),
        "missed-again": track(instance("missed-again", 7), absences=1),
    }
    seen = [instance("new", 8), instance("stays", 1), instance("missed", 2), another, instance("gone", 4)]
    counted = tally(tracks, listing(*seen, at=NOW + HOUR))
    assert evolve(counted, tracks={}) == Tally(
        tracks={},
        appeared=("new", "missed", "replaced", "gone"),
        vanished=("went",),
        returned=("gone",),
        replaced=("replaced",),
        present_before=3,
    )
    assert counted.tracks.keys() == {*tracks, "new"} - {"long-gone"}


@pytest.mark.parametrize("complete", [True, False])
def test_only_complete_listings_are_counted_as_sightings(*, complete: bool) -> None:
    came = tally({}, listing(instance("a", 1), complete=complete)).tracks["a"]
    assert (came.sightings, came.first_seen_at, came.last_seen_at) == (int(complete), NOW, NOW)
    again = tally({"a": came}, listing(instance("a", 1), at=NOW + HOUR, complete=complete)).tracks["a"]
    assert (again.sightings, again.first_seen_at, again.last_seen_at) == (2 * int(complete), NOW, NOW + HOUR)


@pytest.mark.parametrize("complete", [True, False])
def test_what_comes_back_from_the_dead_begins_anew(*, complete: bool) -> None:
    dead = track(
        instance("a", 1),
        sightings=3,
        absences=3,
        gone_at=NOW,
        kind=OrphanKind.ENDED,
        kind_sightings=3,
        orphan_since=NOW,
    )
    back = tally({"a": dead}, listing(instance("a", 1), at=NOW + HOUR, complete=complete)).tracks["a"]
    assert back == track(instance("a", 1), first_seen_at=NOW + HOUR, last_seen_at=NOW + HOUR, sightings=int(complete))


def test_what_was_never_listed_is_seen_for_the_first_time() -> None:
    rented = track(instance("a", 1), ever_seen=False, sightings=0)
    seen = tally({"a": rented}, listing(instance("a", 1), at=NOW + HOUR)).tracks["a"]
    assert seen == track(instance("a", 1), first_seen_at=NOW + HOUR, last_seen_at=NOW + HOUR)


def test_one_sight_takes_an_absence_back_however_well_known_it_is() -> None:
    missed = evolve(well_known(instance("a", 1)), absences=1)
    assert tally({"a": missed}, listing(instance("a", 1))).tracks["a"].absences == 0


def test_what_is_missed_has_no_sightings_any_more() -> None:
    there = track(instance("a", 1), sightings=3, kind=OrphanKind.ENDED, kind_sightings=3)
    missed = tally({"a": there}, listing(at=NOW + HOUR)).tracks["a"]
    assert missed == evolve(there, sightings=0, kind_sightings=0, absences=1)


@pytest.mark.parametrize(
    ("last_seen_seconds", "absences"),
    [(-3, 1), (-2, 1), (-1, 0), (0, 0), (1, 1)],
    ids=["before it began", "as it began", "while it ran", "as it ended", "by a clock that was put back"],
)
def test_a_listing_misses_what_was_last_seen_before_it_began(last_seen_seconds: int, absences: int) -> None:
    there = track(instance("a", 1), last_seen_at=NOW + timedelta(seconds=last_seen_seconds))
    assert tally({"a": there}, listing()).tracks["a"].absences == absences


# --- a fleet that jumps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("present", "vanished", "jumps"), [(1, 1, False), (2, 2, True), (2, 1, False), (3, 2, True), (4, 2, False)]
)
def test_a_fleet_of_which_more_than_half_vanishes_has_jumped(present: int, vanished: int, *, jumps: bool) -> None:
    counted = Tally({}, vanished=tuple("abcd"[:vanished]), present_before=present)
    fleet = fleet_after(Fleet(), counted, explained_vanished=(), unexplained_appeared=(), now=NOW)
    assert fleet == (Fleet(jump_at=NOW, change="vanished") if jumps else Fleet())


@pytest.mark.parametrize(
    ("jumped", "snapshots", "settled"), [(300, 3, True), (301, 3, True), (299, 3, False), (300, 2, False)]
)
def test_a_jump_is_the_truth_when_it_is_old_enough_and_was_seen_often_enough(
    jumped: int, snapshots: int, *, settled: bool
) -> None:
    fleet = Fleet(jump_at=NOW - timedelta(seconds=jumped), change="vanished", snapshots_since=snapshots)
    assert is_settled(fleet, sightings=3, grace_seconds=300.0, now=NOW) is settled

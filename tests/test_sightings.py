from datetime import datetime, timedelta

from attrs import evolve

from shopperd.model import Instance, Ownership, Snapshot, Track
from shopperd.sightings import SIGHTINGS_MAX, last_seen, tally
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

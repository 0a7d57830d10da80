"""A large fleet at rest: what one look at it costs the heart."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from statistics import median

from attrs import evolve

from shopperd.model import Snapshot
from shopperd.process import settle_memory
from shopperd.reconcile import Account, Authority, Window, observe, plan
from shopperd.rest import NO_REST
from tests.bench.result import Result, cpu_seconds
from tests.nouns import NOW, SETTINGS, instance, rounds, session, snapshot, watch
from tests.nouns import account as account_of

LARGE = 100_000
SMALL = 1_000
ROUNDS = 5


def results() -> Iterable[Result]:
    """All of them."""
    large = at_rest(LARGE)
    settle_memory()
    same, anew, changed = listed(large), listed_anew(large), listed_but_one(large)
    quiet = seconds_an_instance(large, same)
    yield Result("fleet.instance", quiet * 1e6, "us of CPU an instance", 1.0)
    yield Result("fleet.made_anew", seconds_an_instance(large, anew) * 1e6, "us of CPU an instance", 1.25)
    yield Result("fleet.one_changed", seconds_an_instance(large, changed) * 1e6, "us of CPU an instance", 2.0)
    whole = seconds_an_instance(evolve(large, rest=NO_REST), anew)
    yield Result("fleet.whole", whole * 1e6, "us of CPU an instance of which nothing is at rest", 25.0)
    few = at_rest(SMALL)
    small = seconds_an_instance(few, listed(few), looks=100)
    yield Result("fleet.linear", quiet / small, "of the time an instance takes among a hundredth of them", 3.0)


def seconds_an_instance(before: Account, listing: Snapshot, looks: int = 1) -> float:
    """Listings of a fleet where every machine runs, is claimed, and was there before: nothing is to be done."""

    def look() -> None:
        for _ in range(looks):
            observed = observe(before, listing, SETTINGS, NOW)
            known = evolve(before, fleet=observed.fleet)
            found = plan(known, SETTINGS, Authority(), Window(), NOW, snapshot_is_fresh=True)
            if len(observed.tracks) > 1 or observed.steps or found.orphans:
                raise AssertionError("a fleet at rest moved")

    return median(cpu_seconds(look) for _ in range(ROUNDS)) / looks / len(listing.instances)


def listed(known: Account) -> Snapshot:
    """The very rows that were listed before."""
    return snapshot(*(track.instance for track in known.tracks.values()), at=NOW)


def listed_anew(known: Account) -> Snapshot:
    """Rows that are equal to those that were listed before, and were made anew."""
    return snapshot(*(evolve(track.instance) for track in known.tracks.values()), at=NOW)


def listed_but_one(known: Account) -> Snapshot:
    """The rows that were listed before, but for one that tells something new."""
    *most, last = listed(known).instances
    return snapshot(*most, evolve(last, address="192.0.2.1"), at=NOW)


def at_rest(count: int) -> Account:
    """An account whose machines have been listed a few times."""
    known = account_of(*(session(n, instance_id=str(n)) for n in range(1, count + 1)))
    machines = [instance(str(n), n) for n in range(1, count + 1)]
    first = NOW - timedelta(minutes=10)
    known = watch(known, *rounds(*machines, count=5, start=first))
    return evolve(known, last_complete_at=NOW - timedelta(minutes=2))

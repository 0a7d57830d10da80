"""A large fleet at rest: what one look at it costs the heart."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from statistics import median

from attrs import evolve

from shopperd.reconcile import Account, Authority, Window, observe, plan
from tests.bench.result import Result, cpu_seconds
from tests.nouns import NOW, SETTINGS, instance, rounds, session, snapshot, watch
from tests.nouns import account as account_of

LARGE = 100_000
SMALL = 10_000
ROUNDS = 5


def results() -> Iterable[Result]:
    """All of them."""
    small, large = seconds_an_instance(SMALL), seconds_an_instance(LARGE)
    yield Result("fleet.instance", large * 1e6, "us of CPU an instance", 1.0)
    yield Result("fleet.linear", large / small, "of the time an instance takes among a tenth of them", 2.0)


def seconds_an_instance(count: int) -> float:
    """One listing of a fleet where every machine runs, is claimed, and was there before: nothing is to be done."""
    before, now = at_rest(count), NOW
    # Equal to what is known already and yet made anew, as a listing makes them.
    listing = snapshot(*(evolve(track.instance) for track in before.tracks.values()), at=now)

    def look() -> None:
        observed = observe(before, listing, SETTINGS, now)
        after = evolve(before, fleet=observed.fleet)
        found = plan(after, SETTINGS, Authority(), Window(), now, snapshot_is_fresh=True)
        if observed.tracks or observed.steps or found.orphans:
            raise AssertionError("a fleet at rest moved")

    return median(cpu_seconds(look) for _ in range(ROUNDS)) / count


def at_rest(count: int) -> Account:
    """An account whose machines have been listed a few times."""
    known = account_of(*(session(n, instance_id=str(n)) for n in range(1, count + 1)))
    machines = [instance(str(n), n) for n in range(1, count + 1)]
    first = NOW - timedelta(minutes=8)
    return evolve(watch(known, *rounds(*machines, count=4, start=first)), last_complete_at=NOW - timedelta(minutes=2))

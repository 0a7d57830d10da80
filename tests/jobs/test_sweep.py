"""The sentence in which a sweep tells what it came to."""

from typing import Any, cast

from shopperd.jobs.sweep import sentence_of
from shopperd.model import OrphanKind, OrphanPhase
from shopperd.reconcile import Orphan, Plan


def plan(number: int) -> Plan:
    orphan = Orphan(cast(Any, None), OrphanKind.ENDED, OrphanPhase.SUSPECTED)
    return Plan("main", orphans=(orphan,) * number)


def test_a_sweep_tells_what_it_found() -> None:
    assert sentence_of(plan(0), fresh=True) == "found no orphans"
    assert sentence_of(plan(1), fresh=True) == "found 1 orphan: 1 suspected, 0 being destroyed"
    assert sentence_of(plan(2), fresh=True) == "found 2 orphans: 2 suspected, 0 being destroyed"


def test_a_sweep_that_failed_tells_that_its_orphans_are_those_of_before() -> None:
    assert sentence_of(plan(0), fresh=False) == "no complete snapshot, so nothing was planned"
    assert sentence_of(plan(2), fresh=False).startswith("no complete snapshot; the last one had 2 orphans: ")

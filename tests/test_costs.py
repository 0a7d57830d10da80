"""What a look adds to what a machine has cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from shopperd.costs import End, Look, begun, cost, ended, followed
from shopperd.model import Charge, InstanceState, Track
from tests.jobs.desk import machine
from tests.store.nouns import START

OWNER = UUID(int=1, version=4)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def look(seconds: float, before: float | None = None, since: float = 0) -> Look:
    return Look(at(seconds), None if before is None else at(before), at(since))


def track(first_seen: float = 0, **changes: Any) -> Track:
    values = {"price_per_hour": 3.6} | changes
    return Track(machine("7", **values), at(first_seen), at(first_seen), sightings=1)


def charge(started: float = 0, **changes: Any) -> Charge:
    values: dict[str, Any] = {
        "account": "main",
        "provider": "vastai",
        "instance_id": "7",
        "started_at": at(started),
        "session_id": OWNER,
        "state": InstanceState.RUNNING,
        "usd_per_hour": 3.6,
    }
    return Charge(**(values | changes))


def spans(charges: list[Charge]) -> list[tuple[float, float | None, bool]]:
    """Start, end and whether it is an estimate, of each."""

    def seconds(moment: datetime | None) -> float | None:
        return None if moment is None else (moment - START).total_seconds()

    return [(seconds(one.started_at) or 0.0, seconds(one.ended_at), one.estimated) for one in charges]


def test_a_machine_that_costs_what_it_did_adds_nothing() -> None:
    assert followed(charge(), track(), OWNER, look(100, 80)) == []


@pytest.mark.parametrize(
    "changes",
    [{"price_per_hour": 5.0}, {"state": InstanceState.STOPPED}, {"billed_per_hour": 0.1}],
)
def test_a_change_is_taken_to_be_half_way_between_two_looks(changes: dict[str, Any]) -> None:
    assert spans(followed(charge(), track(**changes), OWNER, look(100, 80))) == [(0, 90, False), (90, None, False)]


def test_another_session_pays_from_its_own_look_on() -> None:
    other = UUID(int=2, version=4)
    before, after = followed(charge(), track(), other, look(100, 80))
    assert (before.session_id, after.session_id) == (OWNER, other)


def test_a_change_in_a_long_time_without_a_look_is_taken_to_be_half_way_too_and_all_of_it_is_an_estimate() -> None:
    found = followed(charge(), track(price_per_hour=7.2), OWNER, look(10_000, 80))
    assert spans(found) == [(0, 80, False), (80, 5040, True), (5040, 10_000, True), (10_000, None, False)]
    assert [one.usd_per_hour for one in found] == [3.6, 3.6, 7.2, 7.2]


def test_a_long_time_without_a_look_in_which_nothing_changed_is_one_estimate() -> None:
    found = followed(charge(), track(), OWNER, look(10_000, 80))
    assert spans(found) == [(0, 80, False), (80, 10_000, True), (10_000, None, False)]


def test_a_short_time_without_a_look_is_no_estimate() -> None:
    assert followed(charge(), track(), OWNER, look(900, 80)) == []


def test_a_price_that_is_not_told_any_more_is_the_last_one() -> None:
    assert followed(charge(), track(price_per_hour=None), OWNER, look(100, 80)) == []


def test_a_new_machine_costs_from_its_start() -> None:
    assert spans(begun(track(100, started_at=at(85)), OWNER, look(100, 80), None)) == [(85, None, False)]


def test_a_new_machine_of_no_known_start_costs_from_half_way_between_two_looks() -> None:
    assert spans(begun(track(100), OWNER, look(100, 80), None)) == [(90, None, False)]


@pytest.mark.parametrize(("asked", "began"), [(82, 82), (79, 90), (101, 100)])
def test_a_machine_that_was_asked_for_since_the_look_before_costs_from_then(asked: float, began: float) -> None:
    assert spans(begun(track(100), OWNER, look(100, 80), None, at(asked))) == [(began, None, False)]


def test_a_start_that_is_told_counts_more_than_when_it_was_asked_for() -> None:
    assert spans(begun(track(100, started_at=at(85)), OWNER, look(100, 80), None, at(81))) == [(85, None, False)]


def test_what_a_machine_cost_before_its_account_was_watched_is_not_counted() -> None:
    assert spans(begun(track(100, started_at=at(-9000)), OWNER, look(100, since=100), None)) == [(100, None, False)]


def test_a_machine_that_came_unseen_while_nobody_looked_is_an_estimate_until_then() -> None:
    found = begun(track(10_000, started_at=at(500)), OWNER, look(10_000, 80), None)
    assert spans(found) == [(500, 10_000, True), (10_000, None, False)]


def test_a_machine_that_came_back_is_not_charged_for_its_absence() -> None:
    assert spans(begun(track(300, started_at=at(10)), OWNER, look(300, 280), at(100))) == [(290, None, False)]


def test_an_accepted_destroy_ends_the_costs() -> None:
    assert spans(ended(charge(), End(at(100), at(120), accepted_at=at(103)))) == [(0, 103, False)]


def test_a_machine_that_is_listed_for_a_moment_after_its_destroy_costs_until_it_was_seen() -> None:
    assert spans(ended(charge(), End(at(100), at(120), accepted_at=at(97)))) == [(0, 100, False)]


@pytest.mark.parametrize("accepted", [None, 39, 130])
def test_without_one_they_end_half_way_between_two_looks(accepted: float | None) -> None:
    end = End(at(100), at(120), None if accepted is None else at(accepted))
    assert spans(ended(charge(), end)) == [(0, 110, False)]


def test_a_machine_that_went_while_nobody_looked_is_an_estimate_from_when_it_was_last_seen() -> None:
    assert spans(ended(charge(), End(at(100), at(10_100)))) == [(0, 100, False), (100, 5100, True)]


def test_a_machine_that_is_missed_is_counted_until_it_was_last_seen() -> None:
    there = {"7": track()}
    missed = {"7": evolve(track(), absences=1, last_seen_at=at(60))}
    assert cost([charge()], there, at(100)) == pytest.approx(0.1)
    assert cost([charge()], missed, at(100)) == pytest.approx(0.06)
    assert cost([charge()], {}, at(100)) == 0

"""The long run: its last line is for programs, its exit status tells whether a promise was broken."""

import json

import pytest

from tests.simulation.faults import DRAWN
from tests.simulation.longrun import Tally, simulate, summary, tally_of, tally_of_points
from tests.simulation.oracles import ORACLES
from tests.simulation.schedules import Schedule, schedule_of
from tests.simulation.shapes import Shape
from tests.simulation.verdicts import FAILED, Verdict, verdict_on

SEEDS = range(4)


def test_the_last_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    status = simulate(0, len(SEEDS), jobs=1)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["schedules"] == len(SEEDS)
    assert last["simulated_hours"] > 0
    assert set(last["faults_fired"]) == set(DRAWN)
    assert set(ORACLES) <= set(last["oracles"])
    assert (status == 1) is (last["violations"] > 0)


def test_tallies_add_up() -> None:
    together, one_by_one = tally_of(SEEDS), Tally()
    for seed in SEEDS:
        one_by_one.add(tally_of([seed]))
    assert one_by_one == together
    assert together.schedules == len(SEEDS)


def test_a_violation_is_counted_by_its_oracle_and_told_with_its_command() -> None:
    tally = Tally()
    tally.take(Verdict(schedule_of(3), None, ("O1 no wrongful destroy: a", "O1 no wrongful destroy: b")))
    told = summary(tally, 0, interrupted=False)
    assert told["violations"] == 1
    assert told["oracles"]["O1 no wrongful destroy"] == 1
    assert told["failures"][0]["replay"] == "make simulate SEED=3 SCHEDULES=1"


def test_a_run_that_cannot_be_played_is_a_violation_too() -> None:
    verdict = verdict_on(evolved_without_accounts())
    assert verdict.oracles == (FAILED,)


def evolved_without_accounts() -> Schedule:
    schedule = schedule_of(0)
    return Schedule(0, Shape(accounts=("nobody",)), schedule.steps, 10.0)


def test_crash_points_are_shared_out_without_one_being_left() -> None:
    whole = tally_of_points(0, 12, 0)
    assert whole.points > 0
    assert whole.bad_points == []

"""Schedules that once broke a promise, as short as they could be made."""

from typing import Any

from attrs import evolve

from tests.simulation.house import dock, quick_settings, quick_world, vast
from tests.simulation.oracles import judge
from tests.simulation.play import play
from tests.simulation.schedules import Schedule, Step


def schedule(*steps: Step, **more: Any) -> Schedule:
    made = Schedule(1, quick_settings(vast()), quick_world(1), tuple(sorted(steps, key=lambda step: step.at)), 600.0)
    return evolve(made, **more)


def create(at: float, key: str = "one", account: str = "vast", lifetime: float | None = None) -> Step:
    return Step(at, "create", {"key": key, "account": account, "lifetime": lifetime})


def test_a_destroy_that_waits_for_its_turn_is_not_sent_after_a_freeze() -> None:
    keys = [f"session-{number}" for number in range(4)]
    steps = [create(12.0 + place, key) for place, key in enumerate(keys)]
    steps += [Step(100.0, "end", {"key": key}) for key in keys]
    steps += [Step(105.0, "freeze"), Step(200.0, "unfreeze")]
    assert judge(play(schedule(*steps, safety_seconds=300.0))) == []


def test_a_foreign_machine_under_the_id_of_an_ended_one_is_left_alone() -> None:
    steps = (
        create(12.0),
        Step(50.0, "fault", {"name": "destroy_id_reused", "delay": 60.0}),
        Step(60.0, "end", {"key": "one"}),
    )
    assert judge(play(schedule(*steps))) == []


def test_an_unknown_machine_first_seen_after_a_crash_may_be_older_than_its_first_sight() -> None:
    steps = (
        Step(20.0, "crash", {"boundaries": 1, "down": 120.0}),
        Step(100.0, "appear", {"account": "dock-v2", "tag": "unknown", "age": 0.0, "pick": 0}),
    )
    assert judge(play(schedule(*steps, settings=quick_settings(dock("v2", exclusive=True))))) == []

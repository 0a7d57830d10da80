"""Schedules that once broke a promise, as short as they could be made. What still breaks one is marked as expected to fail."""

from typing import Any

from attrs import evolve

from tests.simulation.ledger import Ledger
from tests.simulation.oracles import judge
from tests.simulation.play import play
from tests.simulation.schedules import Schedule, Step
from tests.simulation.shapes import DOCK, OLD_DOCK, VAST, Shape


def step(at: float, kind: str, **values: Any) -> Step:
    return Step(at, kind, values)


def create(at: float, key: str = "one", account: str = VAST, lifetime: float | None = None) -> Step:
    return step(at, "create", key=key, account=account, lifetime=lifetime)


def played(*steps: Step, account: str = VAST, safety: float = 150.0, seed: int = 1, **shape: Any) -> Ledger:
    ordered = tuple(sorted(steps, key=lambda one: one.at))
    return play(Schedule(seed, Shape(accounts=(account,), sweep=12.0, status_share=0.5, **shape), ordered, safety))


def test_a_destroy_that_waits_for_its_turn_is_not_sent_after_a_freeze() -> None:
    keys = [f"session-{number}" for number in range(4)]
    steps = [create(12.0 + place, key) for place, key in enumerate(keys)]
    steps += [step(60.0, "end", key=key) for key in keys]
    steps += [step(65.0, "freeze"), step(100.0, "unfreeze")]
    assert judge(played(*steps)) == []


def test_a_foreign_machine_under_the_id_of_an_ended_one_is_left_alone() -> None:
    reused = step(30.0, "fault", name="destroy_id_reused", delay=100.0)
    assert judge(played(create(12.0), reused, step(40.0, "end", key="one"), safety=250.0)) == []


def test_an_unknown_machine_first_seen_after_a_crash_may_be_older_than_its_first_sight() -> None:
    crash = step(10.0, "crash", boundaries=1, down=40.0)
    stranger = step(40.0, "appear", account=DOCK, tag="unknown", age=0.0)
    assert judge(played(crash, stranger, account=DOCK, exclusive=(DOCK,))) == []


# --- a store that was put back ------------------------------------------------------------------------------


def _extended_after_a_copy(**restored: Any) -> Ledger:
    return played(
        create(12.0, lifetime=50.0),
        step(25.0, "copy"),
        step(30.0, "extend", key="one", lifetime=400.0),
        step(35.0, "restore", down=3.0, **restored),
    )


def test_a_copy_of_the_last_run_is_known_for_a_copy_when_it_is_written_over_the_store() -> None:
    assert judge(_extended_after_a_copy(same_file=True)) == []


def test_a_copy_of_the_last_run_is_known_for_a_copy_when_it_replaces_the_store() -> None:
    assert judge(_extended_after_a_copy(same_file=False)) == []


def test_a_copy_of_an_earlier_run_is_known_for_a_copy() -> None:
    ledger = played(
        create(12.0, lifetime=50.0),
        step(20.0, "copy"),
        step(22.0, "crash", boundaries=1, down=1.0),
        step(30.0, "extend", key="one", lifetime=400.0),
        step(35.0, "restore", down=3.0, same_file=True),
    )
    assert judge(ledger) == []


# --- a clock that was set back while no process ran ---------------------------------------------------------

BACK = {"down": 2.0, "seconds": -3600.0}


def test_a_clock_that_was_set_back_holds_up_no_destroy() -> None:
    ignored = step(5.0, "fault", name="destroy_ignored")
    assert (
        judge(played(create(12.0), ignored, step(25.0, "end", key="one"), step(40.0, "clock_while_down", **BACK))) == []
    )


def test_a_clock_that_was_set_back_keeps_no_create_open() -> None:
    dropped = step(5.0, "fault", name="create_dropped")
    assert judge(played(create(12.0), dropped, step(25.0, "clock_while_down", **BACK))) == []


def test_a_clock_that_was_set_back_lengthens_no_orphan_s_grace() -> None:
    orphan = step(60.0, "appear", account=VAST, tag="over", age=0.0)
    ledger = played(create(12.0), step(20.0, "end", key="one"), orphan, step(75.0, "clock_while_down", **BACK))
    assert judge(ledger) == []


def test_a_clock_that_was_set_back_covers_no_gap_of_the_memory() -> None:
    ledger = played(
        step(20.0, "crash", boundaries=1, down=20.0),
        step(35.0, "appear", account=VAST, tag="unknown", age=0.0),
        step(38.0, "clock", seconds=-30.0),
        exclusive=(VAST,),
    )
    assert judge(ledger) == []


def test_a_clock_that_is_set_while_the_process_runs_is_not_followed() -> None:
    for seconds in (-36000.0, 36000.0):
        ledger = played(
            create(12.0, lifetime=300.0), step(30.0, "clock", seconds=seconds), step(80.0, "end", key="one")
        )
        assert judge(ledger) == []


# --- the pace of calls --------------------------------------------------------------------------------------


def test_a_change_that_a_slow_store_holds_up_after_its_turn_keeps_its_distance() -> None:
    creates = [create(14.0 + place, f"session-{place}", OLD_DOCK) for place in range(4)]
    ledger = played(step(14.0, "busy", seconds=20.0), *creates, account=OLD_DOCK)
    ledger.slow.clear()
    assert [text for text in judge(ledger) if text.startswith("O6")] == []


def test_a_minute_of_refusals_keeps_no_ended_session_for_ten_minutes() -> None:
    refusals = step(40.0, "fault", name="rate_limited_in_200", seconds=60.0)
    steps = (create(20.0, account=DOCK), refusals, step(41.0, "end", key="one"))
    ledger = play(Schedule(1, Shape(accounts=(DOCK,), sweep=12.0, status_share=1.0), steps, 102.0))
    assert judge(ledger) == []
    assert ledger.well_at - ledger.healed_at < 600.0


def test_all_is_well_in_the_end_with_every_dialect_and_nothing_wrong_outside() -> None:
    for account in (VAST, DOCK, OLD_DOCK):
        ledger = played(create(12.0, account=account), step(50.0, "end", key="one"), account=account)
        assert judge(ledger) == []
        assert {asked.told_state for asked in ledger.asked} == {"ended"}


def test_a_schedule_may_be_cut_by_its_number_of_boundaries() -> None:
    schedule = Schedule(1, Shape(sweep=12.0), (create(12.0),), 60.0)
    assert len(play(evolve(schedule, cut_at=30)).lives) == 2

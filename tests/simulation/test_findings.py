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


def test_a_destroy_whose_guards_are_slow_to_answer_is_not_sent_after_a_freeze() -> None:
    steps = (
        create(13.0, "theme", DOCK),
        step(17.1, "exempt", pick=39, seconds=45.1),
        step(31.5, "end", key="theme"),
        step(37.6, "crash", boundaries=29, down=5.2),
        create(52.8, "session-0", DOCK),
        step(63.3, "freeze"),
    )
    shape = Shape(accounts=(DOCK,), sweep=12.0, status_share=1.0)
    assert judge(play(Schedule(435409, shape, steps, 66.3))) == []


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


def test_a_start_with_a_clock_that_is_ahead_ends_nobody_early() -> None:
    ledger = played(create(12.0, lifetime=600.0), step(40.0, "clock_while_down", down=10.0, seconds=3000.0))
    assert [machine.destroyed_at for machine in ledger.machines] == [None]
    assert judge(ledger) == []


def test_a_store_that_is_put_back_while_the_clock_is_ahead_knows_deadlines_that_are_set_later() -> None:
    wrong, back = (
        step(14.0, "clock_while_down", down=36.0, seconds=3293.0),
        step(37.0, "restore", down=10.0, same_file=False),
    )
    ledger = played(step(6.0, "copy"), wrong, back, create(60.0, lifetime=20.0))
    assert [machine.destroyed_at is None for machine in ledger.machines] == [False]
    assert judge(ledger) == []


def test_a_new_deadline_holds_also_where_the_process_dies_before_it_can_say_so() -> None:
    steps = (
        create(19.941, "theme", DOCK),
        create(28.143, "session-1", DOCK),
        create(31.181, "session-0", DOCK),
        step(44.585, "end", key="session-1"),
        step(54.909, "crash", boundaries=54, down=32.74),
        step(67.055, "extend", key="session-0", lifetime=15.240450663226737),
    )
    shape = Shape(accounts=(DOCK,), sweep=10.0, status_share=1.0, boot=6.0)
    assert judge(play(Schedule(413331, shape, steps, 69.6))) == []


def test_a_deadline_that_is_set_before_the_first_listing_is_known_whatever_the_clock_said_at_the_start() -> None:
    steps = (
        step(5.0, "fault", name="list_without_key"),
        create(36.0, "session-0", OLD_DOCK),
        step(42.0, "move", down=20.0, alone=True),
        step(51.0, "clock_while_down", down=7.0, seconds=151017.0),
        step(72.0, "crash", boundaries=33, down=37.0),
        step(81.0, "extend", key="session-0", lifetime=43.0),
    )
    shape = Shape(accounts=(OLD_DOCK,), sweep=12.0, status_share=0.5)
    assert judge(play(Schedule(436554, shape, steps, 96.0))) == []


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


def test_quick_answers_after_slow_ones_draw_no_request_near_to_the_one_before() -> None:
    huge, slow = step(11.6, "fault", name="huge_body", seconds=23.4), step(59.0, "fault", name="slow", delay=4.7)
    assert judge(play(Schedule(5437, Shape(sweep=10.0, status_share=1.0), (huge, slow), 80.0))) == []


def test_a_create_that_is_overtaken_by_a_refusal_while_the_store_marks_it_waits_as_told() -> None:
    refused = step(3.3, "fault", name="rate_limited_after_effect", retry_after="1")
    shape = Shape(accounts=(DOCK, OLD_DOCK), sweep=10.0, status_share=1.0, shared=True)
    assert judge(play(Schedule(5819, shape, (refused, create(4.9, "theme", DOCK)), 7.4))) == []


def test_the_first_answer_after_an_outage_lets_a_destroy_go_before_all_else() -> None:
    steps = (
        create(17.028, "theme", OLD_DOCK),
        step(22.714, "fault", name="connection_cut_midway", seconds=39.4),
        step(26.203, "freeze"),
        step(39.732, "end", key="theme"),
        step(43.649, "crash", boundaries=34, down=6.48),
        step(54.028, "unfreeze"),
    )
    assert judge(play(Schedule(6271, Shape(accounts=(OLD_DOCK,), sweep=10.0, status_share=1.0), steps, 74.0))) == []


def test_a_copy_of_the_same_moment_as_another_file_ends_no_session_by_its_deadline() -> None:
    register = step(10.0, "register", key="one", account=OLD_DOCK, lifetime=68.0)
    twin = step(15.0, "appear", account=VAST, tag="twin", age=1667.0, pick=14)
    steps = (register, twin, step(21.0, "copy"), step(21.0, "restore", down=6.0, same_file=False))
    assert (
        judge(play(Schedule(5798, Shape(accounts=(VAST, OLD_DOCK), sweep=12.0, status_share=1.0), steps, 81.4))) == []
    )


def test_a_new_store_knows_a_machine_without_its_label_by_the_tag_s_second_place() -> None:
    ledger = played(
        step(1.0, "fault", name="create_tag_missing"), create(12.0), step(40.0, "empty", down=10.0), safety=100.0
    )
    assert [machine.tag for machine in ledger.left()] == [None]
    assert judge(ledger) == []


def test_rows_that_are_no_objects_can_be_altered_no_further() -> None:
    faults = [step(20.0, "fault", name=name) for name in ("row_not_an_object", "row_status_shouts")]
    assert judge(played(create(12.0, account=DOCK), *faults, account=DOCK)) == []


def test_rows_that_are_no_objects_may_be_listed_twice() -> None:
    faults = [step(20.0, "fault", name=name) for name in ("list_shape", "list_duplicate_row", "row_not_an_object")]
    faults[0].values["shape"] = 3
    assert judge(played(create(12.0, account=DOCK), *faults, account=DOCK)) == []


def test_calls_that_wait_for_the_store_when_their_turn_has_come_are_followed_by_no_rush() -> None:
    steps = (
        step(1.2, "fault", name="create_no_public_ip", provider="tensordock", count=3),
        step(15.027, "appear", account=OLD_DOCK, tag="unknown", age=0.0, pick=89),
        create(26.513, "theme", OLD_DOCK),
    )
    shape = Shape(accounts=(OLD_DOCK,), sweep=12.0, status_share=1.0, sightings=3, boot=1.2)
    ledger = play(Schedule(302629, shape, steps, 96.0))
    assert any(sent.operation == "create" and sent.waited > 1.0 for sent in ledger.sent)
    assert judge(ledger) == []


def test_a_machine_that_comes_back_under_another_tag_is_foreign() -> None:
    steps = (
        step(2.0, "fault", name="destroy_undone", delay=20.0),
        create(12.0),
        step(40.0, "end", key="one"),
        step(30.0, "fault", name="machine_tag_edited"),
    )
    ledger = played(*steps, safety=160.0)
    assert judge(ledger) == []


def test_the_end_of_a_lease_does_not_depend_on_the_clock_of_its_holder() -> None:
    steps = (
        step(0.0, "fault", name="offers_without_price", count=2),
        create(10.859, "theme", VAST),
        step(27.439, "clock_while_down", down=3.21, seconds=3575.3),
        step(37.815, "second", seconds=38.06977501378462),
    )
    shape = Shape(accounts=(VAST, DOCK), sweep=12.0, status_share=1.0, shared=True)
    assert judge(play(Schedule(301014, shape, steps, 61.8))) == []


def test_a_listing_that_is_no_object_cannot_end_early() -> None:
    faults = [step(20.0, "fault", name=name) for name in ("list_bare", "list_ends_early_silently")]
    assert judge(played(create(12.0), *faults)) == []


def test_a_few_refusals_in_a_row_of_whoever_asked_for_little_are_no_limit_of_a_few_calls_a_minute() -> None:
    steps = (
        step(1.2, "fault", name="new_machine_stops", provider="tensordock", reason="stoppeddisassociated", count=3),
        create(9.694, "theme", OLD_DOCK),
        create(17.775, "session-0", OLD_DOCK),
        step(22.546, "crash", boundaries=43, down=8.17),
        step(
            46.5, "fault", name="rate_limited_after_effect", shape=1, retry_after="12", provider="tensordock", count=4
        ),
        step(49.5, "end", key="session-0"),
        step(75.984, "appear", account=OLD_DOCK, tag="foreign", age=0.0, pick=34),
    )
    shape = Shape(accounts=(OLD_DOCK,), sweep=12.0, status_share=1.0, sightings=2, boot=7.2)
    assert judge(play(Schedule(305768, shape, steps, 96.0))) == []


def test_the_first_calls_of_a_process_that_is_then_refused_for_a_minute_are_no_limit() -> None:
    steps = (
        step(6.7, "fault", name="rate_limited_after_effect"),
        create(13.9, "theme", OLD_DOCK),
        step(24.6, "fault", name="slow_body"),
        create(26.3, "session-0", OLD_DOCK),
        step(26.8, "appear", account=OLD_DOCK, tag="twin", age=0.0, pick=23),
        step(55.1, "end", key="theme"),
    )
    shape = Shape(accounts=(OLD_DOCK,), sweep=12.0, status_share=1.0)
    assert judge(play(Schedule(415531, shape, steps, 58.1))) == []


def test_a_spacing_that_one_process_has_proven_is_known_to_the_next() -> None:
    steps = (
        create(9.98),
        step(34.643, "fault", name="list_never_ends", provider="vastai", seconds=46.0),
        step(73.994, "crash", boundaries=50, down=3.88),
    )
    assert judge(play(Schedule(310152, Shape(accounts=(VAST,), sweep=12.0, status_share=0.5), steps, 96.0))) == []


def test_a_machine_that_a_registered_session_is_bound_to_is_its_own_whatever_becomes_of_the_tag() -> None:
    steps = (
        step(12.0, "register", key="one", account=VAST, lifetime=60.0),
        step(16.0, "arrive", key="one"),
        step(50.0, "fault", name="machine_tag_edited", provider="vastai"),
    )
    ledger = played(*steps, safety=160.0)
    assert [machine.ended_by for machine in ledger.machines] == ["request"]
    assert judge(ledger) == []


def test_calls_that_ask_whether_an_account_is_let_in_again_and_get_no_answer_are_no_rush() -> None:
    steps = (
        create(17.891, "theme", OLD_DOCK),
        step(
            21.945,
            "fault",
            name="rate_limited_with_json_hint",
            seconds_until=7,
            count=2,
            probability=0.33,
            seconds=46.4,
        ),
        step(30.357, "fault", name="json_of_wrong_kind", provider="tensordock", count=2, seconds=34.0),
        step(34.5, "appear", account=OLD_DOCK, tag="unknown", age=0.0, pick=67),
        create(44.183, "session-0", OLD_DOCK),
        step(46.382, "fault", name="connection_reset_after_effect", seconds=9.6),
        step(46.454, "end", key="theme"),
        step(79.0, "end", key="session-0"),
    )
    shape = Shape(accounts=(OLD_DOCK,), exclusive=(OLD_DOCK,), sweep=10.0, status_share=1.0, boot=0.0)
    assert judge(play(Schedule(330469, shape, steps, 80.0))) == []


def test_a_machine_that_goes_on_under_another_id_and_another_tag_is_its_session_s() -> None:
    steps = (
        create(3.748, "theme", DOCK),
        step(11.682, "fault", name="machine_migrates", provider="tensordock"),
        step(37.719, "fault", name="machine_tag_edited", provider="tensordock"),
        step(62.821, "end", key="theme"),
    )
    ledger = play(Schedule(331263, Shape(accounts=(DOCK,), sweep=12.0, status_share=1.0, boot=1.2), steps, 96.0))
    assert [(machine.tag, machine.ended_by) for machine in ledger.machines][1:] == [("renamed-by-hand", "request")]
    assert judge(ledger) == []


def test_an_exemption_that_comes_back_with_a_copy_of_the_store_is_lifted_again_by_whoever_wanted_it() -> None:
    steps = (
        create(11.602),
        step(15.771, "exempt", pick=0, seconds=20.0),
        step(26.715, "copy"),
        step(40.155, "restore", down=11.38, same_file=True),
        step(63.773, "end", key="one"),
    )
    assert judge(played(*steps, safety=96.0)) == []


def test_a_machine_that_no_listing_showed_is_not_confused_with_one_that_got_its_id_later() -> None:
    steps = (
        step(483.0, "appear", account=VAST, tag="untagged", age=0.0, pick=38),
        step(658.0, "fault", name="list_rows_missing"),
        create(710.0, "theme"),
        step(899.0, "fault", name="destroy_id_reused"),
        step(918.0, "end", key="theme"),
    )
    assert judge(play(Schedule(502279, Shape(status_share=1.0), steps, 1038.0))) == []


def test_a_copy_that_is_put_back_is_noticed_although_the_beats_wait_for_a_clock_that_was_ahead() -> None:
    steps = (
        step(14.0, "crash", boundaries=16, down=33.0),
        step(46.0, "clock", seconds=20966.0),
        create(59.0, "theme", OLD_DOCK, lifetime=77.0),
        step(78.0, "copy"),
        step(88.0, "extend", key="theme", lifetime=81.0),
        step(125.0, "restore", down=5.0, same_file=True),
    )
    shape = Shape(accounts=(OLD_DOCK,), sweep=20.0, status_share=1.0)
    assert judge(play(Schedule(509289, shape, steps, 130.2))) == []


def test_all_is_well_in_the_end_with_every_dialect_and_nothing_wrong_outside() -> None:
    for account in (VAST, DOCK, OLD_DOCK):
        ledger = played(create(12.0, account=account), step(50.0, "end", key="one"), account=account)
        assert judge(ledger) == []
        assert {asked.told_state for asked in ledger.asked} == {"ended"}


def test_a_schedule_may_be_cut_by_its_number_of_boundaries() -> None:
    schedule = Schedule(1, Shape(sweep=12.0), (create(12.0),), 60.0)
    assert len(play(evolve(schedule, cut_at=30)).lives) == 2

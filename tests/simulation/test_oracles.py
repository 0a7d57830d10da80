"""Each oracle is content with a good ledger, and finds what a doctored one was given."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from shopperd.model import tag_of
from tests.simulation.ledger import (
    Asked,
    Forgot,
    Held,
    Ledger,
    Lifetime,
    Machine,
    Ordered,
    Protected,
    Run,
    Sent,
    Slow,
    Span,
    Stock,
)
from tests.simulation.oracles import ORACLES, judge

ID = UUID("0d5f3a0e-8f1d-4c39-9d8e-1f2a3b4c5d6e")
OTHER = UUID("1d5f3a0e-8f1d-4c39-9d8e-1f2a3b4c5d6e")
STRANGER = tag_of(UUID("2d5f3a0e-8f1d-4c39-9d8e-1f2a3b4c5d6e"))
TAG = tag_of(ID)


def created(n: int = 1, at: float = 10.0, id_: str = "7", tag: str = TAG, status: int | None = 200) -> Sent:
    return Sent(n, at, "vast", 1, "create", None, status, f"created:{id_}", (), tag=tag, made=((id_, at),))


def destroyed(n: int = 2, at: float = 500.0, id_: str = "7", tag: str | None = TAG, born: float = 10.0) -> Sent:
    return Sent(
        n,
        at,
        "vast",
        1,
        "destroy",
        id_,
        200,
        f"destroyed:{id_}",
        (),
        machine_tag=tag,
        machine_created_at=born,
        told_state="ending",
        told_instance="7",
    )


def listed(n: int, at: float, operation: str = "list", **more: Any) -> Sent:
    return evolve(Sent(n, at, "vast", 1, operation, None, 200, None, (), sent_at=at), **more)


def ran(job: str, began: float, ended: float | None, account: str = "vast") -> Run:
    return Run(1, job, account, 60.0, 900.0, began, ended)


def good() -> Ledger:
    """One session was rented, ended and destroyed; another one runs."""
    asked = [
        Asked("a", "vast", 5.0, ID, [(5.0, None)], ended_at=400.0, told_state="ended", told_instance="7"),
        Asked("b", "vast", 5.0, OTHER, [(5.0, None)], told_state="running", told_instance="8"),
    ]
    return Ledger(
        "",
        {"vast": "vastai"},
        intervals={"vast": {"list": 1.0, "destroy": 3.0, "shared": 0.5}},
        blocks_all=frozenset({"vast"}),
        sent=[created(), destroyed(), created(3, 20.0, "8", tag_of(OTHER))],
        asked=asked,
        machines=[Machine("vastai", "7", TAG, 10.0, 500.0), Machine("vastai", "8", tag_of(OTHER), 20.0, None)],
        lives=[Lifetime(1, 0.0)],
        memory=[Span(0.0, 5000.0)],
        runs=[ran("sweep", at, at + 1.0) for at in range(0, 5000, 60)],
        stocks=[Stock(600.0, (str(ID), str(OTHER)), (("vast", "8"),))],
        per_sweep=3,
        per_hour_share=0.2,
        healed_at=3000.0,
        ended_at=5000.0,
        shown={"ours vast": 1.0, "session running vast": 1.0},
    )


def found(ledger: Ledger, oracle: str) -> str:
    """What that oracle, and no matter which other, says."""
    assert oracle in ORACLES
    return "; ".join(text for text in judge(ledger) if text.startswith(f"{oracle}:"))


def test_a_good_ledger_is_good() -> None:
    assert judge(good()) == []


# --- O1 -----------------------------------------------------------------------------------------------------


def test_a_destroy_while_the_session_was_live_is_found() -> None:
    ledger = good()
    ledger.asked[0].ended_at = 501.0
    assert "which was live" in found(ledger, "O1 no wrongful destroy")


def test_a_destroy_after_the_deadline_is_right_and_before_an_extended_one_is_not() -> None:
    ledger = good()
    ledger.asked[0].ended_at = None
    ledger.asked[0].deadlines = [(5.0, 450.0)]
    assert not found(ledger, "O1 no wrongful destroy")
    ledger.asked[0].deadlines.append((440.0, 900.0))
    assert "which was live" in found(ledger, "O1 no wrongful destroy")


def test_a_deadline_counts_by_the_clock_of_the_process() -> None:
    ledger = good()
    ledger.asked[0].ended_at = None
    ledger.asked[0].deadlines = [(5.0, 4000.0)]
    assert "which was live" in found(ledger, "O1 no wrongful destroy")
    ledger.sent[1].ahead = 3600.0
    assert not found(ledger, "O1 no wrongful destroy")


@pytest.mark.parametrize("tag", ["training-run", None, TAG.upper(), f"{TAG}-2"])
def test_a_destroy_of_a_foreign_machine_is_found(tag: str | None) -> None:
    ledger = good()
    ledger.sent.append(destroyed(9, 600.0, "99", tag, 50.0))
    assert "foreign" in found(ledger, "O1 no wrongful destroy")


def test_a_destroy_of_a_re_used_id_is_found() -> None:
    ledger = good()
    ledger.sent.append(destroyed(9, 900.0, "7", "training-run", 700.0))
    assert "foreign" in found(ledger, "O1 no wrongful destroy")


def test_an_unknown_machine_may_go_only_from_an_exclusive_account_that_was_watched() -> None:
    ledger = good()
    ledger.sent.append(destroyed(9, 900.0, "99", STRANGER, 700.0))
    assert "not exclusive" in found(ledger, "O1 no wrongful destroy")
    ledger.exclusive = frozenset({"vast"})
    assert not found(ledger, "O1 no wrongful destroy")
    ledger.memory = [Span(0.0, 600.0), Span(800.0, 5000.0)]
    assert "nobody watched" in found(ledger, "O1 no wrongful destroy")


def test_what_a_store_that_was_put_back_cannot_know_was_not_watched() -> None:
    ledger = good()
    ledger.exclusive = frozenset({"vast"})
    ledger.sent.append(destroyed(9, 900.0, "99", STRANGER, 700.0))
    ledger.memory = [Span(0.0, 5000.0, forgotten_at=850.0), Span(0.0, 400.0, known_from=850.0), Span(860.0)]
    assert "nobody watched" in found(ledger, "O1 no wrongful destroy")
    ledger.memory[0].forgotten_at = 1000.0
    assert not found(ledger, "O1 no wrongful destroy")


def test_the_machine_of_a_forgotten_session_is_an_unknown_one() -> None:
    ledger = good()
    ledger.asked[0].forgotten = [(450.0, 5000.0)]
    assert "whose session nobody knows" in found(ledger, "O1 no wrongful destroy")
    ledger.asked[0].forgotten = [(550.0, 5000.0)]
    assert not found(ledger, "O1 no wrongful destroy")


def test_a_destroy_that_somebody_asked_for_is_right() -> None:
    ledger = good()
    ledger.asked[0].ended_at = None
    assert "which was live" in found(ledger, "O1 no wrongful destroy")
    ledger.ordered.append(Ordered("vast", "7", 450.0))
    assert not found(ledger, "O1 no wrongful destroy")


def test_a_destroy_of_an_exempt_machine_is_found() -> None:
    ledger = good()
    ledger.exempt.append(Protected("vast", "7", 450.0))
    assert "while exempt" in found(ledger, "O1 no wrongful destroy")
    ledger.exempt[0].end = 480.0
    assert not found(ledger, "O1 no wrongful destroy")


def test_a_destroy_while_frozen_is_found_and_one_that_left_before_is_not() -> None:
    ledger = good()
    ledger.frozen = [(450.0, 550.0)]
    assert "while frozen" in found(ledger, "O1 no wrongful destroy")
    ledger.sent[1].sent_at = 449.9
    assert not found(ledger, "O1 no wrongful destroy")


def test_of_two_machines_of_a_live_session_only_the_surplus_one_may_go() -> None:
    ledger = good()
    ledger.asked[0].ended_at = None
    ledger.sent[1] = evolve(ledger.sent[1], told_state="running", told_instance="6")
    ledger.machines.append(Machine("vastai", "6", TAG, 9.0, None))
    assert not found(ledger, "O1 no wrongful destroy")
    ledger.sent[1] = evolve(ledger.sent[1], told_instance="7")
    assert "which was live" in found(ledger, "O1 no wrongful destroy")


def test_a_verdict_in_the_first_sweep_on_a_changed_store_is_found() -> None:
    ledger = good()
    ledger.lives[0].observing = True
    ledger.asked[0].ended_at = None
    assert not found(ledger, "O1 looks first")
    ledger.runs = [ran("sweep", 490.0, 491.0)]
    assert "before a second sweep" in found(ledger, "O1 looks first")


# --- O2, O3, O4 ---------------------------------------------------------------------------------------------


def test_a_machine_that_is_left_is_found() -> None:
    ledger = good()
    ledger.machines[0] = evolve(ledger.machines[0], destroyed_at=None)
    assert "is left" in found(ledger, "O2 no leak")


def test_a_machine_that_lost_its_tag_is_found_as_long_as_its_id_is_known() -> None:
    ledger = good()
    ledger.machines[0] = evolve(ledger.machines[0], destroyed_at=None, tag=None)
    assert "is left" in found(ledger, "O2 no leak")
    ledger.asked[0].told_instance = None
    assert not found(ledger, "O2 no leak")


def test_a_machine_that_is_exempt_or_whose_end_was_forgotten_is_no_leak() -> None:
    ledger = good()
    ledger.machines[0] = evolve(ledger.machines[0], destroyed_at=None)
    ledger.exempt.append(Protected("vast", "7", 450.0))
    assert not found(ledger, "O2 no leak")
    ledger.exempt.clear()
    ledger.asked[0].told_state, ledger.asked[0].end_forgotten = "running", True
    assert not found(ledger, "O2 no leak")


def test_a_machine_that_nothing_in_the_store_names_is_found() -> None:
    ledger = good()
    ledger.stocks.append(Stock(100.0, (str(OTHER),), (("vast", "8"),)))
    assert "nothing in the store names vastai 7" in found(ledger, "O3 no lost handle")
    ledger.stocks[-1] = Stock(100.0, (str(OTHER),), (("vast", "7"), ("vast", "8")))
    assert not found(ledger, "O3 no lost handle")


def test_what_was_rented_after_the_copy_that_was_put_back_is_no_lost_handle() -> None:
    ledger = good()
    ledger.stocks.append(Stock(100.0, (), (("vast", "8"),)))
    ledger.forgot.append(Forgot(90.0, 5.0))
    assert not found(ledger, "O3 no lost handle")
    ledger.forgot[0] = Forgot(90.0, 15.0)
    assert "nothing in the store names" in found(ledger, "O3 no lost handle")


def test_a_create_that_is_sent_again_after_it_had_its_effect_is_found() -> None:
    ledger = good()
    ledger.sent.insert(1, created(2, 30.0, "9", status=None))
    assert "asks again" in found(ledger, "O3 no second request")


def test_a_create_that_is_sent_again_after_a_definite_refusal_is_right() -> None:
    ledger = good()
    ledger.sent.insert(0, Sent(0, 9.0, "vast", 1, "create", None, 400, None, (), tag=TAG))
    assert not found(ledger, "O3 no second request")


def test_a_second_machine_of_a_live_session_is_found() -> None:
    ledger = good()
    ledger.machines.append(Machine("vastai", "9", tag_of(OTHER), 30.0, None))
    assert "2 machines" in found(ledger, "O4 one machine per intent")


# --- O5 -----------------------------------------------------------------------------------------------------


def test_more_verdicts_in_an_hour_than_the_limit_are_found() -> None:
    ledger = good()
    ledger.asked[0].ended_at, ledger.asked[0].deadlines = None, [(5.0, 100.0)]
    ledger.sent.extend(destroyed(10 + n, 600.0 + n, f"{20 + n}", TAG, 15.0) for n in range(2))
    assert not found(ledger, "O5 cap")
    ledger.sent.append(destroyed(20, 4000.0, "30", TAG, 15.0))
    assert "in an hour, over its limit" in found(ledger, "O5 cap")
    ledger.per_hour_share = 1.0
    assert not found(ledger, "O5 cap")


def test_more_verdicts_than_the_sweeps_so_far_allow_are_found() -> None:
    ledger = good()
    ledger.per_hour_share = 1.0
    ledger.asked[0].ended_at, ledger.asked[0].deadlines = None, [(5.0, 100.0)]
    ledger.runs = [ran("sweep", 490.0, 491.0)]
    ledger.sent.extend(destroyed(10 + n, 600.0 + n, f"{20 + n}", TAG, 15.0) for n in range(3))
    assert "over its limit of 3" in found(ledger, "O5 cap")
    ledger.runs.append(ran("sweep", 550.0, 551.0))
    assert not found(ledger, "O5 cap")


def test_commands_do_not_count_towards_the_limit() -> None:
    ledger = good()
    for number in range(9):
        sent = destroyed(10 + number, 600.0 + number, f"{20 + number}", TAG, 15.0)
        ledger.sent.append(evolve(sent, told_instance=sent.instance))
    assert not found(ledger, "O5 cap")


# --- O6 -----------------------------------------------------------------------------------------------------


def test_two_calls_that_are_too_close_are_found() -> None:
    ledger = good()
    ledger.sent.extend((listed(10, 600.0), listed(11, 600.7)))
    assert "the least is 1 s (list)" in found(ledger, "O6 spacing")
    ledger.sent[-1].sent_at = 601.0
    assert not found(ledger, "O6 spacing")


def test_a_spacing_that_was_accepted_is_proven_and_may_be_tried_a_little_closer() -> None:
    ledger = good()
    moments = (600.0, 600.9, 601.6)
    ledger.sent.extend(listed(10 + place, at) for place, at in enumerate(moments))
    assert not found(ledger, "O6 spacing")
    ledger.sent[-1].sent_at = 601.25
    assert "the least is 0.9 s (list)" in found(ledger, "O6 spacing")


def test_calls_of_different_kinds_keep_the_account_s_own_rate() -> None:
    ledger = good()
    ledger.sent.extend((listed(10, 600.0), listed(11, 600.0, "show"), listed(12, 600.1, "search")))
    assert "(shared)" in found(ledger, "O6 spacing")
    ledger.sent[-1].life = 2
    assert not found(ledger, "O6 spacing")


def test_a_change_that_was_held_up_by_the_disk_after_its_turn_keeps_its_distance_too() -> None:
    ledger = good()
    ledger.sent.extend((listed(10, 600.0, "destroy"), listed(11, 602.0, "destroy")))
    assert "(destroy)" in found(ledger, "O6 spacing")
    ledger.slow.append(Slow(1, 597.0, 600.0))
    assert "(destroy)" in found(ledger, "O6 spacing")


def test_a_call_inside_of_the_wait_that_a_refusal_named_is_found() -> None:
    ledger = good()
    refusal = listed(10, 600.0, status=429, answered_at=600.2, retry_after=30.0)
    ledger.sent.extend((refusal, listed(11, 620.0, "show")))
    assert "asked to wait" in found(ledger, "O6 Retry-After")
    ledger.blocks_all = frozenset()
    assert not found(ledger, "O6 Retry-After")
    ledger.sent[-1].operation = "list"
    assert "asked to wait" in found(ledger, "O6 Retry-After")
    ledger.sent[-1].sent_at = 631.0
    assert not found(ledger, "O6 Retry-After")


def test_a_destroy_that_waits_behind_two_lower_calls_is_found() -> None:
    ledger = good()
    late = evolve(destroyed(12, 605.0), sent_at=605.0, waited=5.0)
    ledger.sent.extend((listed(10, 601.0), listed(11, 603.0, "search"), late))
    assert "waited behind the requests [10, 11]" in found(ledger, "O6 destroys first")
    late.waited = 3.0
    assert not found(ledger, "O6 destroys first")


# --- O7 -----------------------------------------------------------------------------------------------------


def test_a_session_that_is_told_to_run_on_nothing_is_found() -> None:
    ledger = good()
    ledger.machines[1] = evolve(ledger.machines[1], destroyed_at=4000.0)
    assert "not there" in found(ledger, "O7 belief equals truth")


@pytest.mark.parametrize("state", ["lost", "failed"])
def test_a_session_that_is_told_to_be_over_while_its_machine_is_there_is_found(state: str) -> None:
    ledger = good()
    ledger.asked[1].told_state = state
    assert "is there" in found(ledger, "O7 belief equals truth")


@pytest.mark.parametrize("state", ["creating", "ending"])
def test_a_session_that_never_gets_on_is_found(state: str) -> None:
    ledger = good()
    ledger.asked[0].told_state = state
    assert f"still {state}" in found(ledger, "O7 belief equals truth")


@pytest.mark.parametrize("name", ["ours vast", "unknown vast", "foreign vast", "orphans vast", "session lost vast"])
def test_a_gauge_that_does_not_tell_the_truth_is_found(name: str) -> None:
    ledger = good()
    ledger.shown = {**ledger.shown, name: 5.0}
    assert f"the gauge of {name} is 5" in found(ledger, "O7 gauges equal truth")


def test_unknown_and_foreign_machines_are_gauged_as_such() -> None:
    ledger = good()
    ledger.machines.append(Machine("vastai", "50", STRANGER, 30.0, None))
    ledger.machines.append(Machine("vastai", "51", "training-run", 30.0, None))
    assert found(ledger, "O7 gauges equal truth")
    ledger.shown = {**ledger.shown, "unknown vast": 1.0, "foreign vast": 1.0, "orphans vast": 1.0}
    assert not found(ledger, "O7 gauges equal truth")


# --- O8, O9, O10 --------------------------------------------------------------------------------------------


def test_a_fault_of_our_own_is_found() -> None:
    ledger = good()
    ledger.crashes.append("job.crashed: KeyError: 'x'")
    assert "KeyError" in found(ledger, "O8 no fault of our own")


def test_a_loop_that_pauses_is_found_unless_its_process_was_asked_to_stop() -> None:
    ledger = good()
    ledger.runs = [run for run in ledger.runs if run.began < 4000.0]
    assert "did not run for" in found(ledger, "O8 progress")
    ledger.lives[0].stopping = 4010.0
    assert not found(ledger, "O8 progress")


def test_a_run_that_never_ends_is_found() -> None:
    ledger = good()
    ledger.runs.append(ran("status", 100.0, None))
    assert "over its deadline" in found(ledger, "O8 progress")


def test_a_sweep_that_another_account_s_trouble_delays_is_found() -> None:
    ledger = good()
    ledger.runs = [ran("sweep", 4800.0, 4990.0)]
    assert "which had no trouble" in found(ledger, "O8 progress")
    ledger.sent.append(listed(10, 4900.0, faults=("slow",)))
    assert not found(ledger, "O8 progress")


def test_a_credential_where_it_must_not_be_is_found() -> None:
    ledger = good()
    ledger.spilled.append("the log line x holds the credential VAST")
    assert "the credential VAST" in found(ledger, "O9 secrecy")


def test_a_row_without_its_seal_is_found() -> None:
    ledger = good()
    ledger.unsealed.append("instances: m1")
    assert "instances: m1" in found(ledger, "O8 seals")


@pytest.mark.parametrize(("sent", "kind"), [(destroyed(9, 900.0), "a change"), (listed(9, 900.0), "a request")])
def test_what_a_process_sends_after_its_end_is_found(sent: Sent, kind: str) -> None:
    ledger = good()
    ledger.sent.append(sent)
    assert not found(ledger, "O10 fencing")
    ledger.lives[0].ended = 899.0
    assert kind in found(ledger, "O10 fencing")


def test_a_change_by_a_process_that_another_took_the_right_from_is_found() -> None:
    ledger = good()
    ledger.shared = True
    ledger.held = [Held(1, 1.0), Held(2, 600.0)]
    assert not found(ledger, "O10 fencing")
    ledger.sent.append(destroyed(9, 900.0))
    assert "and 2 had the right" in found(ledger, "O10 fencing")


def test_every_oracle_was_shown_to_fail() -> None:
    text = Path(__file__).read_text()
    assert [name for name in ORACLES if f'in found(ledger, "{name}")' not in text] == []

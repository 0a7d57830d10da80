"""Each oracle is content with a good ledger, and finds what a doctored one was given."""

from uuid import UUID

import pytest
from attrs import evolve

from shopperd.model import tag_of
from tests.simulation.ledger import Asked, Ledger, Machine, Sent
from tests.simulation.oracles import ORACLES, judge

ID = UUID("0d5f3a0e-8f1d-4c39-9d8e-1f2a3b4c5d6e")
OTHER = UUID("1d5f3a0e-8f1d-4c39-9d8e-1f2a3b4c5d6e")
TAG = tag_of(ID)


def created(n: int = 1, at: float = 10.0, id_: str = "7", tag: str = TAG, status: int | None = 200) -> Sent:
    return Sent(n, at, "vast", 1, "create", None, status, f"created:{id_}", (), tag=tag)


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


def good() -> Ledger:
    """One session was rented, ended and destroyed; another one runs."""
    asked = [
        Asked("a", "vast", 5.0, ID, [(5.0, None)], ended_at=400.0, told_state="ended", told_instance="7"),
        Asked("b", "vast", 5.0, OTHER, [(5.0, None)], told_state="running", told_instance="8"),
    ]
    return Ledger(
        "",
        {"vast": "vastai"},
        sent=[created(), destroyed(), created(3, 20.0, "8", tag_of(OTHER))],
        asked=asked,
        machines=[Machine("vastai", "7", TAG, 10.0, 500.0), Machine("vastai", "8", tag_of(OTHER), 20.0, None)],
        memory=[(0.0, 5000.0)],
        cap_per_hour=3,
        healed_at=3000.0,
        ended_at=5000.0,
    )


def found(ledger: Ledger, oracle: str) -> str:
    """What that oracle, and no matter which other, says."""
    assert oracle in {name.partition(" ")[0] for name in ORACLES}
    return "; ".join(text for text in judge(ledger) if text.startswith(oracle))


def test_a_good_ledger_is_good() -> None:
    assert judge(good()) == []


def test_a_destroy_while_the_session_was_live_is_found() -> None:
    ledger = good()
    ledger.asked[0].ended_at = 501.0
    assert "which was live" in found(ledger, "O1")


def test_a_destroy_after_the_deadline_is_right_and_before_an_extended_one_is_not() -> None:
    ledger = good()
    ledger.asked[0].ended_at = None
    ledger.asked[0].deadlines = [(5.0, 450.0)]
    assert not found(ledger, "O1")
    ledger.asked[0].deadlines.append((440.0, 900.0))
    assert "which was live" in found(ledger, "O1")


@pytest.mark.parametrize("tag", ["training-run", None, TAG.upper(), f"{TAG}-2"])
def test_a_destroy_of_a_foreign_machine_is_found(tag: str | None) -> None:
    ledger = good()
    ledger.sent.append(destroyed(9, 600.0, "99", tag, 50.0))
    assert "foreign" in found(ledger, "O1")


def test_a_destroy_of_a_re_used_id_is_found() -> None:
    ledger = good()
    ledger.sent.append(destroyed(9, 900.0, "7", "training-run", 700.0))
    assert "foreign" in found(ledger, "O1")


def test_an_unknown_machine_may_go_only_from_an_exclusive_account_that_was_watched() -> None:
    stranger = tag_of(UUID("2d5f3a0e-8f1d-4c39-9d8e-1f2a3b4c5d6e"))
    ledger = good()
    ledger.sent.append(destroyed(9, 900.0, "99", stranger, 700.0))
    assert "not exclusive" in found(ledger, "O1")
    ledger.exclusive = frozenset({"vast"})
    assert not found(ledger, "O1")
    ledger.memory = [(0.0, 600.0), (800.0, 5000.0)]
    assert "nobody watched" in found(ledger, "O1")


def test_a_destroy_while_frozen_is_found() -> None:
    ledger = good()
    ledger.frozen = [(450.0, 550.0)]
    assert "while frozen" in found(ledger, "O1")
    ledger.frozen = [(501.0, 550.0)]
    assert not found(ledger, "O1")


def test_of_two_machines_of_a_live_session_only_the_surplus_one_may_go() -> None:
    ledger = good()
    ledger.asked[0].ended_at = None
    ledger.sent[1] = evolve(ledger.sent[1], told_state="running", told_instance="6")
    ledger.machines.append(Machine("vastai", "6", TAG, 9.0, None))
    assert not found(ledger, "O1")
    ledger.sent[1] = evolve(ledger.sent[1], told_instance="7")
    assert "which was live" in found(ledger, "O1")


def test_a_machine_that_is_left_is_found() -> None:
    ledger = good()
    ledger.machines[0] = evolve(ledger.machines[0], destroyed_at=None)
    assert "is left" in found(ledger, "O2")


def test_a_machine_that_lost_its_tag_is_found_all_the_same() -> None:
    ledger = good()
    ledger.machines[0] = evolve(ledger.machines[0], destroyed_at=None, tag=None)
    assert "is left" in found(ledger, "O2")


def test_a_second_machine_of_a_live_session_is_found() -> None:
    ledger = good()
    ledger.machines.append(Machine("vastai", "9", tag_of(OTHER), 30.0, None))
    assert "2 machines" in found(ledger, "O4")


def test_a_create_that_is_sent_again_after_it_had_its_effect_is_found() -> None:
    ledger = good()
    ledger.sent.insert(1, created(2, 30.0, "9", status=None))
    assert "asks again" in found(ledger, "O3")


def test_a_create_that_is_sent_again_after_a_definite_refusal_is_right() -> None:
    ledger = good()
    ledger.sent.insert(0, Sent(0, 9.0, "vast", 1, "create", None, 400, None, (), tag=TAG))
    assert not found(ledger, "O3")


def test_more_verdicts_in_an_hour_than_the_limit_are_found() -> None:
    ledger = good()
    ledger.asked[0].ended_at, ledger.asked[0].deadlines = None, [(5.0, 100.0)]
    ledger.sent.extend(destroyed(10 + n, 600.0 + n, f"{20 + n}", TAG, 15.0) for n in range(2))
    assert not found(ledger, "O5")
    ledger.sent.append(destroyed(20, 4000.0, "30", TAG, 15.0))
    assert "over its limit" in found(ledger, "O5")
    ledger.cap_per_hour = None
    assert not found(ledger, "O5")


def test_commands_do_not_count_towards_the_limit() -> None:
    ledger = good()
    ledger.sent.extend(destroyed(10 + n, 600.0 + n, f"{20 + n}", TAG, 15.0) for n in range(9))
    assert not found(ledger, "O5")


def test_a_session_that_is_told_to_run_on_nothing_is_found() -> None:
    ledger = good()
    ledger.machines[1] = evolve(ledger.machines[1], destroyed_at=4000.0)
    assert "not there" in found(ledger, "O7")


@pytest.mark.parametrize("state", ["lost", "failed"])
def test_a_session_that_is_told_to_be_over_while_its_machine_is_there_is_found(state: str) -> None:
    ledger = good()
    ledger.asked[1].told_state = state
    assert "is there" in found(ledger, "O7")


@pytest.mark.parametrize("state", ["creating", "ending"])
def test_a_session_that_never_gets_on_is_found(state: str) -> None:
    ledger = good()
    ledger.asked[0].told_state = state
    assert f"still {state}" in found(ledger, "O7")


def test_a_fault_of_our_own_is_found() -> None:
    ledger = good()
    ledger.crashes.append("job.crashed: KeyError: 'x'")
    assert "KeyError" in found(ledger, "O8")


def test_every_oracle_was_shown_to_fail() -> None:
    text = __import__("pathlib").Path(__file__).read_text()
    assert [name for name in ORACLES if f'found(ledger, "{name.split()[0]}")' not in text] == []

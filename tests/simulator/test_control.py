"""The control API: truth, log, faults, machines out of nowhere, clock; and a reason in every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from shopperd.simulator.faults import CATALOGUE
from tests.simulator.visitor import START, TAG, Visitor


@pytest.fixture
def visitor() -> Visitor:
    return Visitor()


def test_the_state_tells_of_every_machine_that_ever_was(visitor: Visitor) -> None:
    kept, gone = visitor.conjure(2, price_per_hour=1.25)
    visitor.destroy(gone)
    state = visitor.control("GET", "state").json()
    rows = {row["id"]: row for row in state["instances"]}
    assert state["now"] == START
    assert rows[kept]["state"] == "running"
    assert rows[kept]["created_at"] == START - 3600
    assert rows[kept]["billed"] == pytest.approx(1.25)
    assert rows[kept]["tag"] == TAG
    assert rows[gone]["state"] == "destroyed"
    assert rows[gone]["destroyed_at"] == START
    assert state["offers"] == {"vastai": 60, "tensordock": visitor.world.truth.dock.rows()}


def test_the_log_is_numbered_and_can_be_read_from_a_number_on(visitor: Visitor) -> None:
    for _ in range(5):
        visitor.page()
    page = visitor.control("GET", "requests", query={"after": "3"}).json()
    assert [row["n"] for row in page["requests"]] == [4, 5]
    assert page["last"] == 5
    assert set(page["requests"][0]) >= {"n", "at", "provider", "method", "path", "status", "effect"}
    assert visitor.control("GET", "requests", query={"after": "99"}).json()["requests"] == []
    assert visitor.control("GET", "requests", query={"after": "x"}).status == 400


def test_control_requests_are_not_in_the_log(visitor: Visitor) -> None:
    visitor.control("GET", "state")
    assert visitor.control("GET", "requests").json() == {"requests": [], "last": 0}


def test_every_fault_is_told_with_what_it_does_and_which_are_on(visitor: Visitor) -> None:
    made = visitor.control("POST", "faults", {"name": "slow", "count": 3, "delay": 2.5})
    assert made.status == 201
    told = visitor.control("GET", "faults").json()
    assert [fault["name"] for fault in told["faults"]] == list(CATALOGUE)
    assert told["active"] == [made.json()]
    assert made.json()["parameters"] == {"delay": 2.5}


def test_a_fault_is_switched_off_by_its_id_and_all_at_once(visitor: Visitor) -> None:
    ids = [visitor.control("POST", "faults", {"name": "slow"}).json()["id"] for _ in range(3)]
    assert visitor.control("DELETE", f"faults/{ids[0]}").json() == {"switched_off": [ids[0]]}
    assert visitor.control("DELETE", f"faults/{ids[0]}").status == 404
    assert visitor.control("DELETE", "faults").json() == {"switched_off": ids[1:]}


def test_what_happened_is_counted_by_name(visitor: Visitor) -> None:
    visitor.control("POST", "faults", {"name": "server_error", "count": 2})
    for _ in range(3):
        visitor.page()
    assert visitor.control("GET", "state").json()["faults_fired"] == {"server_error": 2}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("running", ("running", "running")),
        ("starting", ("loading", "running")),
        ("stopped", ("exited", "stopped")),
        ("exited", ("exited", "running")),
        ("offline", ("offline", "running")),
    ],
)
def test_a_machine_out_of_nowhere_is_in_the_asked_state(state: str, words: tuple[str, str]) -> None:
    visitor = Visitor(boot_seconds=100)
    made = visitor.control("POST", "instances", {"provider": "vastai", "tag": "anything at all", "state": state})
    assert made.status == 201
    row = visitor.rows()[0]
    assert str(row["id"]) == made.json()["id"]
    assert (row["actual_status"], row["intended_status"]) == words
    assert row["label"] == "anything at all"


def test_a_tensordock_machine_out_of_nowhere_can_have_its_gpu_released() -> None:
    visitor = Visitor("v2")
    visitor.conjure(state="stoppeddisassociated")
    assert visitor.rows()[0]["status"] == "stoppeddisassociated"


def test_a_machine_can_be_made_to_vanish(visitor: Visitor) -> None:
    instance_id = visitor.conjure()[0]
    assert visitor.control("DELETE", f"instances/vastai/{instance_id}").json()["state"] == "destroyed"
    assert visitor.listed() == []
    assert visitor.control("DELETE", f"instances/vastai/{instance_id}").status == 404


def test_the_clock_can_be_advanced(visitor: Visitor) -> None:
    visitor.conjure(age_seconds=0, price_per_hour=1.0)
    assert visitor.control("POST", "clock", {"advance_seconds": 7200}).json() == {"now": START + 7200, "offset": 7200}
    assert visitor.world.state()["billed_total"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("method", "path", "content", "reason"),
    [
        ("POST", "faults", {"name": "nonsense"}, "no fault is named"),
        ("POST", "faults", [], "must be a JSON object"),
        ("POST", "instances", {"provider": "aws"}, "provider must be one of"),
        ("POST", "instances", {"provider": "vastai", "state": "dreaming"}, "state must be one of"),
        ("POST", "instances", {"provider": "vastai", "colour": 1}, "no member 'colour'"),
        ("POST", "instances", {"provider": "vastai", "tag": 5}, "tag must be text"),
        ("POST", "instances", {"provider": "vastai", "age_seconds": -5}, "age_seconds must be"),
        ("POST", "instances", {"provider": "vastai", "gpu_count": 99}, "no offer has 99 GPUs"),
        ("POST", "clock", {"advance_seconds": -1}, "advance_seconds must be"),
        ("POST", "clock", {}, "advance_seconds must be"),
    ],
)
def test_what_makes_no_sense_is_400_with_the_reason(
    visitor: Visitor, method: str, path: str, content: Any, reason: str
) -> None:
    answer = visitor.control(method, path, content)
    assert answer.status == 400
    assert reason in answer.json()["error"]


def test_an_unknown_control_route_is_404(visitor: Visitor) -> None:
    assert visitor.control("GET", "nothing").status == 404

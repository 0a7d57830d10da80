"""Every fault does what it says, and what it says does not happen without it."""

from __future__ import annotations

from itertools import permutations

import pytest

from shopperd.simulator.call import Spec
from shopperd.simulator.faults import CATALOGUE, BadFaultError
from tests.simulator.cases import Case, expand
from tests.simulator.fault_cases import EVERY_CASE
from tests.simulator.visitor import Visitor


@pytest.mark.parametrize(("case", "dialect"), expand(EVERY_CASE))
def test_a_fault_does_what_it_says(case: Case, dialect: str) -> None:
    visitor = Visitor(dialect)
    before = case.prepare(visitor)
    fault = visitor.world.switch_on(case.fault, **case.parameters)
    seen = case.act(visitor, before)
    assert case.shows(visitor, seen)
    assert fault.fired > 0 or fault.spec.start is not None


@pytest.mark.parametrize(("case", "dialect"), expand(EVERY_CASE))
def test_what_a_fault_does_never_happens_without_it(case: Case, dialect: str) -> None:
    visitor = Visitor(dialect)
    seen = case.act(visitor, case.prepare(visitor))
    try:
        shown = case.shows(visitor, seen)
    except (LookupError, TypeError, ValueError, AttributeError):
        # What the case looks for is only there with the fault.
        shown = False
    assert not shown


def test_every_fault_of_the_catalogue_has_a_case() -> None:
    assert sorted(CATALOGUE) == sorted({case.fault: None for case in EVERY_CASE})


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_fault_says_in_one_sentence_what_it_does(name: str) -> None:
    spec = CATALOGUE[name]
    assert spec.doc.endswith(".")
    assert len(spec.doc) < 200
    assert all(parameter.doc for parameter in spec.parameters.values())


@pytest.mark.parametrize("dialect", ["vastai", "v2", "v0"])
def test_any_two_faults_that_alter_an_answer_can_meet_in_it(dialect: str) -> None:
    visitor = Visitor(dialect, offers=5, nodes=3)
    ids = visitor.conjure(3)
    wishes = {case.fault: case.parameters for case in EVERY_CASE if dialect in case.all_dialects()}
    altering = [name for name in wishes if _alters(CATALOGUE[name])]
    for first, second in permutations(altering, 2):
        for name in (first, second):
            visitor.world.switch_on(name, **wishes[name])
        for answer in (visitor.page(), visitor.show(ids[0]), visitor.search()):
            assert answer.status
        visitor.world.switch_off()


def _alters(spec: Spec) -> bool:
    return any((spec.after, spec.row, spec.seen, spec.offers))


# --- how long it lasts --------------------------------------------------------------------------------------


def test_a_fault_with_a_count_is_over_when_it_has_happened_that_often() -> None:
    visitor = Visitor()
    visitor.world.switch_on("server_error", count=2)
    assert [visitor.page().status for _ in range(3)] == [500, 500, 200]


def test_a_fault_without_a_count_stays_until_it_is_switched_off() -> None:
    visitor = Visitor()
    fault = visitor.world.switch_on("server_error")
    assert [visitor.page().status for _ in range(3)] == [500, 500, 500]
    assert visitor.world.switch_off(fault.id) == [fault.id]
    assert visitor.page().status == 200


def test_a_fault_that_did_not_apply_is_not_counted() -> None:
    visitor = Visitor()
    visitor.world.switch_on("create_answer_lost", count=1)
    assert visitor.create(image="").status == 400
    assert visitor.create().drop == "after"
    assert visitor.create().drop is None


def test_a_fault_with_seconds_ends_by_the_worlds_clock() -> None:
    visitor = Visitor()
    visitor.world.switch_on("server_error", seconds=30)
    visitor.wait(29)
    assert visitor.page().status == 500
    visitor.wait(1)
    assert visitor.page().status == 200


def test_a_fault_with_a_probability_happens_about_so_often() -> None:
    visitor = Visitor()
    visitor.world.switch_on("server_error", probability=0.3)
    failures = sum(visitor.page().status == 500 for _ in range(1000))
    assert 240 < failures < 360


def test_a_fault_with_probability_zero_never_happens() -> None:
    visitor = Visitor()
    visitor.world.switch_on("server_error", probability=0)
    assert all(visitor.page().status == 200 for _ in range(50))


# --- whom it meets ------------------------------------------------------------------------------------------


def test_a_fault_of_one_provider_leaves_the_other_alone() -> None:
    visitor = Visitor("v2")
    visitor.world.switch_on("server_error", provider="vastai")
    assert visitor.page().status == 200


def test_a_fault_meets_only_the_operations_that_it_names() -> None:
    visitor = Visitor()
    visitor.world.switch_on("server_error", operation=["create", "destroy"])
    assert visitor.page().status == 200
    assert visitor.create().status == 500


def test_a_fault_of_one_machine_leaves_the_others_alone() -> None:
    visitor = Visitor()
    first, second = visitor.conjure(2)
    visitor.world.switch_on("destroy_ignored", instance=first)
    visitor.destroy(first)
    visitor.destroy(second)
    assert visitor.existing() == [first]


def test_two_faults_can_meet_one_request() -> None:
    visitor = Visitor()
    visitor.world.switch_on("create_twice")
    visitor.world.switch_on("create_answer_lost")
    assert visitor.create().drop == "after"
    assert len(visitor.existing()) == 2


def test_hosts_come_back_as_they_were_when_the_fault_ends() -> None:
    visitor = Visitor()
    running = visitor.conjure()[0]
    stopped = visitor.conjure(state="stopped")[0]
    fault = visitor.world.switch_on("host_lost")
    assert {row["actual_status"] for row in visitor.rows()} == {"offline"}
    visitor.wait(60)
    visitor.world.switch_off(fault.id)
    assert {str(row["id"]): row["actual_status"] for row in visitor.rows()} == {running: "running", stopped: "exited"}


def test_the_limits_are_as_before_when_the_fault_ends() -> None:
    visitor = Visitor(rate_scale=1.0)
    visitor.world.switch_on("limits_tightened", seconds=10)
    visitor.wait(10)
    assert visitor.world.truth.limits.scale == 1.0


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"name": "no_such_fault"}, "no fault is named"),
        ({"name": "server_error", "colour": "red"}, "no parameter 'colour'"),
        ({"name": "server_error", "provider": "lambda"}, "provider must be one of"),
        ({"name": "list_shape", "provider": "vastai"}, "does not apply to vastai"),
        ({"name": "server_error", "count": 0}, "count must be"),
        ({"name": "server_error", "count": True}, "count must be"),
        ({"name": "server_error", "probability": 1.5}, "probability must be"),
        ({"name": "server_error", "seconds": -1}, "seconds must be"),
        ({"name": "server_error", "seconds": 1, "until": 2}, "either seconds or until"),
        ({"name": "server_error", "operation": "dance"}, "operation must be one of"),
        ({"name": "destroy_ignored", "operation": "create"}, "applies only to destroy"),
        ({"name": "server_error", "status": "bad"}, "status must be a number"),
        ({"name": "server_error", "body": 5}, "body must be str"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(asked: dict[str, object], reason: str) -> None:
    visitor = Visitor()
    with pytest.raises(BadFaultError, match=reason):
        visitor.world.faults.switch_on(asked)
    assert visitor.world.faults.active == {}

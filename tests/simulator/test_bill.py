"""What a machine costs, phase by phase, to the second."""

from __future__ import annotations

import pytest

from tests.simulator.visitor import Visitor

HOUR = 3600


def bill(visitor: Visitor) -> float:
    return float(visitor.world.state()["billed_total"])


@pytest.mark.parametrize("dialect", ["vastai", "v2"])
def test_a_running_machine_costs_its_rate(dialect: str) -> None:
    visitor = Visitor(dialect)
    visitor.conjure(price_per_hour=2.0, age_seconds=0)
    visitor.wait(1.5 * HOUR)
    assert bill(visitor) == pytest.approx(3.0)


def test_a_vast_machine_costs_only_its_disk_until_it_runs() -> None:
    visitor = Visitor(boot_seconds=HOUR)
    visitor.rent(disk=100)
    instance = visitor.world.truth.existing("vastai")[0]
    running_at = instance.timeline[-1].at
    visitor.wait(running_at - visitor.now)
    disk = bill(visitor)
    assert disk == pytest.approx(instance.disk_rate * (running_at - instance.created_at) / HOUR)
    visitor.wait(HOUR)
    assert bill(visitor) == pytest.approx(disk + instance.running_rate)


def test_a_stopped_vast_machine_costs_its_disk() -> None:
    visitor = Visitor(stop_seconds=0)
    instance_id = visitor.rent(disk=100)
    visitor.wait(HOUR)
    ran = bill(visitor)
    visitor.ask("PUT", f"/api/v0/instances/{instance_id}/", {"state": "stopped"})
    visitor.wait(HOUR)
    assert bill(visitor) - ran == pytest.approx(visitor.world.truth.existing("vastai")[0].disk_rate)


def test_a_stopped_tensordock_machine_costs_everything() -> None:
    visitor = Visitor("v2")
    instance_id = visitor.rent()
    visitor.ask("POST", f"/api/v2/instances/{instance_id}/stop")
    visitor.wait(HOUR)
    assert bill(visitor) == pytest.approx(visitor.world.truth.existing("tensordock")[0].running_rate)


def test_a_tensordock_machine_with_released_gpu_costs_its_disk() -> None:
    visitor = Visitor("v0", stop_seconds=0)
    instance_id = visitor.rent()
    visitor.form("client/stop/single", server=instance_id, disassociate_resources="true")
    visitor.wait(HOUR)
    assert bill(visitor) == pytest.approx(visitor.world.truth.existing("tensordock")[0].disk_rate)


def test_an_offline_host_costs_nothing() -> None:
    visitor = Visitor()
    visitor.conjure(age_seconds=0)
    visitor.world.switch_on("host_lost")
    visitor.wait(HOUR)
    assert bill(visitor) == 0


@pytest.mark.parametrize("dialect", ["vastai", "v2", "v0"])
def test_a_destroyed_machine_costs_nothing_more_even_while_it_is_still_shown(dialect: str) -> None:
    visitor = Visitor(dialect, dock_linger_seconds=600)
    instance_id = visitor.conjure(price_per_hour=1.0)[0]
    visitor.destroy(instance_id)
    before = bill(visitor)
    visitor.wait(10 * HOUR)
    assert before == pytest.approx(1.0)
    assert bill(visitor) == pytest.approx(before)
    assert visitor.world.truth.credit(visitor.provider) == pytest.approx(9_999.0)


def test_a_change_of_price_counts_from_its_moment() -> None:
    visitor = Visitor()
    visitor.conjure(price_per_hour=1.0, age_seconds=HOUR)
    visitor.world.switch_on("machine_price_changes", factor=3)
    visitor.wait(HOUR)
    assert bill(visitor) == pytest.approx(4.0)


def test_a_machine_that_came_back_is_not_charged_for_its_absence() -> None:
    visitor = Visitor()
    instance_id = visitor.conjure(price_per_hour=1.0, age_seconds=HOUR)[0]
    visitor.world.switch_on("destroy_undone", delay=HOUR)
    visitor.destroy(instance_id)
    visitor.wait(2 * HOUR)
    assert bill(visitor) == pytest.approx(2.0)
    assert visitor.world.truth.billed("vastai") == pytest.approx(2.0)


def test_the_state_sums_up_what_each_machine_cost() -> None:
    visitor = Visitor()
    visitor.conjure(3, price_per_hour=1.0)
    visitor.destroy(visitor.existing()[0])
    visitor.wait(HOUR)
    state = visitor.world.state()
    assert state["billed_total"] == pytest.approx(sum(row["billed"] for row in state["instances"]))
    assert state["billed"] == pytest.approx({"vastai": 5.0, "tensordock": 0.0})

"""The door without sockets."""

from __future__ import annotations

import pytest

from shopperd.simulator import InProcess, Request
from shopperd.simulator.inprocess import DroppedError
from tests.simulator.visitor import KEY, Visitor

LIST = Request("GET", "/api/v1/instances/", headers={"AUTHORIZATION": f"Bearer {KEY}"})


class Door:
    def __init__(self) -> None:
        self.visitor = Visitor()
        self.slept: list[float] = []
        self.open = InProcess(self.visitor.world, lambda: self.visitor.now, self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def test_a_plain_call_is_answered_at_once_with_the_delay_still_to_come() -> None:
    door = Door()
    door.visitor.world.switch_on("slow", delay=9)
    assert door.open.handle("vastai", LIST).delay_seconds == 9
    assert door.slept == []


async def test_a_delay_is_slept_on_the_callers_clock() -> None:
    door = Door()
    door.visitor.world.switch_on("slow", delay=9)
    assert (await door.open.exchange("vastai", LIST)).status == 200
    assert door.slept == [9]


async def test_without_a_fault_nothing_is_slept() -> None:
    door = Door()
    assert (await door.open.exchange("vastai", LIST)).status == 200
    assert door.slept == []


async def test_a_cut_connection_is_a_connection_error() -> None:
    door = Door()
    door.visitor.world.switch_on("connection_reset")
    with pytest.raises(DroppedError):
        await door.open.exchange("vastai", LIST)

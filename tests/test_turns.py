"""Computations in steps come to the same, and leave turns between the steps."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from shopperd.turns import RUN, Steps, at_once, in_turns, sorting
from tests.clocks import FakeClock


def counting(to: int) -> Steps[int]:
    for _ in range(to):
        yield
    return to


def test_a_computation_can_be_done_at_once() -> None:
    assert at_once(counting(3)) == 3


async def test_others_have_a_turn_after_each_step(clock: FakeClock) -> None:
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    busy = asyncio.create_task(others())
    assert await in_turns(counting(5), clock) == 5
    busy.cancel()
    assert len(turns) >= 5


@given(st.lists(st.tuples(st.integers(0, 9), st.integers()), max_size=40), st.integers(1, 7))
def test_things_are_sorted_and_equal_ones_stay_in_their_order(things: list[tuple[int, int]], times: int) -> None:
    many = things * (1 + times * RUN // 40)
    assert at_once(sorting(many, lambda thing: thing[0])) == sorted(many, key=lambda thing: thing[0])


def test_no_step_of_a_long_sort_looks_at_everything_but_the_last_merge() -> None:
    steps = sorting(range(10 * RUN, 0, -1), lambda number: number)
    assert sum(1 for _ in steps) >= 10 + 9

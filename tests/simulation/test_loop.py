"""Virtual time: a year in a moment, in order, and no waiting for what never comes."""

import asyncio
import time

import pytest

from tests.simulation.loop import START, StuckError, VirtualClock, VirtualLoop, run

YEAR_SECONDS = 365 * 86400.0


def test_a_year_of_hours_takes_seconds() -> None:
    async def main() -> int:
        clock, hours = VirtualClock(1), 0
        while clock.monotonic() < YEAR_SECONDS:
            await clock.sleep(3600.0)
            hours += 1
        assert (clock.now() - START).days == 365
        return hours

    began = time.perf_counter()
    assert run(main) == 365 * 24
    assert time.perf_counter() - began < 10.0


def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    async def main() -> list[float]:
        woken: list[float] = []

        async def sleeper(seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append(seconds)

        await asyncio.gather(*(sleeper(seconds) for seconds in (3.0, 1.0, 2.0)))
        return woken

    assert run(main) == [1.0, 2.0, 3.0]


def test_a_timeout_fires_at_its_virtual_moment() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(900.0):
                await asyncio.sleep(10_000.0)
        return loop.time()

    assert run(main) == pytest.approx(900.0)


def test_waiting_for_what_never_comes_is_an_error_and_no_hang() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StuckError):
        run(main)


def test_tasks_are_known_in_the_order_of_their_birth() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        tasks = [loop.create_task(asyncio.sleep(1.0), name=f"task {number}") for number in range(5)]
        names = [task.get_name() for task in loop.born if task in tasks]
        await asyncio.gather(*tasks)
        assert not set(tasks) & set(loop.born)
        return names

    assert run(main) == [f"task {number}" for number in range(5)]

"""The steadied clock: slew is followed, jumps are not, until they have stood for long."""

from datetime import UTC, datetime, timedelta

import pytest

from shopperd.clock import DISTRUST_SECONDS, SystemClock

START = datetime(2026, 11, 25, tzinfo=UTC).timestamp()


class Machine:
    def __init__(self) -> None:
        self.wall = START
        self.awake = 1000.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.awake += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> SystemClock:
    return SystemClock(wall=lambda: machine.wall, awake=lambda: machine.awake)


def test_time_passes_with_the_machine(machine: Machine, clock: SystemClock) -> None:
    machine.pass_(3600)
    assert clock.now().timestamp() == START + 3600


def test_a_small_correction_is_followed(machine: Machine, clock: SystemClock) -> None:
    machine.pass_(60)
    machine.wall += 2.0
    assert clock.now().timestamp() == START + 62


@pytest.mark.parametrize("leap", [3600.0, -3600.0, 86400.0 * 3650])
def test_a_jump_is_not_followed(machine: Machine, clock: SystemClock, leap: float) -> None:
    machine.pass_(60)
    machine.wall += leap
    assert clock.now().timestamp() == pytest.approx(START + 60)
    assert clock.jumped_seconds == pytest.approx(leap)


@pytest.mark.parametrize("leap", [0.0, 3600.0, -3600.0])
def test_what_the_machine_says_is_told_with_its_jumps(machine: Machine, clock: SystemClock, leap: float) -> None:
    machine.pass_(60)
    machine.wall += leap
    assert clock.wall().timestamp() == START + 60 + leap
    assert clock.now() + timedelta(seconds=clock.jumped_seconds) == clock.wall()


def test_a_jump_back_that_stands_is_followed_in_the_end(machine: Machine, clock: SystemClock) -> None:
    machine.wall -= 86400
    clock.now()
    machine.pass_(DISTRUST_SECONDS - 1)
    assert clock.now().timestamp() == pytest.approx(START + DISTRUST_SECONDS - 1)
    machine.pass_(1)
    assert clock.now().timestamp() == START - 86400 + DISTRUST_SECONDS
    assert clock.jumped_seconds == 0


def test_a_jump_forward_is_never_followed_and_told_of_as_long(machine: Machine, clock: SystemClock) -> None:
    machine.wall += 86400
    clock.now()
    machine.pass_(30 * DISTRUST_SECONDS)
    assert clock.now().timestamp() == pytest.approx(START + 30 * DISTRUST_SECONDS)
    assert clock.jumped_seconds == pytest.approx(86400)


def test_a_jump_back_that_was_followed_is_not_taken_back_by_a_leap(machine: Machine, clock: SystemClock) -> None:
    machine.wall -= 86400
    clock.now()
    machine.pass_(DISTRUST_SECONDS)
    clock.now()
    machine.wall += 86400
    clock.now()
    machine.pass_(DISTRUST_SECONDS)
    assert clock.now().timestamp() == pytest.approx(START - 86400 + 2 * DISTRUST_SECONDS)
    assert clock.jumped_seconds == pytest.approx(86400)


def test_a_clock_that_jumps_back_again_has_to_stand_again(machine: Machine, clock: SystemClock) -> None:
    machine.wall -= 86400
    clock.now()
    machine.pass_(DISTRUST_SECONDS - 10)
    machine.wall -= 86400
    clock.now()
    machine.pass_(20)
    assert clock.now().timestamp() == pytest.approx(START + DISTRUST_SECONDS + 10)


@pytest.mark.parametrize("leap", [86400.0, -86400.0])
def test_a_jump_that_is_put_back_leaves_nothing_behind(machine: Machine, clock: SystemClock, leap: float) -> None:
    machine.wall += leap
    clock.now()
    machine.wall -= leap
    machine.pass_(5)
    assert clock.now().timestamp() == START + 5
    assert clock.jumped_seconds == 0


async def test_sleeping_no_time_gives_way(clock: SystemClock) -> None:
    before = clock.monotonic()
    await clock.sleep(-1)
    assert clock.monotonic() >= before


def told(machine: Machine, ahead: float) -> datetime:
    """What a provider tells if the machine is so many seconds ahead of it."""
    return datetime.fromtimestamp(machine.wall - ahead, UTC)


def test_a_start_with_a_clock_that_is_ahead_goes_by_the_first_time_that_a_provider_tells(
    machine: Machine, clock: SystemClock
) -> None:
    machine.pass_(2.0)
    assert clock.heard(told(machine, 7200.0)) == pytest.approx(7200.0)
    machine.pass_(10.0)
    assert clock.now().timestamp() == pytest.approx(START + 12.0 - 7200.0)
    assert clock.jumped_seconds == pytest.approx(7200.0)
    machine.wall -= 7200.0  # it is corrected
    assert clock.now().timestamp() == pytest.approx(START + 12.0 - 7200.0)
    assert clock.jumped_seconds == 0.0


def test_a_provider_whose_clock_is_wrong_makes_no_deadline_come_early(machine: Machine, clock: SystemClock) -> None:
    clock.heard(told(machine, 7200.0))
    deadline = clock.now() + timedelta(hours=3)
    machine.pass_(3 * 3600.0 - 1.0)
    assert clock.now() < deadline
    assert clock.jumped_seconds == pytest.approx(7200.0)
    machine.pass_(1.0)
    assert clock.now() >= deadline


@pytest.mark.parametrize("ahead", [-7200.0, 0.0, 45.0, timedelta(days=3650).total_seconds()])
def test_a_time_that_is_later_or_nearly_the_same_or_absurd_changes_nothing(
    machine: Machine, clock: SystemClock, ahead: float
) -> None:
    assert clock.heard(told(machine, ahead)) == 0.0
    assert clock.now().timestamp() == START


def test_only_the_first_time_counts(machine: Machine, clock: SystemClock) -> None:
    clock.heard(told(machine, 0.0))
    assert clock.heard(told(machine, 7200.0)) == 0.0
    assert clock.now().timestamp() == START

"""Random schedules from fixed seeds: the whole daemon, virtual time, and what the oracles say."""

import json
import os
import subprocess
import sys

import attrs
import pytest

from shopperd.simulator.faults import CATALOGUE
from tests.simulation.ledger import Ledger
from tests.simulation.oracles import judge
from tests.simulation.play import play
from tests.simulation.schedules import EXCLUDED, schedule_of

FIRST = int(os.environ.get("SHOPPERD_SEED", "0"))
SCHEDULES = int(os.environ.get("SHOPPERD_SCHEDULES", "14"))


def told(seed: int) -> str:
    """A run as text: every request, machine, session and boundary."""
    return json.dumps(attrs.asdict(play(schedule_of(seed))), default=str, indent=1)


def failure(seed: int, wrong: list[str], ledger: Ledger) -> str:
    """What went wrong, the schedule, and how to play it again."""
    steps = "\n".join(f"  {step}" for step in schedule_of(seed).steps)
    return (
        f"seed {seed}:\n  " + "\n  ".join(wrong) + f"\nschedule:\n{steps}\n{len(ledger.sent)} requests, "
        f"{len(ledger.memory)} lives\nplay it again: SHOPPERD_SEED={seed} SHOPPERD_SCHEDULES=1 "
        "pytest tests/simulation/test_simulation.py -k whatever_happens"
    )


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SCHEDULES))
def test_whatever_happens_the_promises_are_kept(seed: int) -> None:
    ledger = play(schedule_of(seed))
    wrong = judge(ledger)
    assert not wrong, failure(seed, wrong, ledger)


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    assert told(2) == told(2)
    assert told(2) != told(3)


def test_a_run_does_not_depend_on_how_this_process_hashes() -> None:
    program = "from tests.simulation.test_simulation import told; print(told(2))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert json.loads(runs[0])["sent"]


def test_what_is_left_out_of_the_schedules_exists_and_has_a_reason() -> None:
    assert set(EXCLUDED) <= set(CATALOGUE)
    assert all(EXCLUDED.values())

"""Random schedules from fixed seeds: the whole daemon, virtual time, and what the oracles say."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import attrs
import pytest

from shopperd.simulator.faults import CATALOGUE
from tests.simulation.faults import DRAWN, EXCLUDED
from tests.simulation.play import play
from tests.simulation.schedules import schedule_of
from tests.simulation.verdicts import shortest, told, verdict_on

FIRST = int(os.environ.get("SHOPPERD_SEED", "0"))
SCHEDULES = int(os.environ.get("SHOPPERD_SCHEDULES", "400"))
PIECE = 50
THEMES_MET_MIN = 0.75
"""In so many of its schedules a fault that is their theme must really have been met."""

_pieces = [range(start, min(start + PIECE, FIRST + SCHEDULES)) for start in range(FIRST, FIRST + SCHEDULES, PIECE)]


def text_of(seed: int) -> str:
    """A run as text: every request, machine, session and boundary."""
    return json.dumps(attrs.asdict(play(schedule_of(seed))), default=str, indent=1)


@pytest.mark.parametrize("seeds", _pieces, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_whatever_happens_the_promises_are_kept(seeds: Sequence[int]) -> None:
    met = 0
    for seed in seeds:
        verdict = verdict_on(schedule_of(seed))
        if verdict.wrong:
            pytest.fail(told(verdict, shortest(verdict, plays=60)))
        assert verdict.ledger is not None
        met += DRAWN[seed % len(DRAWN)] in verdict.ledger.faults_fired
    assert len(seeds) < PIECE or met >= THEMES_MET_MIN * len(seeds)


def test_every_fault_is_drawn_as_often_as_any_other() -> None:
    drawn = Counter(name for seed in range(10 * len(DRAWN)) for name in schedule_of(seed).faults)
    assert set(drawn) == set(DRAWN)
    assert min(drawn.values()) >= 9  # every ten seeds a theme, but for wide schedules, which have none


def test_what_is_left_out_of_the_schedules_exists_and_has_a_reason() -> None:
    assert set(EXCLUDED) <= set(CATALOGUE)
    assert all(EXCLUDED.values())
    assert set(DRAWN) | set(EXCLUDED) == set(CATALOGUE)


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    assert schedule_of(2) == schedule_of(2)
    assert text_of(2) == text_of(2)
    assert text_of(2) != text_of(3)


def test_a_run_does_not_depend_on_how_this_process_hashes() -> None:
    program = "from tests.simulation.test_simulation import text_of; print(text_of(2))"
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

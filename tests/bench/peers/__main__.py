"""Run the peers at our work and print a JSON object a line: how many times more than ours theirs took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec

from tests.bench.answers import market_body, served
from tests.bench.result import Result

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
ROUNDS = 3
GPUHUNT_TIMES_MIN = 10.0


def results() -> Iterator[Result]:
    """All of them. Each reads the same answer from the same server to the list that it gives."""
    with tempfile.TemporaryDirectory() as folder, served(market_body(), Path(folder)) as origin:
        ours = [sys.executable, "-m", "tests.bench.reader", origin, "time"]
        peers = {
            name: [str(ROOT / ".venv-clients" / name / "bin" / "python"), str(HERE / f"{name}_market.py"), origin]
            for name in ("gpuhunt", "vastai")
        }
        environment = {**os.environ, "HOME": folder, "VAST_URL": origin, "VASTAI_NO_UPDATE_CHECK": "1"}
        times: dict[str, list[float]] = {name: [] for name in ("shopperd", *peers)}
        for _ in range(ROUNDS):
            for name, command in (("shopperd", ours), *peers.items()):
                times[name].append(_cpu_seconds(command, environment))
    for name, seconds in times.items():
        yield Result(f"peers.{name}.market", median(seconds), "s of CPU", float("inf"))
    yield _times("gpuhunt", times, GPUHUNT_TIMES_MIN)
    yield _times("vastai", times, 1.0)


def _times(peer: str, times: dict[str, list[float]], target: float) -> Result:
    each = [theirs / ours for theirs, ours in zip(times[peer], times["shopperd"], strict=True)]
    return Result(f"peers.{peer}.market_times", median(each), "times ours", target, at_least=True)


def _cpu_seconds(command: list[str], environment: dict[str, str]) -> float:
    ran = subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=ROOT, env=environment)
    told = msgspec.json.decode(ran.stdout.splitlines()[-1], type=dict[str, float])
    if not told["offers"]:
        raise AssertionError(f"{command[1]} read no offers")
    return told["cpu_seconds"]


if __name__ == "__main__":
    missed = 0
    for result in results():
        print(result.line(), flush=True)
        missed += not result.ok
    sys.exit(1 if missed else 0)

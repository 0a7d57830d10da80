"""Run the peers at our work and print a JSON object a line: how many times more than ours theirs took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean, median

import msgspec

from tests.bench.answers import market_body, served
from tests.bench.result import Result

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
ROUNDS = 3
OF_OURS = 3
"""Ours is over in a second, in which a busy machine may be twice as slow as in the next; theirs takes ten."""
GPUHUNT_TIMES_MIN = 10.0


def results() -> Iterator[Result]:
    """All of them, by CPU time: an answer that is in memory, and the whole way from a socket. Each ends with a list of offers.

    Everybody works in a fresh process, ours with the daemon's habits about garbage and theirs with Python's own, and theirs has ours
    right before it and, where it is long, right after it: the machine is as busy for one as for the other.
    """
    with tempfile.TemporaryDirectory() as folder, served(market_body(), Path(folder)) as origin:
        environment = {**os.environ, "HOME": folder, "VAST_URL": origin, "VASTAI_NO_UPDATE_CHECK": "1"}
        answer = str(Path(folder) / "answer.json")
        in_memory, by_socket, by_sdk = [], [], []
        for _ in range(ROUNDS):
            ours = _ours(answer, environment)
            theirs = _peer("gpuhunt", answer, environment)
            in_memory.append(theirs / fmean(ours + _ours(answer, environment)))
            by_us = _seconds([sys.executable, "-m", "tests.bench.reader", origin, "time"], environment)
            by_socket.append(_peer("gpuhunt", origin, environment) / by_us)
            by_sdk.append(_peer("vastai", origin, environment) / by_us)
    yield Result("peers.gpuhunt.answer", median(in_memory), "times ours", GPUHUNT_TIMES_MIN, at_least=True)
    yield Result("peers.gpuhunt.from_socket", median(by_socket), "times ours", 1.0, at_least=True)
    yield Result("peers.vastai_sdk.from_socket", median(by_sdk), "times ours", 1.0, at_least=True)


def _ours(answer: str, environment: Mapping[str, str]) -> list[float]:
    command = [sys.executable, "-m", "tests.bench.peers.our_market", answer]
    return [_seconds(command, environment) for _ in range(OF_OURS)]


def _peer(name: str, source: str, environment: Mapping[str, str]) -> float:
    python = ROOT / ".venv-clients" / name / "bin" / "python"
    return _seconds([str(python), str(HERE / f"{name}_market.py"), source], environment)


def _seconds(command: list[str], environment: Mapping[str, str]) -> float:
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

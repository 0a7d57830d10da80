"""Plays mutants: each on a copy of the package, in a process of its own, against the tests that must notice it."""

from __future__ import annotations

import enum
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.mutants.guard import WRONG_PACKAGE
from tests.mutants.mutant import ROOT, Mutant

DEADLINE_SECONDS = 180.0
"""For all tests of one mutant; each of them has a shorter time limit of its own."""

TEST_SECONDS = 60
"""A single test that takes longer than this hangs: the slowest killer takes a few seconds."""

BASELINE_SECONDS = 900.0

FAILED = 1
"""The exit status of pytest when tests ran and failed."""

NOT_A_BUG = frozenset(
    {
        "NameError",
        "UnboundLocalError",
        "ImportError",
        "ModuleNotFoundError",
        "SyntaxError",
        "AttributeError",
        "TypeError",
    }
)
"""What a carelessly written mutant dies of: then nothing was noticed."""


class Verdict(enum.StrEnum):
    """What became of a mutant."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    BROKEN = "broken"
    """The tests could not tell: they were not found, hung without leave, or the mutant is no program."""


@frozen
class Result:
    """A mutant after its tests. `by` is the first test that failed, or what went wrong."""

    mutant: Mutant
    verdict: Verdict
    by: str
    seconds: float


@frozen
class Run:
    """One run of pytest. `status` is None if it was cut off at the deadline; `first` tells of the first failure."""

    status: int | None
    first: dict[str, Any]
    output: str
    seconds: float


def copied(package: Path, folder: Path) -> Path:
    """A copy of the package in a folder of its own; its compiled modules come along and stay valid."""
    return Path(shutil.copytree(package, folder / "shopperd"))


def run(folder: Path, tests: Iterable[str], deadline: float, *options: str) -> Run:
    """Run tests that import shopperd from `folder`, and nothing else of it."""
    report = folder / "first-failure.json"
    command = [
        *(sys.executable, "-P", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "tests.mutants.guard"),
        # Their plugins cost more than the tests: hypothesis alone takes half the time of a start.
        *("-p", "no:hypothesispytest", "-p", "no:platformdirs", "--show-capture=no", "--tb=line"),
        *(f"--timeout={TEST_SECONDS}", *options, *tests),
    ]
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
        "PYTHONHASHSEED": "0",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        "SHOPPERD_MUTANTS_ROOT": str(folder),
        "SHOPPERD_MUTANTS_REPORT": str(report),
    }
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=deadline)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status = None
    first = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    return Run(status, first, output, time.monotonic() - began)


def judged(mutant: Mutant, ran: Run) -> Result:
    """What a run says of its mutant: only a test that ran and failed has noticed it."""
    verdict, by = _judged(mutant, ran)
    return Result(mutant, verdict, by, ran.seconds)


def _judged(mutant: Mutant, ran: Run) -> tuple[Verdict, str]:
    test, error = str(ran.first.get("test", "")), str(ran.first.get("error", ""))
    if ran.status is None or ran.first.get("timed_out"):
        return (Verdict.CAUGHT if mutant.hangs else Verdict.BROKEN), f"hung: {test or 'no test ended'}"
    if ran.status == 0:
        return Verdict.SURVIVED, ""
    if ran.status == WRONG_PACKAGE:
        return Verdict.BROKEN, "the tests did not get the copy"
    if ran.status != FAILED or not test:
        return Verdict.BROKEN, f"pytest ended with {ran.status}: {_last_line(ran.output)}"
    if ran.first.get("when") != "call" or error in NOT_A_BUG:
        return Verdict.BROKEN, f"{error} at the {ran.first.get('when')} of {test}"
    return Verdict.CAUGHT, test


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "without a word"


def baseline(folder: Path, mutants: Sequence[Mutant], jobs: int) -> Run:
    """All tests that must notice something, on an unchanged copy: there they must find nothing."""
    wanted = list(dict.fromkeys(test for mutant in mutants for test in mutant.killed_by))
    spread = ("-n", str(jobs)) if jobs > 1 else ()
    return run(folder, wanted, BASELINE_SECONDS, *spread)


def tried(mutant: Mutant, package: Path, folder: Path) -> Result:
    """Put the bug into a copy, run its tests, and clear the copy away.

    Raises:
        StaleMutantError: the bug does not fit into the code any more.
    """
    folder.mkdir()
    try:
        copy = copied(package, folder)
        module = copy / mutant.file
        module.write_text(mutant.applied(module.read_text(encoding="utf-8")), encoding="utf-8")
        return judged(mutant, run(folder, mutant.killed_by, DEADLINE_SECONDS))
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""A pytest plugin: tests take shopperd from one folder and from nowhere else, and what failed first is written down.

`python -m tests.mutants` loads it. `SHOPPERD_MUTANTS_ROOT` names the folder that holds the package,
`SHOPPERD_MUTANTS_REPORT` the file for what failed first. An installed or checked-out shopperd that wins over the copy
would make every mutant look as if nobody noticed it, so that ends the run with a status of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import shopperd

WRONG_PACKAGE = 97
"""The exit status of a run whose tests did not get the copy."""

_TIMED_OUT = "from pytest-timeout"


def strangers(root: Path) -> list[str]:
    """The modules of shopperd that were loaded from elsewhere."""
    loaded = [module for name, module in sys.modules.items() if name == "shopperd" or name.startswith("shopperd.")]
    files = [file for module in loaded if (file := getattr(module, "__file__", None)) is not None]
    return sorted(file for file in files if not Path(file).resolve().is_relative_to(root))


def _root() -> Path:
    return Path(os.environ["SHOPPERD_MUTANTS_ROOT"]).resolve()


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to begin with the wrong package."""
    if strangers(_root()):
        pytest.exit(f"shopperd comes from {shopperd.__file__}, not from {_root()}", WRONG_PACKAGE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write down the first failure: the test, the part of it, and the kind of error."""
    report = yield
    file = os.environ.get("SHOPPERD_MUTANTS_REPORT")
    if report.failed and file and call.excinfo is not None and not Path(file).exists():
        told = {
            "test": report.nodeid,
            "when": report.when,
            "error": call.excinfo.typename,
            "timed_out": _TIMED_OUT in str(call.excinfo.value),
        }
        Path(file).write_text(json.dumps(told), encoding="utf-8")
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Whatever the tests loaded meanwhile must have come from the copy too."""
    if strangers(_root()):
        session.exitstatus = WRONG_PACKAGE

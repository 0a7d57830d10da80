"""The tools that `make test-deploy` installs into environments of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def tool(environment: str, name: str) -> str:
    """The program, or a skip that names it."""
    path = ROOT / ".venv-deploy" / environment / "bin" / name
    if not path.exists():
        pytest.skip(f"{name} is not installed: make test-deploy installs it")
    return str(path)


def said(*words: str | Path, stdin: str | None = None) -> str:
    """What a program prints; it must be content."""
    done = subprocess.run(list(map(str, words)), input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents(yaml: str) -> list[dict[str, Any]]:
    """The documents of a stream of YAML."""
    convert = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)"
    found: list[dict[str, Any]] = json.loads(said(tool("manifests", "python"), "-c", convert, stdin=yaml))
    return found

"""Run the benchmarks and print a JSON object a line; fail if a target is missed. Arguments name some of them.

`growth`, `large`, `month` and `soak` take minutes to half an hour, and run only when they are named.
"""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = ("fleet", "limiter", "market", "daemon")
"""Modules beside this one; each has ``results()``."""


def main(names: list[str]) -> int:
    """Exit code 1 if a target was missed."""
    missed = 0
    for name in names or BENCHMARKS:
        for result in importlib.import_module(f"tests.bench.{name}").results():
            print(result.line(), flush=True)
            missed += not result.ok
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

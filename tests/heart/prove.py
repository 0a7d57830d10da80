"""The long proof, in two processes: every order of events as deep as there is time for, long ways at random that go deeper, and
the properties over a million random cases.

Its last line is one JSON object. It ends with 1 if anything was found, be it known already.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator

from attrs import frozen

from tests.heart.findings import pardoned
from tests.heart.properties import PROPERTIES, STANDING
from tests.heart.scenarios import SCENARIOS, scenario
from tests.heart.walk import Violation, Walked, walk, wander

TRANSITIONS = 80_000
"""Of each scenario that is not walked whole before."""

WAYS = 1_000
WAY_STEPS = 60
"""So many long ways in each scenario, and so many actions in each of them."""

HEAL_EVERY = 100
CASES = 1_000_000
PIECE = 2_500
"""So many cases are one piece of work for a process."""

FAILURES_MAX = 3
"""So many failing cases of a property are told; one is enough to mend it."""


@frozen
class Piece:
    """Some cases of one property, and afterwards those that failed."""

    name: str
    first: int
    count: int
    failed: tuple[str, ...] = ()


def main(arguments: list[str] | None = None) -> int:
    """Walk, try, tell; the exit status."""
    asked = _asked(arguments)
    began = time.monotonic()
    # Every worker must give the same keys and draw the same cases: neither goes by a hash that a process makes up.
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        walks = [(place.name, asked.transitions) for place in SCENARIOS]
        walked = list(_told_walks(pool.imap_unordered(_walk, walks)))
        _say(f"walked every order for {time.monotonic() - began:.0f} s")
        ways = [(place.name, asked.ways, asked.seed) for place in SCENARIOS]
        wandered = list(_told_ways(pool.imap_unordered(_wander, ways)))
        _say(f"wandered {asked.ways} ways in each, until {time.monotonic() - began:.0f} s")
        tried = list(_told_pieces(pool.imap_unordered(_try, _pieces(asked.cases, asked.seed))))
    failed = {piece.name for piece in tried if piece.failed}
    broken = {(found.scenario, found.rule) for one in walked for found in one.violations}
    broken |= {(found.scenario, found.rule) for some in wandered for found in some}
    result = {
        "scenarios": len(walked),
        "whole": sum(one.whole for one in walked),
        "states": sum(one.states for one in walked),
        "transitions": sum(one.transitions for one in walked),
        "deepest": max(one.deepest for one in walked),
        "healed": sum(one.healed for one in walked),
        "ways": asked.ways * len(wandered),
        "property_cases": sum(piece.count for piece in tried),
        "known": sum(rule in pardoned(place) for place, rule in broken) + len(failed & STANDING.keys()),
        "violations": len(broken) + len(failed),
        "seconds": round(time.monotonic() - began),
    }
    _say(json.dumps(result))
    return 1 if result["violations"] else 0


def _asked(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prove", description=__doc__)
    parser.add_argument("--transitions", type=int, default=TRANSITIONS, help="of each scenario")
    parser.add_argument("--ways", type=int, default=WAYS, help="at random, in each scenario")
    parser.add_argument(
        "--cases",
        type=int,
        default=int(os.environ.get("SHOPPERD_PROPERTY_CASES", CASES)),
        help="of all properties together",
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", default="prove", help="of the cases")
    return parser.parse_args(arguments)


def _walk(what: tuple[str, int]) -> Walked:
    name, transitions = what
    return walk(scenario(name), transitions_max=transitions, heal_every=HEAL_EVERY)


def _told_walks(walked: Iterator[Walked]) -> Iterator[Walked]:
    for one in walked:
        _say(
            f"{one.scenario}: {one.states} states, {one.transitions} transitions, {one.deepest} deep"
            f"{', whole' if one.whole else ''}, {one.healed} healed, {len(one.violations)} violations"
        )
        for found in one.violations:
            _say_found(found)
        yield one


def _wander(what: tuple[str, int, str]) -> tuple[Violation, ...]:
    """The shortest way to each rule that was broken on any of the ways."""
    name, ways, seed = what
    shortest: dict[str, Violation] = {}
    for number in range(ways):
        found = wander(scenario(name), random.Random(f"{seed}/{name}/{number}"), WAY_STEPS, besides=shortest)
        if found is not None:
            shortest[found.rule] = found
    return tuple(shortest.values())


def _told_ways(wandered: Iterator[tuple[Violation, ...]]) -> Iterator[tuple[Violation, ...]]:
    for some in wandered:
        for found in some:
            _say_found(found)
        yield some


def _say_found(found: Violation) -> None:
    known = " (known)" if found.rule in pardoned(found.scenario) else ""
    _say(f"violation{known}: {found}")


def _pieces(cases: int, seed: str) -> Iterator[tuple[str, Piece]]:
    """The cases, spread evenly over the properties, in pieces."""
    share, more = divmod(cases, len(PROPERTIES))
    for place, name in enumerate(PROPERTIES):
        each = share + (place < more)
        for first in range(0, each, PIECE):
            yield seed, Piece(name, first, min(PIECE, each - first))


def _try(what: tuple[str, Piece]) -> Piece:
    seed, piece = what
    failed = []
    for number in range(piece.first, piece.first + piece.count):
        case = f"{seed}/{piece.name}/{number}"
        try:
            PROPERTIES[piece.name](random.Random(case))
        except Exception as error:
            failed.append(f"Random({case!r}): {type(error).__name__} {str(error)[:200]}")
    return Piece(piece.name, piece.first, piece.count, tuple(failed))


def _told_pieces(tried: Iterator[Piece]) -> Iterator[Piece]:
    told: dict[str, int] = {}
    for piece in tried:
        for failure in piece.failed:
            told[piece.name] = told.get(piece.name, 0) + 1
            if told[piece.name] <= FAILURES_MAX:
                known = " (known)" if piece.name in STANDING else ""
                _say(f"violation{known}: {piece.name.replace('_', ' ')}: {failure}")
        yield piece


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

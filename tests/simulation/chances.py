"""What a schedule is drawn from: what people do, what appears, what happens to the process, its store and its clock."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from attrs import evolve

from tests.simulation import faults
from tests.simulation.shapes import ACCOUNTS, DOCK, OLD_DOCK, VAST, Shape

Drawn = list[tuple[float, str, Mapping[str, Any]]]
"""Steps before they are put in order: when, what, and with which values."""

DENSE_SWEEPS = 8.0
WIDE_SWEEPS = 20.0
BOUNDARIES_MAX = 60
HOURS = (0.05, 1.0, 5.0, 30.0)
"""By how much a clock is set ahead."""

CALAMITIES = ("restart", "busy", "restore", "restore", "empty", "move", "clock", "clock_while_down")


def dense(rng: random.Random, theme: str) -> tuple[Shape, float, Drawn]:
    """A small deployment in a short time, with everything that the theme, a fault, needs to show itself."""
    fitting = faults.accounts_for(theme)
    accounts = [rng.choice(fitting)]
    if rng.random() < 0.12:
        accounts.append(rng.choice([name for name in ACCOUNTS if name not in accounts]))
    sweep = rng.choice((10.0, 12.0, 12.0, 20.0))
    shape = _shape(rng, accounts, sweep, rng.choice((1.0, 1.0, 1.0, 0.5)))
    shape = evolve(shape, offers=faults.OFFERS.get(theme, shape.offers))
    safety = DENSE_SWEEPS * sweep
    drawn: Drawn = []
    faults.directed(rng, drawn, theme, accounts[0], sweep)
    if theme not in faults.ALONE:
        _people(rng, drawn, shape, safety, rng.choice((0, 1, 1, 2)))
        _strangers(rng, drawn, shape, safety, rng.choice((0, 0, 1, 1, 2)))
        faults.drawn(rng, drawn, shape.accounts, sweep, safety, rng.choice((0, 0, 1, 1, 2, 3)))
        _crashes(rng, drawn, shape, safety, rng.choice((0, 0, 1, 1, 2)))
        _calamities(rng, drawn, shape, safety, 0.3)
    return shape, safety, drawn


def wide(rng: random.Random) -> tuple[Shape, float, Drawn]:
    """All kinds of accounts for a long time, with much of everything."""
    others: list[str] = rng.choice(([DOCK], [OLD_DOCK], [DOCK, OLD_DOCK]))
    shape = _shape(rng, [VAST, *others], 60.0, rng.choice((0.33, 0.5, 1.0)))
    safety = WIDE_SWEEPS * shape.sweep
    drawn: Drawn = []
    _people(rng, drawn, shape, safety, rng.randint(2, 7))
    _strangers(rng, drawn, shape, safety, rng.choice((0, 1, 2, 3, 5)))
    faults.drawn(rng, drawn, shape.accounts, shape.sweep, safety, rng.choice((0, 2, 4, 6, 9, 14)))
    _crashes(rng, drawn, shape, safety, rng.choice((0, 1, 2, 3)))
    _calamities(rng, drawn, shape, safety, 0.5)
    return shape, safety, drawn


def _shape(rng: random.Random, accounts: list[str], sweep: float, status_share: float) -> Shape:
    # Two dialects of one marketplace show the same machines: neither has the account to itself.
    alone = [name for name in accounts if name == VAST or not {DOCK, OLD_DOCK} <= set(accounts)]
    return Shape(
        accounts=tuple(accounts),
        exclusive=tuple(name for name in alone if rng.random() < 0.5),
        deployment=rng.choice(("", "", "sim")),
        sweep=sweep,
        status_share=status_share,
        sightings=rng.choice((3, 3, 3, 2)),
        max_share_per_hour=0.2 if rng.random() < 0.06 else 1.0,
        boot=rng.choice((0.0, 0.1, 0.6)) * sweep,
        shared=rng.random() < 0.1,
    )


def _people(rng: random.Random, drawn: Drawn, shape: Shape, safety: float, number: int) -> None:
    sweep = shape.sweep
    for place in range(number):
        at = rng.uniform(0.3 * sweep, safety * 0.7)
        lifetime = rng.choice((None, None, rng.uniform(1.0, 8.0) * sweep))
        key = f"session-{place}"
        asked = {"key": key, "account": rng.choice(shape.accounts), "lifetime": lifetime}
        if rng.random() < 0.15:
            drawn.append((at, "register", asked))
            if rng.random() < 0.7:
                drawn.append((at + rng.uniform(0.0, 4.0) * sweep, "arrive", {"key": key}))
        else:
            drawn.append((at, "create", asked))
        if rng.random() < 0.3:
            later = {"key": key, "lifetime": rng.uniform(1.0, 8.0) * sweep}
            drawn.append((at + rng.uniform(0.1, 6.0) * sweep, "extend", later))
        if rng.random() < 0.6:
            drawn.append((min(at + rng.expovariate(1 / (3.0 * sweep)), safety - 1), "end", {"key": key}))
    if rng.random() < 0.15:
        at = rng.uniform(sweep, safety * 0.8)
        drawn.append((at, "freeze", {}))
        drawn.append((min(at + rng.uniform(0.1, 5.0) * sweep, safety - 1), "unfreeze", {}))
    if rng.random() < 0.1:
        values = {"pick": rng.randrange(100), "seconds": rng.uniform(0.5, 6.0) * sweep}
        drawn.append((rng.uniform(sweep, safety * 0.8), "exempt", values))
    if rng.random() < 0.1:
        drawn.append((rng.uniform(sweep, safety * 0.9), "destroy", {"pick": rng.randrange(100)}))


def _strangers(rng: random.Random, drawn: Drawn, shape: Shape, safety: float, number: int) -> None:
    for _ in range(number):
        account = rng.choice(shape.accounts)
        values = {
            "account": account,
            "tag": rng.choice(("foreign", "untagged", "shouted", "unknown", "unknown", "over", "twin")),
            # Where the marketplace does not tell when a machine was made, one that appears was made then.
            "age": rng.choice((0.0, 0.0, rng.uniform(0.0, 5000.0))) if account == VAST else 0.0,
            "pick": rng.randrange(100),
        }
        drawn.append((rng.uniform(1.0, safety * 0.9), "appear", values))


def _crashes(rng: random.Random, drawn: Drawn, shape: Shape, safety: float, number: int) -> None:
    for _ in range(number):
        values = {"boundaries": rng.randint(1, BOUNDARIES_MAX), "down": _down(rng, shape)}
        drawn.append((rng.uniform(0.5 * shape.sweep, safety * 0.95), "crash", values))


def _calamities(rng: random.Random, drawn: Drawn, shape: Shape, safety: float, chance: float) -> None:
    """What happens to the whole process, its store or its clock; now and then two things."""
    while rng.random() < chance:
        at = rng.uniform(shape.sweep, safety * 0.8)
        down = _down(rng, shape)
        match "second" if shape.shared and rng.random() < 0.5 else rng.choice(CALAMITIES):
            case "restart":
                drawn.append((at, "restart", {"down": down}))
            case "busy":
                drawn.append((at, "busy", {"seconds": rng.uniform(0.1, 1.0) * shape.sweep}))
            case "restore":
                drawn.append((rng.uniform(1.0, at), "copy", {}))
                drawn.append((at, "restore", {"down": down, "same_file": rng.random() < 0.5}))
            case "empty":
                drawn.append((at, "empty", {"down": down}))
            case "move":
                drawn.append((at, "move", {"down": down, "alone": rng.random() < 0.5}))
            case "clock":
                drawn.append((at, "clock", {"seconds": _jump(rng)}))
            case "clock_while_down":
                drawn.append((at, "clock_while_down", {"down": down, "seconds": _jump(rng)}))
            case _:
                drawn.append((at, "second", {"seconds": rng.uniform(0.5, 5.0) * shape.sweep}))


def _down(rng: random.Random, shape: Shape) -> float:
    return round(rng.choice((rng.uniform(0.1, 1.0), rng.uniform(0.1, 4.0))) * shape.sweep, 2)


def _jump(rng: random.Random) -> float:
    return round(rng.choice(HOURS) * rng.uniform(0.5, 1.5) * 3600.0, 1)

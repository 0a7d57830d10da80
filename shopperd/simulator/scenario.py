"""Timed steps from a file: at such a second, switch a fault on or off, make a machine, or push the clock.

TOML (`[[steps]]` tables) or JSON (`{"steps": [...]}`), each step with `at_seconds` from the start, by the world's clock, and one of:

* `fault`: what `POST /_sim/faults` takes;
* `clear`: a fault's name, or true for all of them;
* `instance`: what `POST /_sim/instances` takes;
* `advance`: seconds to push the clock.
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from shopperd.simulator.control import BadWishError, conjure
from shopperd.simulator.faults import CATALOGUE, BadFaultError
from shopperd.simulator.world import World, WorldSettings

ACTIONS = ("fault", "clear", "instance", "advance")


class BadScenarioError(ValueError):
    """The file cannot be read as steps; the text says which step and why."""


@frozen
class Step:
    """One thing to do, `at_seconds` after the start."""

    at_seconds: float
    action: str
    content: Any


def load_scenario(path: Path) -> tuple[Step, ...]:
    """Read and check a file.

    Raises:
        BadScenarioError: see there.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise BadScenarioError(f"{path.name}: {error}") from error
    return parse_scenario(content)


def parse_scenario(content: Any) -> tuple[Step, ...]:
    """The steps of a decoded file, in the order of their times.

    Raises:
        BadScenarioError: see there.
    """
    steps = content.get("steps") if isinstance(content, Mapping) else None
    if not isinstance(steps, list):
        raise BadScenarioError("a scenario needs a list named steps")
    read = [_step(number, entry) for number, entry in enumerate(steps, 1)]
    _rehearse(read)
    return tuple(sorted(read, key=lambda step: step.at_seconds))


def _rehearse(steps: Iterable[Step]) -> None:
    """Do every step once in a throwaway world, so that a bad one is found before anything is served."""
    world = World.build(WorldSettings(), now=0)
    for number, step in enumerate(steps, 1):
        try:
            _do(world, step)
        except (BadFaultError, BadWishError) as error:
            raise BadScenarioError(f"step {number}: {error}") from error


def _step(number: int, entry: Any) -> Step:
    where = f"step {number}"
    if not isinstance(entry, Mapping):
        raise BadScenarioError(f"{where}: must be a table")
    at = entry.get("at_seconds", 0)
    if isinstance(at, bool) or not isinstance(at, int | float) or at < 0:
        raise BadScenarioError(f"{where}: at_seconds must be a number from 0")
    actions = [key for key in entry if key != "at_seconds"]
    if len(actions) != 1 or actions[0] not in ACTIONS:
        raise BadScenarioError(f"{where}: needs exactly one of {', '.join(ACTIONS)}")
    action, content = actions[0], entry[actions[0]]
    if action in ("fault", "instance") and not isinstance(content, Mapping):
        raise BadScenarioError(f"{where}: {action} must be a table")
    if action == "advance" and (isinstance(content, bool) or not isinstance(content, int | float) or content < 0):
        raise BadScenarioError(f"{where}: advance must be a number from 0")
    if action == "clear" and content is not True and content not in CATALOGUE:
        raise BadScenarioError(f"{where}: clear must be true or a fault's name")
    return Step(float(at), action, content)


def play(world: World, steps: Iterable[Step]) -> None:
    """Plan the steps from now on; they happen as the world's clock reaches them."""
    start = world.truth.now
    for step in steps:
        world.truth.later(start + step.at_seconds, functools.partial(_do_at, world, step))


def _do_at(world: World, step: Step, _now: float) -> None:
    _do(world, step)


def _do(world: World, step: Step) -> None:
    match step.action:
        case "fault":
            world.faults.switch_on(step.content)
        case "clear":
            for fault in list(world.faults.active.values()):
                if step.content in (True, fault.spec.name):
                    world.switch_off(fault.id)
        case "instance":
            conjure(world.truth, step.content)
        case _:
            # The clock is being moved right now; the next request sees the new offset.
            world.truth.offset += step.content

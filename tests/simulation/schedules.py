"""From one seed: what people ask, what appears out of nowhere, what goes wrong, and when the process dies."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from shopperd.settings import OrphanSettings, Settings
from shopperd.simulator import WorldSettings
from shopperd.simulator.call import Spec
from shopperd.simulator.faults import CATALOGUE
from tests.simulation.house import dock, quick_settings, quick_world, vast

EXCLUDED: Mapping[str, str] = {
    "destroy_removes_another": "the marketplace itself ends a machine that nobody named; shopperd can only tell of the loss",
    "create_of_another_tag": "the answer names another machine of the account, and an answer's id binds",
    "gzip_bomb": "unpacking belongs to the network's sender, which is not part of this simulation",
    "huge_body": "64 MB in each answer cost seconds and test only the sender's limit",
}
"""Faults that are left out, each with its reason."""

SAFETY_SECONDS = 1500.0
DOWN_SECONDS_MAX = 240.0
BOUNDARIES_MAX = 60


@frozen
class Step:
    """One thing that happens, `at` seconds from the start."""

    at: float
    kind: str
    values: Mapping[str, Any] = field(factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{key}={value}" for key, value in self.values.items())
        return f"{self.at:8.1f} s  {self.kind}({told})"


@frozen
class Schedule:
    """All that one seed decides.

    Attributes:
        first_cut: the boundary at which the first process is cut, counted from its start; None: only by a step.
    """

    seed: int
    settings: Settings
    world: WorldSettings
    steps: tuple[Step, ...]
    safety_seconds: float = SAFETY_SECONDS
    first_cut: int | None = None


def schedule_of(seed: int) -> Schedule:
    """The schedule of a seed; the same for ever."""
    rng = random.Random(f"schedule {seed}")
    accounts = [vast(exclusive=rng.random() < 0.5)]
    apis = rng.choice((("v2",), ("v0",), ("v2", "v0"), ()))
    accounts.extend(dock(api, exclusive=len(apis) == 1 and rng.random() < 0.5) for api in apis)
    more: dict[str, Any] = {"deployment": rng.choice(("", "", "sim"))}
    if rng.random() < 0.25:
        more["orphans"] = OrphanSettings(grace=120.0)
    settings = quick_settings(*accounts, **more)
    names = [account.name for account in accounts]
    steps: list[Step] = []
    _people(rng, steps, names)
    _strangers(rng, steps, names)
    _faults(rng, steps, {account.provider for account in accounts})
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        values = {"boundaries": rng.randint(1, BOUNDARIES_MAX), "down": rng.uniform(0.1, DOWN_SECONDS_MAX)}
        steps.append(Step(rng.uniform(30.0, SAFETY_SECONDS - 60), "crash", values))
    world = quick_world(seed, boot_seconds=rng.choice((0.0, 6.0, 60.0)))
    return Schedule(seed, settings, world, tuple(sorted(steps, key=lambda step: step.at)))


def _people(rng: random.Random, steps: list[Step], accounts: list[str]) -> None:
    for number in range(rng.randint(1, 7)):
        at = rng.uniform(20.0, SAFETY_SECONDS * 0.7)
        lifetime = rng.choice((None, None, rng.uniform(60.0, 700.0)))
        key = f"session-{number}"
        account = rng.choice(accounts)
        if rng.random() < 0.15:
            values: dict[str, Any] = {"key": key, "account": account, "lifetime": lifetime}
            steps.append(Step(at, "register", values))
            if rng.random() < 0.7:
                steps.append(Step(at + rng.uniform(0.0, 300.0), "arrive", {"key": key}))
        else:
            steps.append(Step(at, "create", {"key": key, "account": account, "lifetime": lifetime}))
        if rng.random() < 0.3:
            later = {"key": key, "lifetime": rng.uniform(60.0, 600.0)}
            steps.append(Step(at + rng.uniform(1.0, 600.0), "extend", later))
        if rng.random() < 0.6:
            steps.append(Step(min(at + rng.expovariate(1 / 300.0), SAFETY_SECONDS - 1), "end", {"key": key}))
    if rng.random() < 0.3:
        at = rng.uniform(60.0, SAFETY_SECONDS * 0.8)
        steps.append(Step(at, "freeze"))
        steps.append(Step(min(at + rng.uniform(5.0, 400.0), SAFETY_SECONDS - 1), "unfreeze"))


def _strangers(rng: random.Random, steps: list[Step], accounts: list[str]) -> None:
    for _ in range(rng.choice((0, 1, 2, 3, 5))):
        values = {
            "account": rng.choice(accounts),
            "tag": rng.choice(("foreign", "untagged", "shouted", "unknown", "over", "twin")),
            "age": rng.choice((0.0, 0.0, rng.uniform(0.0, 5000.0))),
            "pick": rng.randrange(100),
        }
        steps.append(Step(rng.uniform(1.0, SAFETY_SECONDS * 0.9), "appear", values))


def _faults(rng: random.Random, steps: list[Step], providers: set[str]) -> None:
    fitting = [spec for spec in CATALOGUE.values() if spec.name not in EXCLUDED and providers & set(spec.providers)]
    for _ in range(rng.choice((0, 1, 2, 3, 4, 6, 9, 14))):
        spec = rng.choice(fitting)
        values: dict[str, Any] = {"name": spec.name, **_sized(rng, spec)}
        if rng.random() < 0.5:
            values["provider"] = rng.choice(sorted(providers & set(spec.providers)))
        if rng.random() < 0.5:
            values["count"] = rng.randint(1, 4)
        if rng.random() < 0.5:
            values["probability"] = round(rng.uniform(0.1, 1.0), 2)
        values["seconds"] = round(rng.choice((rng.uniform(5.0, 120.0), rng.uniform(60.0, 500.0))), 1)
        steps.append(Step(rng.uniform(5.0, SAFETY_SECONDS * 0.9), "fault", values))


def _sized(rng: random.Random, spec: Spec) -> dict[str, Any]:
    """Parameters that differ from their defaults: shapes and statuses by chance, sizes small enough to be quick."""
    match spec.name:
        case "deep_nesting":
            return {"depth": 5000}
        case "machines_appear":
            return {"number": rng.randint(2, 6)}
        case "rate_limited" | "rate_limited_after_effect" | "rate_limited_in_200":
            return {"shape": rng.randint(1, 5), "retry_after": rng.choice((None, "7", "60"))}
        case "list_retired":
            return {"mode": rng.choice(("410", "200-empty", "200-deprecated"))}
        case "fleet_vanishes":
            return {"share": rng.choice((0.3, 0.6, 1.0))}
    if "delay" in spec.parameters and spec.name != "slow":
        return {"delay": round(rng.choice((0.0, rng.uniform(1.0, 90.0))), 1)}
    return {}

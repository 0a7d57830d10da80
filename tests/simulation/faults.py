"""Which of the simulator's faults meet shopperd, when, and how they are given the chance to."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shopperd.simulator.call import Spec
from shopperd.simulator.faults import CATALOGUE
from tests.simulation.shapes import ACCOUNTS, DOCK, OLD_DOCK, PROVIDERS, VAST

if TYPE_CHECKING:
    from tests.simulation.chances import Drawn

EXCLUDED: Mapping[str, str] = {
    "start_queued": "shopperd never starts a machine that stopped",
    "start_refused": "shopperd never starts a machine that stopped",
    "v0_list": "shopperd never asks the list that Vast.ai retired",
}
"""Faults that are left out, each with its reason."""

DRAWN = tuple(name for name in CATALOGUE if name not in EXCLUDED)
"""The others; schedules take turns with them, so that each is the theme of as many as any other."""

ALONE = frozenset({"create_of_another_tag"})
"""Faults that can be told from the truth only as long as nothing else lies."""

DIALECT: Mapping[str, tuple[str, ...]] = {
    "create_unwrapped": (DOCK,),
    "list_shape": (DOCK,),
    "list_duplicate_row": (VAST, DOCK),
    "dock_tier_unknown": (DOCK,),
    "dock_display_name_missing": (DOCK,),
    "offers_cut": (VAST,),
}
"""Faults that apply to some dialects of a provider only."""

PAGED = frozenset({"list_ends_early", "list_ends_early_silently", "list_page_fails", "list_cursor_repeats"})
"""Faults that need a second page."""
PAGE_ROWS = 26

OFFERS: Mapping[str, int] = {"offers_cut": 80}
"""Faults that need a larger market than there is usually, and how many offers."""

AT_ONCE = frozenset(name for name, spec in CATALOGUE.items() if spec.start is not None)
"""Faults that happen when they are switched on, to what is there."""


def accounts_for(name: str) -> tuple[str, ...]:
    """The accounts at which a fault can happen."""
    return DIALECT.get(name) or tuple(a for a in ACCOUNTS if PROVIDERS[a] in CATALOGUE[name].providers)


def directed(rng: random.Random, drawn: Drawn, name: str, account: str, sweep: float) -> None:
    """A fault with what it needs: a session that is created and ended, machines to list, a second page.

    It lasts, so that the request that it waits for comes in its time.
    """
    spec = CATALOGUE[name]
    created = rng.uniform(0.2, 2.5) * sweep
    ended = created + rng.uniform(1.0, 5.0) * sweep
    on = 0.1 * sweep
    if name in AT_ONCE:
        on = created + rng.uniform(1.5, 4.0) * sweep
    elif spec.operations == ("search",):
        on = rng.choice((0.0, rng.uniform(0.5, 4.0))) * sweep
    elif not spec.operations or "list" in spec.operations:
        on = rng.uniform(0.5, 5.0) * sweep
    if name in PAGED:
        drawn.append((0.05 * sweep, "appear", {"account": account, "tag": "foreign", "age": 0.0, "number": PAGE_ROWS}))
    if name == "list_hides_stopped":
        drawn.append((created + sweep, "fault", {"name": "machine_stops", "provider": PROVIDERS[account]}))
        on = created + 1.1 * sweep
    if name in ALONE:
        drawn.append((0.05 * sweep, "appear", {"account": account, "tag": "foreign", "age": 4000.0}))
        created += 2.5 * sweep
        ended += 2.5 * sweep
    if name == "destroy_removes_another":
        drawn.append((created + sweep, "appear", {"account": account, "tag": "foreign", "age": 0.0}))
    drawn.append((created, "create", {"key": "theme", "account": account, "lifetime": None}))
    if rng.random() < 0.85 or "destroy" in spec.operations:
        drawn.append((ended, "end", {"key": "theme"}))
    values: dict[str, Any] = {"name": name, "provider": PROVIDERS[account], **sized(rng, spec, sweep)}
    if name not in AT_ONCE:
        if rng.random() < 0.5:
            values["count"] = rng.randint(1, 3)
        if not spec.operations or "list" in spec.operations:
            values["seconds"] = round(rng.uniform(0.5, 4.0) * sweep, 1)
    elif spec.stop is not None:
        values["seconds"] = round(rng.uniform(0.5, 4.0) * sweep, 1)
    drawn.append((on, "fault", values))


def drawn(rng: random.Random, steps: Drawn, accounts: Sequence[str], sweep: float, safety: float, number: int) -> None:
    """Some faults at any time, whether they meet something or not."""
    providers = {PROVIDERS[name] for name in accounts}
    fitting = [CATALOGUE[name] for name in DRAWN if providers & set(CATALOGUE[name].providers) and name not in ALONE]
    for _ in range(number):
        spec = rng.choice(fitting)
        values: dict[str, Any] = {"name": spec.name, **sized(rng, spec, sweep)}
        if rng.random() < 0.5:
            values["provider"] = rng.choice(_sorted(providers & set(spec.providers)))
        if rng.random() < 0.5:
            values["count"] = rng.randint(1, 4)
        if rng.random() < 0.5:
            values["probability"] = round(rng.uniform(0.1, 1.0), 2)
        values["seconds"] = round(rng.choice((rng.uniform(0.1, 2.0), rng.uniform(1.0, 8.0))) * sweep, 1)
        steps.append((rng.uniform(0.1 * sweep, safety * 0.9), "fault", values))


def _sorted(names: Collection[str]) -> list[str]:
    return sorted(names)


def sized(rng: random.Random, spec: Spec, sweep: float) -> dict[str, Any]:
    """Parameters: shapes and statuses by chance, sizes that are quick to handle, times that fit into the schedule."""
    match spec.name:
        case "deep_nesting":
            return {"depth": 5000}
        case "gzip_bomb" | "huge_body":
            return {"megabytes": 2}
        case "huge_header":
            return {"kilobytes": 10}
        case "machines_appear":
            return {"number": rng.randint(2, 6)}
        case "rate_limited" | "rate_limited_after_effect" | "rate_limited_in_200":
            shape = rng.randint(1, 4)
            return {"shape": shape, "retry_after": rng.choice((None, "1", str(int(sweep)), str(int(2 * sweep))))}
        case "rate_limited_with_json_hint":
            return {"seconds_until": int(rng.uniform(0.2, 2.0) * sweep)}
        case "limits_tightened":
            return {"factor": rng.choice((2.0, 5.0))}
        case "destroy_minimum_period":
            return {"retry_after": int(rng.uniform(0.2, 3.0) * sweep)}
        case "list_retired":
            return {"mode": rng.choice(("410", "200-empty", "200-deprecated"))}
        case "fleet_vanishes":
            return {"share": rng.choice((0.3, 0.6, 1.0))}
        case "list_lag":
            return {"lag": round(rng.uniform(0.1, 2.0) * sweep, 1), "polls": rng.choice((0, 1, 3))}
        case "create_empty_400":
            return {"effect": rng.random() < 0.5}
        case "key_refused":
            return {"status": rng.choice((401, 403, 404))}
        case "destroy_id_reused":
            # Two machines under one id that began sooner after each other cannot be told apart.
            return {"delay": 100.0}
        case "slow":
            return {"delay": round(rng.uniform(0.05, 0.8) * sweep, 1)}
        case "machine_stops" | "new_machine_stops":
            return {"reason": rng.choice(("user", "outbid", "credit", "exited", "stoppeddisassociated"))}
        case "show_lag":
            # A machine is looked at by itself before it is destroyed, and seldom sooner.
            return {"lag": round(rng.uniform(1.0, 8.0) * sweep, 1)}
    values: dict[str, Any] = {}
    for name, share in (("lag", 2.0), ("linger", 3.0), ("delay", 1.5)):
        if name in spec.parameters and spec.name not in AT_ONCE:
            values[name] = round(rng.choice((0.1, rng.uniform(0.05, share))) * sweep, 1)
    return values


__all__ = ["ALONE", "DRAWN", "EXCLUDED", "OLD_DOCK", "accounts_for", "directed", "drawn"]

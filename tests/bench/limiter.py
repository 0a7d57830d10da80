"""The limiter against pretended marketplaces in virtual time, on seeds that no constant was found with.

Shares are of what a client would reach that knows every limit at every moment and nothing of the network (INF). Those figures, and
the targets, are from the study that the limiter follows; `docs/limiter.md` has the table.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from random import Random
from statistics import fmean

from tests.bench import limiter_workloads as workloads
from tests.bench.limiter_servers import Case, Server, case
from tests.bench.limiter_strategies import Paced
from tests.bench.result import Result

HELD_OUT = (201, 202, 203, 204, 205)
INFORMED = {
    "M1 x1": 91.0,
    "M1 x3": 96.0,
    "M1 x1/3": 76.0,
    "M1any x1": 91.0,
    "M1any x3": 96.0,
    "M1any x1.7": 94.0,
    "M1any 1-10-1": 91.0,
    "M1any 1-10-1 hint": 91.0,
}
"""Goodput of INF in per cent, settled and whole."""
STEADY = ("M1 x1", "M1 x3", "M1 x1/3", "M1any x1", "M1any x3", "M1any x1.7")
CHANGING = ("M1any 1-10-1", "M1any 1-10-1 hint")
ACCOUNT = ("M2 1/s b5", "M2 2-.2-2", "M2 .5/s b10", "M2 1/s b5 date", "M4 60", "M4 80")
WINDOWS = {"M3 75": 94.0, "M3 90 others": 85.0, "M3 90 others RA": 85.0, "M3 60 others": 85.0}
DESTROYS = {"M1 x1": 2.0, "M2 1/s b5": 2.0, "M3 75": 15.0}
BURSTS = ("M1 x1", "M2 1/s b5")
REPLICAS = ("M1any x1", "M2 1/s b5")
REPLICAS_COUNT = 5
MINUTE = 60.0


def paced(case: Case, server: Server, random: Random) -> Paced:
    """The limiter as it is used, for the account of this case."""
    return Paced(case.published, random)


def results() -> Iterator[Result]:
    """What the limiter reaches, as means over the held-out seeds."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        jobs = {
            name: pool.map(partial(_saturated, name), HELD_OUT)
            for name in (*STEADY, *CHANGING, *ACCOUNT, *WINDOWS, "M5")
        }
        lone = {name: pool.map(partial(_priority, name), HELD_OUT) for name in DESTROYS}
        bursts = {name: pool.map(partial(_realistic, name), HELD_OUT) for name in BURSTS}
        replicas = {name: pool.map(partial(_replicas, name), HELD_OUT) for name in REPLICAS}
        too_soon = 0
        for name, runs in jobs.items():
            figures = list(runs)
            too_soon += sum(each.too_soon for each in figures)
            yield from _of_load(name, figures)
        for name, waits in lone.items():
            yield from _of_destroys(name, list(waits))
        for name, runs_at_work in bursts.items():
            yield from _of_burst(name, list(runs_at_work))
        for name, together in replicas.items():
            worst = max(each.longest_gap for each in together)
            yield at_most(
                f"limiter {name}: longest time in which {REPLICAS_COUNT} replicas get nothing", worst, MINUTE, "s"
            )
        yield at_most("limiter: requests before a Retry-After had passed", too_soon, 0, "requests")


def _saturated(name: str, seed: int) -> workloads.Figures:
    return workloads.saturated(case(name), paced, seed)


def _priority(name: str, seed: int) -> workloads.PriorityFigures:
    return workloads.priority(case(name), paced, seed)


def _realistic(name: str, seed: int) -> workloads.RealisticFigures:
    return workloads.realistic(case(name), paced, seed)


def _replicas(name: str, seed: int) -> workloads.Figures:
    return workloads.saturated(case(name), paced, seed, replicas=REPLICAS_COUNT)


def _of_load(name: str, figures: Sequence[workloads.Figures]) -> Iterable[Result]:
    settled, whole = _percent(each.settled for each in figures), _percent(each.whole for each in figures)
    refused = _percent(each.refused for each in figures)
    said = f"limiter {name}"
    if name in STEADY:
        yield at_least(f"{said}: settled goodput of what is possible", 100 * settled / INFORMED[name], 97.0, "%")
        yield at_most(f"{said}: refused", refused, 2.5, "%")
    elif name in CHANGING:
        yield at_least(f"{said}: settled goodput of what is possible", 100 * settled / INFORMED[name], 94.0, "%")
        yield at_least(f"{said}: goodput of what is possible", 100 * whole / INFORMED[name], 84.0, "%")
    elif name in ACCOUNT:
        yield at_least(f"{said}: settled goodput", settled, 97.0, "%")
        yield at_most(f"{said}: refused", refused, 1.0, "%")
    elif name in WINDOWS:
        yield at_least(f"{said}: settled goodput", settled, WINDOWS[name], "%")
        yield at_most(f"{said}: refused", refused, 2.0, "%")
    else:
        yield at_most(
            f"{said}: refusals by a used-up daily quota", max(each.used_up for each in figures), 1, "refusals"
        )


def _of_destroys(name: str, figures: Sequence[workloads.PriorityFigures]) -> Iterable[Result]:
    waits = fmean(_quantile(each.intervals, 0.99) for each in figures)
    yield at_most(f"limiter {name}: 99 of 100 lone destroys wait at most", waits, DESTROYS[name], "intervals")
    if case(name).make(Random(0)).of_account:
        behind = max(each.behind for each in figures)
        yield at_most(f"limiter {name}: calls of lower classes before a waiting destroy", behind, 1, "calls")


def _of_burst(name: str, figures: Sequence[workloads.RealisticFigures]) -> Iterable[Result]:
    yield at_most(
        f"limiter {name}: 200 destroys, of the shortest time", fmean(each.burst for each in figures), 1.15, "times"
    )
    if name.startswith("M2"):
        yield at_most(
            f"limiter {name}: longest time without a list", fmean(each.list_silence for each in figures), 60.0, "s"
        )
        yield at_most(
            f"limiter {name}: longest time without offers", fmean(each.offers_silence for each in figures), 120.0, "s"
        )


def at_least(name: str, value: float, target: float, unit: str) -> Result:
    """A figure that should be high."""
    return Result(name, value, unit, target, at_least=True)


def at_most(name: str, value: float, target: float, unit: str) -> Result:
    """A figure that should be low."""
    return Result(name, value, unit, target)


def _percent(shares: Iterable[float]) -> float:
    return 100 * fmean(shares)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

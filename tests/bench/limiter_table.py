"""`python -m tests.bench.limiter_table`: the table of `docs/limiter.md`, on the held-out seeds. It takes minutes."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from random import Random
from statistics import fmean

import click

from tests.bench.limiter import HELD_OUT, paced
from tests.bench.limiter_servers import Case, Server, case
from tests.bench.limiter_strategies import BASELINES
from tests.bench.limiter_workloads import Figures, saturated
from tests.bench.limiter_world import Strategy

SERVERS = ("M1 x1", "M1 x3", "M1any x1", "M1any 1-10-1", "M2 1/s b5", "M2 2-.2-2", "M3 75", "M4 60")
STRATEGIES = ("S1 30 s", "S2", "S4", "S5", "shopperd", "INF")


def run(server: str, strategy: str, seed: int) -> Figures:
    """One strategy at one pretended marketplace, always busy for two hours."""

    def make(of: Case, told: Server, random: Random) -> Strategy:
        return paced(of, told, random) if strategy == "shopperd" else BASELINES[strategy](of.published, told, random)

    return saturated(case(server), make, seed)


@click.command()
@click.option("--seeds", type=click.IntRange(1, len(HELD_OUT)), default=len(HELD_OUT), show_default=True)
def main(seeds: int) -> None:
    """Print the table."""
    click.echo("| server | " + " | ".join(STRATEGIES) + " |")
    click.echo("|--|" + "-|" * len(STRATEGIES))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for server in SERVERS:
            cells = []
            for strategy in STRATEGIES:
                figures = list(pool.map(partial(run, server, strategy), HELD_OUT[:seeds]))
                settled, refused = fmean(each.settled for each in figures), fmean(each.refused for each in figures)
                cells.append(f"{100 * settled:.0f} / {100 * refused:.1f}")
            click.echo(f"| {server} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

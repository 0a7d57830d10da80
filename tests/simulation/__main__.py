"""`python -m tests.simulation`: plays random schedules of the whole daemon, on all cores, and reports."""

from __future__ import annotations

import sys

import click

from tests.simulation.longrun import simulate


@click.command()
@click.option("--schedules", default=1000, show_default=True, type=click.IntRange(1), help="how many")
@click.option("--seed", default=0, show_default=True, help="the first one's")
@click.option("--jobs", type=click.IntRange(1), help="processes; one for each core if left out")
@click.option("--crash-points/--no-crash-points", default=None, help="cut the stories everywhere first")
def main(schedules: int, seed: int, jobs: int | None, crash_points: bool | None) -> None:
    """Play fault schedules of the whole daemon in virtual time. The last line is one JSON object."""
    sys.exit(simulate(seed, schedules, jobs=jobs, points=crash_points))


if __name__ == "__main__":
    main()

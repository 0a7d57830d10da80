"""`shopperd demo`: the daemon against the built-in simulator, with troubles on."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import click
from rich.console import Console

from shopperd.clock import SystemClock
from shopperd.demo.pace import LENGTH_SECONDS_MIN
from shopperd.demo.show import Options, run


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Of the daemon. 0: the system chooses."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=LENGTH_SECONDS_MIN),
    help="End after that long with a summary. Without it, the story goes on until it is interrupted.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="What is random in the simulators follows from it."
)
def demo(port: int, seconds: float | None, seed: int) -> None:
    """Watch shopperd keep three pretend accounts in order while everything goes wrong.

    Starts simulators of both marketplaces and a daemon of their own, rents, loses answers, lies in listings, kills the daemon, and
    shows what it sees, decides and does. With --seconds it ends by comparing what the daemon believes with what is true: exit
    status 0 only if they agree and nothing was destroyed wrongfully. Nothing real is touched, no key is needed.

    \b
    Examples:
      shopperd demo
      shopperd demo --seconds 60
    """
    options = Options(port=port, seconds=seconds, seed=seed, program=_program())
    sys.exit(asyncio.run(run(options, Console(), SystemClock(seed), os.environ)))


def _program() -> str:
    """How to call this shopperd from the folder that the demo was started in."""
    beside = Path(sys.executable).with_name("shopperd")
    if not beside.exists() or shutil.which("shopperd") == str(beside):
        return "shopperd"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)

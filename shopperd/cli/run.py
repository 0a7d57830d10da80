"""`shopperd run`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import shopperd.cli.lean  # noqa: F401 - first
from shopperd.process import run as run_daemon


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Default: /etc/shopperd/config.toml, if it is there.")
def run(config: Path | None) -> None:
    """Run the daemon in the foreground.

    SIGTERM and SIGINT drain and stop it, a second one stops it at once; machines are left alone. SIGHUP reloads the configuration,
    SIGUSR1 runs every job now.

    \b
    Examples:
      VASTAI_API_KEY=... shopperd run
      shopperd run --config shopperd.toml
    """
    sys.exit(run_daemon(config))

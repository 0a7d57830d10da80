"""The command line. What belongs here is asking and showing; every decision is the daemon's.

`run`, `check`, `demo` and `simulator` work by themselves, all other commands speak to a running daemon over HTTP. A command is
imported when it is called, so that help and completion are quick.
"""

from __future__ import annotations

from shopperd.cli.group import shopperd

__all__ = ["main"]


def main() -> None:
    """Run the command line; exit status 0 done, 1 failed, 2 wrong usage or configuration."""
    shopperd.main(prog_name="shopperd")

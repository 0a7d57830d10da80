"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from shopperd.cli.client import DEFAULT_URL, Client

F = TypeVar("F", bound=Callable[..., Any])


as_json = click.option("--json", "as_json", is_flag=True, help="Print the API's JSON.")


def paged(command: F) -> F:
    """`--limit` and `--cursor` of a list."""
    limit = click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
    cursor = click.option("--cursor", help="From the end of the list before.")
    return limit(cursor(command))


def client() -> Client:
    """The daemon that the environment names."""
    return Client(os.environ.get("SHOPPERD_URL") or DEFAULT_URL, os.environ.get("SHOPPERD_TOKEN") or None)

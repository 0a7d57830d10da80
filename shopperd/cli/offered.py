"""What a shell is offered for accounts, instances and sessions: those that the running daemon knows."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from shopperd.cli.options import client
from shopperd.harmless import visible

ANSWER_SECONDS_MAX = 2.0
"""Somebody has pressed a key and waits; without an answer there is nothing to offer."""

OFFERED_MAX = 200


def accounts(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The accounts at work."""
    return _offered("accounts", {}, "name", "provider", incomplete)


def instances(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The instances of the account that was named before."""
    return _offered("instances", {"account": ctx.params.get("account")}, "id", "tag", incomplete)


def live_sessions(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The sessions that are not over."""
    states = "expected,creating,starting,running,stopped,ending"
    return _offered("sessions", {"state": states}, "id", "state", incomplete)


def _offered(path: str, query: dict[str, object], key: str, help: str, incomplete: str) -> list[CompletionItem]:
    try:
        told = client().get(path, query={"limit": OFFERED_MAX} | query if query else None, seconds=ANSWER_SECONDS_MAX)
        rows = [(row[key], row[help]) for row in told["items"]]
    except (click.ClickException, KeyError, TypeError):
        return []  # a shell in the middle of a line is no place for an error
    # What would act on a terminal is not offered: it could not be typed either.
    return [
        CompletionItem(value, help=visible(str(text or "")))
        for value, text in rows
        if value.startswith(incomplete) and visible(value) == value
    ]

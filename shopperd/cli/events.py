"""`shopperd events`."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from shopperd.cli import offered
from shopperd.cli.options import as_json, client
from shopperd.cli.output import printable, show_json, show_line


def _line(event: dict[str, Any]) -> str:
    parts = [event["at"], event["kind"]]
    if event["account"] is not None:
        parts.append(printable(event["account"]))
    if event["instance_id"] is not None:
        parts.append(f"instance={printable(event['instance_id'])}")
    if event["session_id"] is not None:
        parts.append(f"session={event['session_id']}")
    return "  ".join([*parts, printable(event["message"])])


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Then print whatever comes, until interrupted.")
@click.option("--after", type=click.IntRange(0), help="Only events with a greater number.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="The newest so many; with --after, the next.",
)
@click.option("--account", help="Only events of this account.", shell_complete=offered.accounts)
@click.option("--session", help="Only events of this session.")
@click.option("--instance", help="Only events of this instance.")
@as_json
def events(
    follow: bool,
    after: int | None,
    limit: int,
    as_json: bool,
    account: str | None,
    session: str | None,
    instance: str | None,
) -> None:
    """The audit trail: every decision and what came of it, oldest first.

    With --follow and --json: one event a line.

    \b
    Examples:
      shopperd events --limit 50
      shopperd events --follow --session 6d0c7f1e-8f0b-4c5e-9a55-1c9a3d1f0b7a
      shopperd events --follow --json | jq -r .kind
    """
    query = {"after": after, "account": account, "session": session, "instance": instance}
    if after is None:
        query["last"] = limit
    if follow:
        # Interrupting is how one ends it.
        with contextlib.suppress(KeyboardInterrupt):
            for event in client().follow("events", query=query):
                show_json(event) if as_json else show_line(_line(event))
        return
    told = client().get("events", query=query | {"limit": limit})
    if as_json:
        show_json(told)
        return
    for event in told["items"]:
        show_line(_line(event))
    if told["next"]:
        click.echo(f"there is more: --after {told['items'][-1]['id']}", err=True)

"""`shopperd costs`."""

from __future__ import annotations

import click

from shopperd.cli import offered
from shopperd.cli.options import as_json, client, paged
from shopperd.cli.output import seconds, show_json, show_next, show_table
from shopperd.money import dollars


@click.command()
@click.option(
    "--by",
    type=click.Choice(["account", "session", "instance"]),
    default="account",
    show_default=True,
    help="What each line adds up.",
)
@click.option("--account", help="Of this account alone.", shell_complete=offered.accounts)
@click.option("--session", help="Of this session alone.")
@click.option("--since", help="A time with its zone; the beginning of the month of --until (UTC) if left out.")
@click.option("--until", help="A time with its zone; now if left out.")
@paged
@as_json
def costs(as_json: bool, **query: object) -> None:
    """What was spent: by price, state and time of every machine, foreign ones too; traffic is not counted.

    \b
    Examples:
      shopperd costs
      shopperd costs --by session --since 2026-11-01T00:00:00Z
    """
    told = client().get("costs", query=query)
    if as_json:
        show_json(told)
        return
    show_table(
        {
            "ACCOUNT": ("account", str),
            **({"SESSION": ("session_id", lambda id_: id_ or "")} if query["by"] != "account" else {}),
            **({"INSTANCE": ("instance_id", str)} if query["by"] == "instance" else {}),
            "USD": ("cost_usd", dollars),
            "ESTIMATED": ("estimated_usd", dollars),
            "TIME": ("machine_seconds", seconds),
            "UNPRICED": ("unpriced", lambda unpriced: "in part" if unpriced else ""),
        },
        told["items"],
        empty="nothing was spent",
    )
    show_next(told)

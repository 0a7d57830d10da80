"""`shopperd orphans` and `plan`."""

from __future__ import annotations

from typing import Any

import click

from shopperd.cli import offered
from shopperd.cli.options import as_json, client, paged
from shopperd.cli.output import show_json, show_line, show_next, show_table
from shopperd.money import dollars, dollars_per_hour


def _show_orphans(rows: list[dict[str, Any]]) -> None:
    show_table(
        {
            "ACCOUNT": ("account", str),
            "INSTANCE": ("instance_id", str),
            "KIND": ("kind", str),
            "PHASE": ("phase", str),
            "HELD BY": ("hold_reason", lambda reason: reason or ""),
            "SIGHTINGS": ("sightings", str),
            "ATTEMPTS": ("attempts", str),
            "STUCK": ("stuck", lambda stuck: "stuck" if stuck else ""),
            "ORPHAN SINCE": ("orphan_since", str),
            "USD/H": ("price_per_hour", dollars_per_hour),
            "LEAKED": ("leaked_usd", dollars),
            "SESSION": ("session_id", lambda id_: id_ or ""),
        },
        rows,
        empty="no orphans",
    )


@click.command()
@click.option("--account", help="Only those of this account.", shell_complete=offered.accounts)
@paged
@as_json
def orphans(account: str | None, limit: int, cursor: str | None, as_json: bool) -> None:
    """Instances with our tag that no live session claims, and how far shopperd is with each.

    \b
    Example:
      shopperd orphans --account vast-main
    """
    told = client().get("orphans", query={"account": account, "limit": limit, "cursor": cursor})
    if as_json:
        show_json(told)
        return
    _show_orphans(told["items"])
    show_next(told)


@click.command()
@click.argument("account", required=False, shell_complete=offered.accounts)
@as_json
def plan(account: str | None, as_json: bool) -> None:
    """What a sweep would do now, and why. Nothing is done by asking.

    \b
    Examples:
      shopperd plan
      shopperd plan vast-main
    """
    told = client().get("plan", query={"account": account})
    if as_json:
        show_json(told)
        return
    for each in told["items"]:
        show_line(
            f"{each['account']}: {each['summary']}; {len(each['destroys'])} to destroy now, {each['allowed']} allowed"
        )
        if each["observing_sweeps"]:
            left = each["observing_sweeps"]
            show_line("  the next sweep only looks" if left == 1 else f"  the next {left} sweeps only look")
        for note in each["notes"]:
            show_line(f"  {note}")
        if each["orphans"]:
            _show_orphans(each["orphans"])

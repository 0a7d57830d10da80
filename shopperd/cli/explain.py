"""`shopperd explain`."""

from __future__ import annotations

from typing import Any

import click

from shopperd.cli import offered
from shopperd.cli.options import as_json, client
from shopperd.cli.output import show_fields, show_json, show_line, show_table
from shopperd.money import dollars, dollars_per_hour


@click.command()
@click.argument("account", shell_complete=offered.accounts)
@click.argument("instance", shell_complete=offered.instances)
@as_json
def explain(account: str, instance: str, as_json: bool) -> None:
    """Why one instance stays, goes, or waits: what was seen, every rule in order, and what would change it.

    The rules are those that a destroy of it must pass; the first that holds is the reason why it waits.

    \b
    Examples:
      shopperd explain vast-main 41000001
      shopperd explain vast-main 41000001 --json | jq -r .first_hold
    """
    told = client().get("instances", account, instance, "explain")
    if as_json:
        show_json(told)
        return
    show_line(f"{told['account']} {told['instance_id']}: {told['summary']}")
    click.echo()
    show_fields(_facts(told))
    if told["rules"]:
        click.echo()
        show_table(
            {
                "RULE": ("rule", str),
                "NOW": ("now", str),
                "A DESTROY NEEDS": ("requires", str),
            },
            [rule | {"now": _now(rule, told["first_hold"])} for rule in told["rules"]],
            empty="",
        )
    click.echo()
    show_line(f"what would change it: {told['would_change']}")


def _facts(told: dict[str, Any]) -> list[tuple[str, object]]:
    machine, seen, session, job = told["instance"], told["sightings"], told["session"], told["destroy"]
    facts: list[tuple[str, object]] = [
        ("tag", machine["tag"]),
        ("ownership", machine["ownership"]),
        ("state", machine["state"]),
        ("USD per hour", dollars_per_hour(machine["price_per_hour"])),
        ("USD so far", dollars(machine["cost_usd"])),
        ("session", None if session is None else f"{session['id']} ({session['state']})"),
        ("first seen", seen["first_seen_at"]),
        ("last seen", seen["last_seen_at"]),
        ("verdict", told["kind"] or "none"),
        ("because", told["because"]),
        ("sightings", f"{seen['agreeing']} of {seen['needed']} agree; missed by {seen['absences']} since"),
    ]
    if seen["orphan_since"] is not None:
        facts.append(("orphan since", seen["orphan_since"]))
    if seen["gone_at"] is not None:
        facts.append(("proven gone", seen["gone_at"]))
    if job is not None:
        facts.append(("destroy", f"by {job['origin']}, recorded {job['requested_at']}, {job['attempts']} requests"))
        facts.append(("last answer", job["last_error"]))
    return facts


def _now(rule: dict[str, Any], first_hold: str | None) -> str:
    if not rule["holds"]:
        return "passes"
    return "HOLDS (first)" if rule["rule"] == first_hold else "holds"

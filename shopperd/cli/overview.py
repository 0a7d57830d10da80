"""`shopperd status` and `accounts`."""

from __future__ import annotations

import math
from typing import Any

import click

from shopperd.cli.options import as_json, client
from shopperd.cli.output import printable, seconds, show_json, show_line, show_table
from shopperd.money import dollars, dollars_per_hour

ACCOUNT_LINES_MAX = 3
"""Of money, and of limits: those of the accounts that are nearest to their ends. With many accounts the screen is for the table."""

JOB_LINES_MAX = 5
"""An outage fails every job; they all say the same, and the rest of the screen is needed."""


def _holds(holds: list[dict[str, Any]]) -> str:
    return ", ".join(f"{hold['count']} {hold['reason']}" for hold in holds)


def _show_accounts(rows: list[dict[str, Any]]) -> None:
    show_table(
        {
            "ACCOUNT": ("name", str),
            "PROVIDER": ("provider", str),
            "HEALTH": ("healthy", lambda healthy: "ok" if healthy else "NOT OK"),
            "AGE": ("snapshot_age_seconds", seconds),
            "INST": ("instances", str),
            "SESS": ("sessions", str),
            "ORPH": ("orphans", str),
            "DESTR": ("destroys_pending", str),
            "STUCK": ("destroys_stuck", str),
            "USD/H": ("burn_per_hour", dollars_per_hour),
            "MONTH": ("cost_month_usd", dollars),
            "HOLDS": ("holds", _holds),
        },
        rows,
        empty="no accounts: see `shopperd check`",
    )


def limits_line(row: dict[str, Any]) -> str:
    """An account's limits in one line; "" where they are not known."""
    limits = row.get("limits")
    if not limits:
        return ""
    spacing = ", ".join(
        f"{kind} {value:.3g} s" + (" (learned)" if limits["learned_from"].get(kind) not in _GIVEN else "")
        for kind, value in limits["interval_seconds"].items()
        if value
    )
    waiting = sum(limits["waiting"].values())
    blocked = f", blocked {limits['blocked_share']:.0%} of the time" if limits["blocked_share"] else ""
    outage = "; PROVIDER ANSWERS NOTHING, calls are held back" if limits["breaker_open"] else ""
    return (
        f"{row['name']} calls: {spacing or 'no limit known'}; {limits['calls_last_hour']} in the last hour, "
        f"{limits['rate_limited_last_hour']} rate limited, {waiting} waiting{blocked}{outage}"
    )


_GIVEN = ("published", "settings")


def _show_limits(rows: list[dict[str, Any]]) -> None:
    told = [
        (limits_line(row), row["limits"]["breaker_open"]) for row in sorted(rows, key=_pressed) if row.get("limits")
    ]
    for line, is_outage in told[:ACCOUNT_LINES_MAX]:
        show_line(line, colour="yellow" if is_outage else None)
    _show_rest(len(told), "limits")


def _pressed(row: dict[str, Any]) -> tuple[bool, float]:
    """Sorts what is held back most to the front, and what is not stays in its order."""
    limits = row.get("limits") or {"breaker_open": False, "blocked_share": 0.0}
    return not limits["breaker_open"], -limits["blocked_share"]


def _show_rest(count: int, what: str) -> None:
    if count > ACCOUNT_LINES_MAX:
        show_line(f"and the {what} of {count - ACCOUNT_LINES_MAX} more accounts: `shopperd accounts --json`")


def money_line(row: dict[str, Any]) -> str:
    """What is left of an account's budget and credit in one line; "" where it has neither."""
    parts = []
    if row.get("budget_per_hour"):
        burn, budget = dollars_per_hour(row["burn_per_hour"]), dollars_per_hour(row["budget_per_hour"])
        parts.append(f"{burn} of {budget} USD per hour of its budget")
    if row.get("balance_usd") is not None:
        left = row.get("balance_left_seconds")
        lasts = "" if left is None else f", which lasts {seconds(left)}"
        parts.append(f"{dollars(row['balance_usd'])} USD of credit left{lasts}")
    return f"{row['name']} money: {'; '.join(parts)}" if parts else ""


def _show_money(rows: list[dict[str, Any]]) -> None:
    told = [line for row in sorted(rows, key=_left) if (line := money_line(row))]
    for line in told[:ACCOUNT_LINES_MAX]:
        show_line(line)
    _show_rest(len(told), "money")


def _left(row: dict[str, Any]) -> tuple[float, float]:
    """Sorts what runs out soonest to the front: credit by its time, budgets by their share."""
    lasts = row.get("balance_left_seconds")
    budget = row.get("budget_per_hour")
    return math.inf if lasts is None else lasts, -row["burn_per_hour"] / budget if budget else 0.0


def _show_troubles(rows: list[dict[str, Any]]) -> None:
    """What does not fit into a column: why an account is not well. On stderr, so that a pipe gets the table alone."""
    for row in rows:
        if not row["healthy"]:
            show_line(f"{row['name']}: {row['detail']}", colour="red", err=True)


@click.command()
@as_json
def status(as_json: bool) -> None:
    """The deployment on one screen: accounts, cost, holds, and how soon an orphan is gone.

    \b
    Examples:
      shopperd status
      shopperd status --json | jq .burn_per_hour
    """
    daemon = client()
    told = daemon.get("status")
    if as_json:
        show_json(told)
        return
    deployment = f", deployment {told['deployment']}" if told["deployment"] else ""
    show_line(f"shopperd {told['version']} at {daemon.url}{deployment}")
    if told["frozen"]:
        show_line(
            f"FROZEN since {printable(told['frozen_at'])}: {printable(told['frozen_reason'])}. "
            "Nothing is destroyed or created until `shopperd unfreeze`.",
            colour="red",
        )
    if told["mode"] == "report":
        show_line("REPORT MODE: orphans are told and not destroyed (orphans.mode).", colour="yellow")
    if not told["store"]["ok"]:
        show_line(f"STORE: {told['store']['problem']}. Nothing is acted on until it is well.", colour="red")
    if told["store"]["spooled"]:
        show_line(
            f"SPOOL: {told['store']['spooled']} accepted creates wait until the store takes them; nothing is acted on meanwhile.",
            colour="red",
        )
    for notice in told["notices"]:
        show_line(f"NOTICE: {notice}", colour="red")
    click.echo()
    _show_accounts(told["accounts"])
    _show_troubles(told["accounts"])
    click.echo()
    held = sum(account["destroys_held"] for account in told["accounts"])
    show_line(
        f"burn {dollars_per_hour(told['burn_per_hour'])} USD per hour; {dollars(told['cost_today_usd'])} USD today, "
        f"{dollars(told['cost_month_usd'])} this month, {dollars(told['leaked_usd'])} leaked since shopperd started; {told['destroys_pending']} destroys pending, {held} held, "
        f"{told['destroys_stuck']} stuck"
    )
    if told["destroys_stuck"]:
        show_line("look at the stuck ones at their marketplace: `shopperd orphans`, `shopperd explain`", colour="red")
    if ripe := sum(hold["count"] for account in told["accounts"] for hold in account["holds"]):
        show_line(
            f"held orphans that bill on: {ripe}; see `shopperd orphans`, `shopperd explain ACCOUNT INSTANCE`",
            colour="yellow",
        )
    _show_money(told["accounts"])
    _show_limits(told["accounts"])
    show_line(f"an orphan is gone within {seconds(told['orphan_bound_seconds'])} while its provider is healthy")
    failed = [job for job in told["jobs"] if job["ok"] is False]
    for job in failed[:JOB_LINES_MAX]:
        show_line(f"job {job['job']} {job['account']}: {job['detail']}"[:200], colour="yellow")
    if len(failed) > JOB_LINES_MAX:
        show_line(f"and {len(failed) - JOB_LINES_MAX} more jobs failed: `shopperd status --json`", colour="yellow")


@click.command()
@as_json
def accounts(as_json: bool) -> None:
    """The accounts: health, age of the newest complete snapshot, counts, cost.

    \b
    Example:
      shopperd accounts
    """
    told = client().get("accounts")
    if as_json:
        show_json(told)
        return
    _show_accounts(told["items"])
    _show_troubles(told["items"])

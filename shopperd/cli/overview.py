"""`shopperd status` and `accounts`."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from shopperd.cli.options import as_json, client
from shopperd.cli.output import Columns, counted, seconds, show_json, show_line, show_table
from shopperd.cli.screen import Page, Said, show_first_that_fits
from shopperd.money import dollars, dollars_per_hour

ACCOUNTS_TOLD = 3
"""On a screen, of troubles, money and limits: those of the accounts that need it most. All the rest is counted."""

NO_ACCOUNTS = "no accounts: see `shopperd check`"

Row = dict[str, Any]


def _holds(holds: list[Row]) -> str:
    return ", ".join(f"{hold['count']} {hold['reason']}" for hold in holds)


COLUMNS: Columns = {
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
}

ON_SCREEN = {title: column for title, column in COLUMNS.items() if title not in ("PROVIDER", "STUCK", "HOLDS")}
"""What 80 columns have room for. Lines of their own tell what is stuck and what is held."""


def _show_accounts(rows: list[Row]) -> None:
    show_table(COLUMNS, rows, empty=NO_ACCOUNTS)


def limits_line(row: Row) -> str:
    """An account's limits in one line, what was refused and what was learned first; "" where they are not known."""
    limits = row.get("limits")
    if not limits:
        return ""
    outage = ["PROVIDER ANSWERS NOTHING, calls are held back"] if limits["breaker_open"] else []
    waiting = sum(limits["waiting"].values())
    held = [
        *([f"blocked {limits['blocked_share']:.0%} of it"] if limits["blocked_share"] else []),
        *([f"{waiting} waiting now"] if waiting else []),
    ]
    sources = limits["learned_from"]
    intervals = [
        f"{kind} {value:.3g} s" + ("" if sources.get(kind) == _PUBLISHED else f" ({sources.get(kind)})")
        for kind, value in sorted(limits["interval_seconds"].items(), key=lambda each: sources.get(each[0]) in _GIVEN)
        if value
    ]
    return f"{row['name']} calls: " + "; ".join(
        [
            *outage,
            f"{limits['calls_last_hour']} in 1h, {limits['rate_limited_last_hour']} got 429",
            ", ".join(intervals) or "no limit known",
            *held,
        ]
    )


_PUBLISHED = "published"
_GIVEN = (_PUBLISHED, "settings")


def _pressed(row: Row) -> tuple[bool, float]:
    """Sorts what is held back most to the front, and what is not stays in its order."""
    limits = row.get("limits") or {"breaker_open": False, "blocked_share": 0.0}
    return not limits["breaker_open"], -limits["blocked_share"]


def money_line(row: Row) -> str:
    """What is left of an account's budget and credit in one line; "" where it has neither."""
    parts = []
    if row.get("balance_usd") is not None:
        left = row.get("balance_left_seconds")
        lasts = "" if left is None else f", which lasts {seconds(left)}"
        parts.append(f"{dollars(row['balance_usd'])} USD left{lasts}")
    if row.get("budget_per_hour"):
        burn, budget = dollars_per_hour(row["burn_per_hour"]), dollars_per_hour(row["budget_per_hour"])
        parts.append(f"budget {burn} of {budget} USD/h")
    return f"{row['name']} money: {'; '.join(parts)}" if parts else ""


def _left(row: Row) -> tuple[float, float]:
    """Sorts what runs out soonest to the front: credit by its time, budgets by their share."""
    lasts = row.get("balance_left_seconds")
    budget = row.get("budget_per_hour")
    return math.inf if lasts is None else lasts, -row["burn_per_hour"] / budget if budget else 0.0


def _is_well(row: Row) -> bool:
    return row["healthy"] and not row["holds"] and not row["destroys_stuck"] and _pressed(row)[0]


def _worst(row: Row) -> tuple[bool, bool, int, int]:
    """Sorts what is worst to the front, and what is well stays in its order."""
    held = sum(hold["count"] for hold in row["holds"])
    return row["healthy"], _is_well(row), -row["destroys_stuck"], -held


def _troubles(rows: list[Row]) -> list[Said]:
    """What does not fit into a column: why an account is not well. On stderr, so that a pipe gets the table alone."""
    return [Said(f"{row['name']}: {row['detail']}", colour="red", err=True) for row in rows if not row["healthy"]]


def _above(told: Row, url: str) -> list[Said]:
    """Where this is, and what keeps all of it from acting."""
    deployment = f", deployment {told['deployment']}" if told["deployment"] else ""
    said = [Said(f"shopperd {told['version']} at {url}{deployment}")]
    if told["frozen"]:
        since = re.sub(r"\.\d+", "", told["frozen_at"] or "-")
        said.append(Said(f"FROZEN until `shopperd unfreeze`, since {since}: {told['frozen_reason'] or '-'}", "red"))
    if told["mode"] == "report":
        said.append(Said("REPORT MODE: orphans are told and not destroyed (orphans.mode)", "yellow"))
    if not told["store"]["ok"]:
        spooled = told["store"]["spooled"]
        waiting = f" ({counted(spooled, 'accepted create')} in the spool)" if spooled else ""
        said.append(Said(f"STORE: nothing is acted on{waiting}: {told['store']['problem']}", "red"))
    return [*said, *(Said(f"NOTICE: {notice}", "red") for notice in told["notices"])]


def _totals(told: Row) -> list[Said]:
    """What it costs, what is on its way, and what waits for a person."""
    rows = told["accounts"]
    said = [
        Said(
            f"burn {dollars_per_hour(told['burn_per_hour'])} USD/h; {dollars(told['cost_today_usd'])} USD today, "
            f"{dollars(told['cost_month_usd'])} this month; {dollars(told['leaked_usd'])} leaked since the start"
        )
    ]
    pending, stuck = told["destroys_pending"], told["destroys_stuck"]
    held = sum(row["destroys_held"] for row in rows)
    look = "; see `shopperd orphans` and their market" if stuck else ""
    said.append(
        Said(f"{counted(pending, 'destroy')} pending, {held} held, {stuck} stuck{look}", "red" if stuck else None)
    )
    if ripe := sum(hold["count"] for row in rows for hold in row["holds"]):
        whose = "; ".join(f"{row['name']} {_holds(row['holds'])}" for row in rows if row["holds"])
        said.append(Said(f"held orphans that bill on: {ripe}, see `shopperd orphans`: {whose}", "yellow"))
    return said


def _bound(told: Row) -> list[Said]:
    if told["frozen"] or told["mode"] == "report":
        return []  # then it does not hold
    return [Said(f"an orphan is gone within {seconds(told['orphan_bound_seconds'])} while its provider is healthy")]


def _failed(told: Row) -> list[Row]:
    return [job for job in told["jobs"] if job["ok"] is False]


def _jobs(failed: list[Row]) -> list[str]:
    return [f"{job['job']} {job['account']}".rstrip() + f": {job['detail']}" for job in failed]


def _jobs_in_one(failed: list[Row]) -> list[Said]:
    return [Said(f"{counted(len(failed), 'job')} failed: {'; '.join(_jobs(failed))}", "yellow")] if failed else []


def _money(rows: list[Row]) -> list[Said]:
    return [Said(line) for row in sorted(rows, key=_left) if (line := money_line(row))]


def _limits(rows: list[Row]) -> list[Said]:
    return [
        Said(line, "yellow" if row["limits"]["breaker_open"] else None)
        for row in sorted(rows, key=_pressed)
        if (line := limits_line(row))
    ]


def _first(said: Sequence[Said], most: int, rest: str) -> list[Said]:
    """The first of these lines, and how many more there are; one more that would only say so is told itself."""
    if len(said) <= most + 1:
        return list(said)
    return [*said[:most], Said(rest.format(len(said) - most), said[0].colour)]


def pages(told: Row, url: str) -> Iterator[Page]:
    """The screen with all of its accounts, then with ever fewer of them."""
    rows = sorted(told["accounts"], key=_worst)
    unwell = {row["name"] for row in rows if not row["healthy"]}
    # The line on an account that is not well tells the same as its jobs.
    failed = [job for job in _failed(told) if job["account"] not in unwell]
    sizes = [(table, ACCOUNTS_TOLD) for table in range(len(rows), ACCOUNTS_TOLD, -1)]
    for table, most in (*sizes, (ACCOUNTS_TOLD, ACCOUNTS_TOLD), (ACCOUNTS_TOLD, 1)):
        yield Page(
            above=_above(told, url),
            columns=ON_SCREEN,
            rows=rows[:table],
            empty=NO_ACCOUNTS,
            below=[
                *_rest(rows[table:]),
                *_first(_troubles(rows), most, "… and {} more accounts are not well: `shopperd accounts`"),
                *_totals(told),
                *_jobs_in_one(failed),
                *_bound(told),
                *_first(_money(rows), most, "… and the money of {} more accounts: `shopperd accounts --json`"),
                *_first(_limits(rows), most, "… and the limits of {} more accounts: `shopperd accounts --json`"),
            ],
        )


def _rest(rows: list[Row]) -> list[Said]:
    if not rows:
        return []
    unwell = sum(not _is_well(row) for row in rows)
    how = f"{unwell} of them not well" if unwell else "all well"
    return [Said(f"… and {counted(len(rows), 'more account')}, {how}: `shopperd accounts`", "red" if unwell else None)]


@click.command()
@as_json
def status(as_json: bool) -> None:
    """The deployment on one screen: accounts, cost, holds, and how soon an orphan is gone.

    On a terminal, what does not fit is cut short or counted; a pipe gets all of it.

    \b
    Examples:
      shopperd status
      shopperd status | less
      shopperd status --json | jq .burn_per_hour
    """
    daemon = client()
    told = daemon.get("status")
    if as_json:
        show_json(told)
    elif sys.stdout.isatty():
        show_first_that_fits(pages(told, daemon.url))
    else:
        rows = told["accounts"]
        _show_all(_above(told, daemon.url))
        click.echo()
        _show_accounts(rows)
        _show_all(_troubles(rows))
        click.echo()
        failed = [Said(f"job {job}", "yellow") for job in _jobs(_failed(told))]
        _show_all([*_totals(told), *failed, *_bound(told), *_money(rows), *_limits(rows)])


def _show_all(said: Sequence[Said]) -> None:
    for each in said:
        show_line(each.text, colour=each.colour, err=each.err)


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
    _show_all(_troubles(told["items"]))

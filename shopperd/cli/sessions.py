"""`shopperd sessions ...`."""

from __future__ import annotations

import os
from typing import Any, TextIO

import click

from shopperd.cli import offered
from shopperd.cli.client import Failed
from shopperd.cli.options import as_json, client, paged
from shopperd.cli.output import show_fields, show_json, show_line, show_next, show_table
from shopperd.money import dollars, dollars_per_hour

WAIT_SECONDS_MAX = 300


@click.group()
def sessions() -> None:
    """What was asked for: list, show, create, register, extend and end sessions.

    \b
    Examples:
      shopperd sessions list
      shopperd sessions end ID
    """


def _show(session: dict[str, Any]) -> None:
    show_fields([(name, value) for name, value in session.items() if name != "events"])


@sessions.command("list")
@click.option("--state", help="One or several, with commas between: running,starting.")
@click.option("--account", help="Only those of this account.", shell_complete=offered.accounts)
@paged
@as_json
def list_(state: str | None, account: str | None, limit: int, cursor: str | None, as_json: bool) -> None:
    """List sessions, newest first.

    \b
    Example:
      shopperd sessions list --state creating,starting,running
    """
    query = {"state": state, "account": account, "limit": limit, "cursor": cursor}
    told = client().get("sessions", query=query)
    if as_json:
        show_json(told)
        return
    show_table(
        {
            "SESSION": ("id", str),
            "ACCOUNT": ("account", str),
            "STATE": ("state", str),
            "INSTANCE": ("instance_id", lambda id_: id_ or ""),
            "GPUS": ("gpu_count", lambda count: "" if count is None else str(count)),
            "GPU": ("gpu", lambda gpu: gpu or ""),
            "USD/H": ("price_per_hour", dollars_per_hour),
            "USD": ("cost_usd", dollars),
            "CREATED": ("created_at", str),
            "EXPIRES": ("expires_at", lambda at: at or ""),
            "REASON": ("reason", lambda reason: reason or ""),
        },
        told["items"],
        empty="no sessions",
    )
    show_next(told)


@sessions.command()
@click.argument("session", shell_complete=offered.live_sessions)
@as_json
def show(session: str, as_json: bool) -> None:
    """One session and what happened to it.

    \b
    Example:
      shopperd sessions show ID
    """
    told = client().get("sessions", session)
    if as_json:
        show_json(told)
        return
    _show(told)
    click.echo()
    for event in told["events"]:
        show_line(f"{event['at']}  {event['kind']}  {event['message']}")


@sessions.command()
@click.option("--offer", "offer_id", help="The offer to rent; else the cheapest that fits the wishes.")
@click.option("--account", help="Only from this account's market.", shell_complete=offered.accounts)
@click.option("--gpu", help="In any usual spelling.")
@click.option("--gpu-count", type=click.IntRange(1))
@click.option("--min-vram", "min_vram_gb", type=click.IntRange(1), help="GB of one GPU.")
@click.option("--max-price", "max_price_per_hour", type=click.FloatRange(0), help="USD per hour for the whole machine.")
@click.option("--interruptible", is_flag=True, default=None, help="From the spot offers, which another may outbid.")
@click.option("--image", help="The provider's word for an image.")
@click.option("--disk", "disk_gb", type=click.FloatRange(1), help="GB.")
@click.option("--env", multiple=True, metavar="NAME[=VALUE]", help="NAME alone takes the value from your environment.")
@click.option("--ssh-key", type=click.File(), help="File with the public key.")
@click.option("--onstart", type=click.File(), help="File with a script for the first start.")
@click.option("--lifetime", metavar="DURATION", help="Such as 12h; the session is ended then.")
@click.option(
    "--wait", type=click.FloatRange(0, WAIT_SECONDS_MAX), default=0.0, help="Seconds to wait for the outcome."
)
@click.option("--idempotency-key", help="The same key rents once, however often it is sent.")
@as_json
def create(
    env: tuple[str, ...],
    ssh_key: TextIO | None,
    onstart: TextIO | None,
    wait: float,
    idempotency_key: str | None,
    as_json: bool,
    **wishes: object,
) -> None:
    """Rent a machine. The intent is on disk before this returns; --wait waits for the provider.

    \b
    Examples:
      shopperd sessions create --gpu "RTX 4090" --lifetime 12h --wait 300
      shopperd sessions create --offer vastai-41000001 --onstart start.sh
    """
    body = wishes | {
        "env": dict(map(_variable, env)) or None,
        "ssh_key": ssh_key.read().strip() if ssh_key is not None else None,
        "onstart": onstart.read() if onstart is not None else None,
    }
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else None
    query = {"wait": wait} if wait else None
    told = client().post("sessions", body=body, query=query, headers=headers, wait_seconds=wait)
    show_json(told) if as_json else _show(told)
    if told["state"] == "failed":
        raise Failed(f"nothing was rented: {told['reason']}")


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals and name not in os.environ:
        raise click.BadParameter(f"{name!r} is not set in your environment", param_hint="--env")
    return name, value if equals else os.environ[name]


@sessions.command(short_help="Claim a machine that another tool rents.")
@click.argument("account", shell_complete=offered.accounts)
@click.option("--id", "id_", help="A UUID of your own; else one is made.")
@click.option("--lifetime", metavar="DURATION", help="Such as 12h; the session is ended then.")
@as_json
def register(account: str, id_: str | None, lifetime: str | None, as_json: bool) -> None:
    """Claim a machine that another tool rents, under the tag that this prints.

    \b
    Example:
      TAG=$(shopperd sessions register vast-main --json | jq -r .tag)
    """
    told = client().post("sessions", "register", body={"account": account, "id": id_, "lifetime": lifetime})
    show_json(told) if as_json else _show(told)


@sessions.command()
@click.argument("session", shell_complete=offered.live_sessions)
@click.option("--lifetime", metavar="DURATION", help="From now, such as 2h; 0 for no deadline.")
@click.option("--until", "expires_at", help="A time with its zone, such as 2026-11-25T18:00:00Z.")
@as_json
def extend(session: str, lifetime: str | None, expires_at: str | None, as_json: bool) -> None:
    """Move a session's deadline.

    \b
    Examples:
      shopperd sessions extend ID --lifetime 2h
      shopperd sessions extend ID --until 2026-11-25T18:00:00Z
    """
    if (lifetime is None) == (expires_at is None):
        raise click.UsageError("give either --lifetime or --until")
    told = client().post("sessions", session, "extend", body={"lifetime": lifetime, "expires_at": expires_at})
    show_json(told) if as_json else _show(told)


@sessions.command(short_help="End them: their machines are destroyed.")
@click.argument("session", nargs=-1, required=True, shell_complete=offered.live_sessions)
@click.option("--reason", help="For the audit trail.")
@as_json
def end(session: tuple[str, ...], reason: str | None, as_json: bool) -> None:
    """End sessions: their machines are destroyed until they are proven gone.

    \b
    Example:
      shopperd sessions end ID --reason "training is done"
    """
    daemon = client()
    failures = []
    for each in session:
        try:
            told = daemon.post("sessions", each, "end", body={"reason": reason})
        except Failed as failure:
            failures.append(failure)
            failure.show()
            continue
        show_json(told) if as_json else show_line(f"{told['id']}: {told['state']}")
    if failures:
        # Each was told; the others were ended all the same.
        raise SystemExit(max(failure.exit_code for failure in failures))

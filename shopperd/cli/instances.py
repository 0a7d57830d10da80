"""`shopperd instances ...`."""

from __future__ import annotations

import click

from shopperd.cli import offered
from shopperd.cli.options import as_json, client, paged
from shopperd.cli.output import printable, show_json, show_line, show_next, show_table
from shopperd.money import dollars, dollars_per_hour


@click.group()
def instances() -> None:
    """What the marketplaces bill: list, adopt, destroy, exempt and unexempt instances.

    \b
    Examples:
      shopperd instances list
      shopperd instances destroy vast-main 41000001
    """


@instances.command("list", short_help="List them, whose they are and what they cost.")
@click.option("--account", help="Only those of this account.", shell_complete=offered.accounts)
@click.option("--ownership", type=click.Choice(["ours", "unknown", "foreign"]), help="Whose they are.")
@click.option("--state", type=click.Choice(["starting", "running", "stopped", "unknown"]), help="What they do.")
@paged
@as_json
def list_(as_json: bool, **query: object) -> None:
    """List the instances of every account, whose they are and what they cost.

    \b
    Example:
      shopperd instances list --ownership unknown
    """
    told = client().get("instances", query=query)
    if as_json:
        show_json(told)
        return
    show_table(
        {
            "ACCOUNT": ("account", str),
            "INSTANCE": ("id", str),
            "OWNERSHIP": ("ownership", str),
            "STATE": ("state", str),
            "GPUS": ("gpu_count", lambda count: "" if count is None else str(count)),
            "GPU": ("gpu", lambda gpu: gpu or ""),
            "USD/H": ("price_per_hour", dollars_per_hour),
            "USD": ("cost_usd", dollars),
            "ADDRESS": ("where", str),
            "TAG": ("tag", lambda tag: tag or ""),
            "EXEMPT": ("exempt", lambda exempt: "exempt" if exempt else ""),
        },
        [item | {"where": _where(item["address"], item["ssh_port"])} for item in told["items"]],
        empty="no instances",
    )
    show_next(told)


def _where(address: str | None, port: int | None) -> str:
    if address is None:
        return ""
    return address if port is None else f"{address}:{port}"


@instances.command(short_help="Give one that carries our tag to a session.")
@click.argument("account", shell_complete=offered.accounts)
@click.argument("instance", shell_complete=offered.instances)
@click.option("--session", "session_id", help="A session that waits for a machine; else the tag's, or a new one.")
@click.option("--lifetime", metavar="DURATION", help="Such as 12h, from now; the session is ended then.")
@click.option("--reason", default="adopted by hand", show_default=True, help="For the audit trail.")
@as_json
def adopt(
    account: str, instance: str, session_id: str | None, lifetime: str | None, reason: str, as_json: bool
) -> None:
    """Give an instance that carries our tag to a session, which then claims it: it is no orphan any more.

    \b
    Examples:
      shopperd instances adopt vast-main 41000001 --lifetime 12h
      shopperd instances adopt vast-main 41000001 --session ID
    """
    body = {"reason": reason, "session_id": session_id, "lifetime": lifetime}
    told = client().post("instances", account, instance, "adopt", body=body)
    show_json(told) if as_json else show_line(f"{told['id']} belongs to session {told['session_id']} now")


@instances.command()
@click.argument("account", shell_complete=offered.accounts)
@click.argument("instance", shell_complete=offered.instances)
@click.option("--reason", default="destroyed by hand", show_default=True, help="For the audit trail.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def destroy(account: str, instance: str, reason: str, yes: bool, as_json: bool) -> None:
    """Destroy one instance of ours, ending its session. What is on it is lost.

    \b
    Example:
      shopperd instances destroy vast-main 41000001 --reason "it hangs"
    """
    if not yes:
        click.confirm(
            f"Destroy instance {printable(instance)} of account {printable(account)}, with all that is on it?",
            abort=True,
            err=True,
        )
    told = client().post("instances", account, instance, "destroy", body={"reason": reason})
    if as_json:
        show_json(told)
    else:
        show_line(
            f"recorded: {told['instance_id']} is destroyed until it is proven gone; see `shopperd events --follow`"
        )


@instances.command()
@click.argument("account", shell_complete=offered.accounts)
@click.argument("instance", shell_complete=offered.instances)
@click.option("--reason", default="exempted by hand", show_default=True, help="For the audit trail.")
@as_json
def exempt(account: str, instance: str, reason: str, as_json: bool) -> None:
    """Protect an instance from every destroy, until `unexempt`.

    \b
    Example:
      shopperd instances exempt vast-main 41000001 --reason "its data is needed"
    """
    told = client().post("instances", account, instance, "exempt", body={"reason": reason})
    show_json(told) if as_json else show_line(f"{told['id']} is exempt: nothing destroys it")


@instances.command()
@click.argument("account", shell_complete=offered.accounts)
@click.argument("instance", shell_complete=offered.instances)
@click.option("--reason", default="unexempted by hand", show_default=True, help="For the audit trail.")
@as_json
def unexempt(account: str, instance: str, reason: str, as_json: bool) -> None:
    """Protect an instance no longer.

    \b
    Example:
      shopperd instances unexempt vast-main 41000001 --reason "data copied"
    """
    told = client().post("instances", account, instance, "unexempt", body={"reason": reason})
    show_json(told) if as_json else show_line(f"{told['id']} is not exempt any more")

"""`shopperd freeze`, `unfreeze` and `trust`."""

from __future__ import annotations

import click

from shopperd.cli import offered
from shopperd.cli.options import as_json, client
from shopperd.cli.output import show_json, show_line


@click.command()
@click.option("--reason", required=True, help="For the audit trail and whoever finds it frozen.")
@as_json
def freeze(reason: str, as_json: bool) -> None:
    """Throw the kill switch: nothing is destroyed or created until `shopperd unfreeze`. It survives a restart.

    Looking goes on, and what is due is done after the thaw.

    \b
    Example:
      shopperd freeze --reason "the market shows nonsense"
    """
    told = client().post("freeze", body={"reason": reason})
    show_json(told) if as_json else show_line("frozen: nothing is destroyed or created until `shopperd unfreeze`")


@click.command()
@click.option("--reason", default="unfrozen by hand", show_default=True, help="For the audit trail.")
@as_json
def unfreeze(reason: str, as_json: bool) -> None:
    """Let destroys and creates go on.

    \b
    Example:
      shopperd unfreeze --reason "it was a false alarm"
    """
    told = client().post("unfreeze", body={"reason": reason})
    show_json(told) if as_json else show_line("not frozen: destroys and creates go on")


@click.command()
@click.argument("account", shell_complete=offered.accounts)
@click.option("--reason", default="trusted by hand", show_default=True, help="For the audit trail.")
@as_json
def trust(account: str, reason: str, as_json: bool) -> None:
    """Say that an account's new credentials are right.

    An account whose credentials changed and that lists none of its known machines is taken for another one: nothing that it shows
    counts. After this it counts, and what it does not show is gone.

    \b
    Example:
      shopperd trust vast-main --reason "the team moved, its machines are gone"
    """
    told = client().post("accounts", account, "trust", body={"reason": reason})
    show_json(told) if as_json else show_line(f"{account}: what its credentials show counts from now on")

"""`shopperd completion`: completion for a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from shopperd.cli.client import Failed

PROGRAM = "shopperd"
VARIABLE = "_SHOPPERD_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options, accounts, instances and sessions.

    The last three are asked of the running daemon that SHOPPERD_URL names.

    \b
    Examples:
      shopperd completion bash > ~/.local/share/bash-completion/completions/shopperd
      shopperd completion zsh > "${fpath[1]}/_shopperd"
      shopperd completion fish > ~/.config/fish/completions/shopperd.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Failed(f"nothing is known of completion in {shell}")
    found = click.get_current_context().find_root().command
    click.echo(kind(found, {}, PROGRAM, VARIABLE).source())

"""`shopperd completion`: completion for a shell."""

from __future__ import annotations

from collections.abc import Mapping

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

PROGRAM = "shopperd"
VARIABLE = "_SHOPPERD_COMPLETE"


class _Zsh(ZshComplete):
    """Its function is called as its file is: else zsh, which loads the file when it is first asked, gets no answer the second time."""

    @property
    def func_name(self) -> str:
        return f"_{self.prog_name}"


class _Fish(FishComplete):
    """Cuts an answer at its first comma alone: descriptions have some too."""

    source_template = FishComplete.source_template.replace('split ","', 'split --max 1 ","')


SHELLS: Mapping[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": _Zsh, "fish": _Fish}


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options, accounts, instances and sessions.

    The last three are asked of the running daemon that SHOPPERD_URL names.

    \b
    Examples:
      shopperd completion bash \\
        > ~/.local/share/bash-completion/completions/shopperd
      shopperd completion zsh > "${fpath[1]}/_shopperd"
      shopperd completion fish > ~/.config/fish/completions/shopperd.fish
    """
    found = click.get_current_context().find_root().command
    click.echo(SHELLS[shell](found, {}, PROGRAM, VARIABLE).source())

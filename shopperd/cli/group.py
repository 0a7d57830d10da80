"""The command `shopperd`: its sub-commands, in sections, each imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click
from attrs import frozen

from shopperd import __version__


@frozen
class Entry:
    """Where a command is, and what the help says of it."""

    module: str
    help: str


SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "The daemon": {
        "run": Entry("run", "Run the daemon in the foreground."),
        "completion": Entry("completion", "Print completion for bash, zsh or fish."),
        "check": Entry("check", "Is the configuration right? With --online: do the credentials work?"),
        "freeze": Entry("switch", "Throw the kill switch: nothing is destroyed or created."),
        "unfreeze": Entry("switch", "Let destroys and creates go on."),
        "trust": Entry("switch", "Say that an account's new credentials are right."),
    },
    "What is going on": {
        "status": Entry("overview", "The deployment on one screen."),
        "accounts": Entry("overview", "The accounts: health, counts, cost."),
        "costs": Entry("costs", "What was spent, by account, session or instance."),
        "events": Entry("events", "The audit trail; --follow for what comes."),
        "orphans": Entry("orphans", "Instances that should not be, and what is done about them."),
        "plan": Entry("orphans", "What a sweep would do now, and why."),
        "explain": Entry("explain", "Why one instance stays, goes, or waits."),
    },
    "Machines": {
        "offers": Entry("offers", "The market now, filtered and sorted; what GPUs cost before."),
        "sessions": Entry("sessions", "List, show, create, register, extend and end sessions."),
        "instances": Entry("instances", "List, adopt, destroy, exempt and unexempt instances."),
    },
    "Trying it out": {
        "demo": Entry("demo", "The daemon against the built-in simulator, with troubles on."),
        "simulator": Entry("simulator", "Both marketplaces' APIs on loopback."),
    },
}


class LazyGroup(click.Group):
    """Finds its commands in `SECTIONS`: the attribute of a command's name, in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of the sections."""
        return [name for entries in SECTIONS.values() for name in entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command; None if there is none of that name."""
        for entries in SECTIONS.values():
            if cmd_name in entries:
                found = getattr(import_module(f"shopperd.cli.{entries[cmd_name].module}"), cmd_name)
                if not isinstance(found, click.Command):
                    raise TypeError(f"{cmd_name} is not a command")
                return found
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called, or an error that tells which one was perhaps meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The sections, without importing any command."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="shopperd")
def shopperd() -> None:
    """Keeps what you are billed for equal to what you asked for, on every GPU marketplace account you own.

    All commands but run, check, completion, demo and simulator speak to a running daemon: SHOPPERD_URL says where it is (default
    http://127.0.0.1:9877), SHOPPERD_TOKEN lets them change something where it wants a token.

    \b
    Examples:
      shopperd check --config shopperd.toml --online
      shopperd run --config shopperd.toml
      shopperd offers --gpu "RTX 4090" --max-price 0.5
      shopperd sessions create --gpu "RTX 4090" --lifetime 12h --wait 300
      shopperd status
    """

"""The command itself: help, sections, speed."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from shopperd import __version__
from shopperd.cli.group import SECTIONS, shopperd

COMMANDS = {
    *("run", "check", "status", "accounts", "sessions", "instances", "offers", "orphans", "plan", "events"),
    *("freeze", "unfreeze", "trust", "simulator", "demo", "explain", "completion", "costs"),
}
SUBCOMMANDS = {
    "sessions": {"list", "show", "create", "register", "extend", "end"},
    "instances": {"list", "adopt", "destroy", "exempt", "unexempt"},
    "offers": {"history"},
}


def test_all_promised_commands_are_there() -> None:
    context = click.Context(shopperd)
    assert set(shopperd.list_commands(context)) == COMMANDS
    for name, expected in SUBCOMMANDS.items():
        group = shopperd.get_command(context, name)
        assert isinstance(group, click.Group)
        assert set(group.commands) == expected


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(shopperd, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage: shopperd ")


def test_a_slip_of_the_finger_is_told_what_was_perhaps_meant() -> None:
    result = CliRunner().invoke(shopperd, ["statu"])
    assert result.exit_code == 2
    assert "Did you mean 'status'?" in result.output


def test_what_is_like_no_command_is_told_no_other() -> None:
    assert "mean" not in CliRunner().invoke(shopperd, ["qqqq"]).output


def test_the_help_shows_every_section_and_command() -> None:
    output = CliRunner().invoke(shopperd, ["--help"]).output
    for title, entries in SECTIONS.items():
        assert f"{title}:" in output
        for name in entries:
            assert f"  {name} " in output


def leaves(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield (*path, name), command


LEAVES = dict(leaves(shopperd))


@pytest.mark.parametrize("path", sorted(LEAVES), ids=" ".join)
def test_every_command_has_an_example_in_its_help(path: tuple[str, ...]) -> None:
    output = CliRunner().invoke(shopperd, [*path, "--help"]).output
    examples = output.partition("Example")[2]
    assert f"shopperd {' '.join(path)}" in examples


def groups(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from groups(command, *path, name)


@pytest.mark.parametrize("path", sorted([*LEAVES, *groups(shopperd)]), ids=" ".join)
def test_every_help_fits_80_columns_and_says_what_each_option_does(path: tuple[str, ...]) -> None:
    output = CliRunner().invoke(shopperd, [*path, "--help"], env={"COLUMNS": "80"}, terminal_width=80).output
    assert [line for line in output.splitlines() if len(line) > 80] == []
    assert "Example" in output
    assert [line for line in output.partition("Commands:")[2].splitlines() if line.endswith("...")] == []


def test_every_command_that_prints_data_prints_json() -> None:
    without = {path for path, command in LEAVES.items() if "as_json" not in {each.name for each in command.params}}
    assert without == {("run",), ("demo",), ("simulator",), ("completion",)}


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(shopperd, ["--version"]).output == f"shopperd, version {__version__}\n"


def test_an_unknown_command_or_option_is_wrong_usage() -> None:
    for arguments in (["laundry"], ["status", "--fast"], ["sessions", "create", "--gpu-count", "0"], ["freeze"]):
        assert CliRunner().invoke(shopperd, arguments).exit_code == 2, arguments


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["sessions", "create", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from shopperd.cli import main
sys.argv = ["shopperd", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = {{"aiohttp", "sqlalchemy", "rich", "structlog", "prometheus_client", "asyncio"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)

"""The start-up commands do what they say in a real shell."""

import os
import subprocess
from pathlib import Path

import pytest

from shopperd.providers.tensordock import startup
from tests.providers.tensordock.account import SSH_KEY, TAG, order

NASTY = {"QUOTE": 'it\'s "so" $HOME `id` \\n', "LINES": "a\nb", "HASH": "a#b", "SPACE": "a b"}


def run(commands: list[str], root: Path) -> str:
    """The commands with every absolute path moved below `root`, as cloud-init would run them."""
    for folder in ("etc/profile.d", "var/lib", "root", "home/user"):
        (root / folder).mkdir(parents=True)
    script = "\n".join(commands)
    for path in ("/etc/", "/var/lib/", "/home/user", "/root"):
        script = script.replace(path, f"{root}{path}")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_script_sees_every_value_exactly(tmp_path: Path) -> None:
    onstart = 'printf "%s|" "$QUOTE" "$LINES" "$HASH" "$SPACE" "$SHOPPERD_TAG"'
    output = run(startup.commands(order(env=NASTY, onstart=onstart)), tmp_path)
    assert output == "|".join([*NASTY.values(), TAG, ""])


def test_login_shells_see_every_value_and_the_environment_file_the_plain_ones(tmp_path: Path) -> None:
    run(startup.commands(order(env=NASTY)), tmp_path)
    profile = tmp_path / "etc/profile.d/shopperd.sh"
    shown = subprocess.run(
        ["sh", "-c", f'. {profile}; printf "%s|" "$QUOTE" "$LINES"'], capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"{NASTY['QUOTE']}|{NASTY['LINES']}|"
    lines = (tmp_path / "etc/environment").read_text().splitlines()
    assert lines == ["SPACE=a b", f"SHOPPERD_TAG={TAG}"]


def test_a_script_with_its_own_interpreter_keeps_it(tmp_path: Path) -> None:
    assert run(startup.commands(order(onstart="#!/bin/sh\necho $0 | sed 's,.*/,,'")), tmp_path) == "shopperd-onstart\n"


@pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")
def test_the_key_is_written_once_for_both_users_however_often_it_runs(tmp_path: Path) -> None:
    commands = startup.commands(order())
    run([*commands, *commands], tmp_path)
    for home in ("root", "home/user"):
        file = tmp_path / home / ".ssh/authorized_keys"
        assert file.read_text() == f"{SSH_KEY}\n"
        assert file.stat().st_mode & 0o777 == 0o600


def test_without_a_key_none_is_written(tmp_path: Path) -> None:
    run(startup.commands(order(ssh_key=None)), tmp_path)
    assert not (tmp_path / "root/.ssh").exists()

"""What a shell is told, and what it is offered."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result

from shopperd.model import SessionState
from tests.cli.conftest import Run, command
from tests.cli.served import Served


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_ask(shell: str) -> None:
    result = command(None, "completion", shell)
    assert result.exit_code == 0
    assert f"_SHOPPERD_COMPLETE={shell}_complete" in result.stdout
    assert command(None, "completion", "tcsh").exit_code == 2


def test_zsh_is_answered_the_second_time_too() -> None:
    # It calls the function that is named as the file is, `_shopperd`, from then on.
    assert "\n_shopperd() {" in command(None, "completion", "zsh").stdout


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish is installed here")
def test_fish_shows_a_description_with_its_commas(tmp_path: Path) -> None:
    folder = tmp_path / "fish" / "completions"
    folder.mkdir(parents=True)
    (folder / "shopperd.fish").write_text(command(None, "completion", "fish").stdout)
    environ = os.environ | {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    asked = ["fish", "-c", "complete -C 'shopperd expl'"]
    told = subprocess.run(asked, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.startswith("explain\tWhy one instance stays, goes, or waits")


def offered(result: Result) -> list[str]:
    """The values, as bash gets them: a kind and a value on each line."""
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


def complete(url: str | None, *words: str) -> list[str]:
    """What bash is offered for the last of these words."""
    line = " ".join(("shopperd", *words))
    env = {"_SHOPPERD_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    return offered(command(url, env=env, prog_name="shopperd"))


def test_commands_are_completed_without_a_daemon() -> None:
    assert "explain" in complete(None, "ex")
    assert set(complete(None, "instances", "a")) == {"adopt"}


def test_accounts_instances_and_sessions_are_those_of_the_daemon(served: Served) -> None:
    def fill(deployment: object) -> None:
        served.deployment.track("41000001", tag="x\x1b[2J")
        served.deployment.track("41000002", account="dock", provider="tensordock")
        served.deployment.track("42\x1b[2J")
        served.deployment.session(1, state=SessionState.RUNNING)
        served.deployment.session(2, state=SessionState.ENDED)

    served.do(fill)
    assert complete(served.url, "explain", "m") == ["main"]
    assert complete(served.url, "explain", "main", "4") == ["41000001"]
    assert complete(served.url, "sessions", "list", "--account", "d") == ["dock"]
    assert complete(served.url, "sessions", "end", "0") == ["00000000-0000-4000-8000-000000000001"]


def test_without_a_daemon_nothing_is_offered_and_nothing_said(run: Run) -> None:
    assert complete("http://127.0.0.1:1", "explain", "m") == []

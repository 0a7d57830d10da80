"""`run` hands over to the daemon and ends with its exit status."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from shopperd.cli import run as run_module
from shopperd.cli.group import shopperd


@pytest.mark.parametrize("status", [0, 1, 2])
def test_the_daemons_exit_status_is_the_commands(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    given: list[Path | None] = []

    def daemon(config: Path | None) -> int:
        given.append(config)
        return status

    monkeypatch.setattr(run_module, "run_daemon", daemon)
    assert CliRunner().invoke(shopperd, ["run", "--config", "some.toml"]).exit_code == status
    assert CliRunner().invoke(shopperd, ["run"]).exit_code == status
    assert given == [Path("some.toml"), None]


def test_a_wrong_configuration_ends_with_2_and_says_all(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "shopperd.toml"
    config.write_text("[orphans]\nmode = 'maybe'\nsighting = 3\n")
    result = CliRunner().invoke(shopperd, ["run", "--config", str(config)])
    assert result.exit_code == 2
    assert "orphans.mode" in result.stderr
    assert "orphans.sighting" in result.stderr

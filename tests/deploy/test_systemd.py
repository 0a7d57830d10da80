"""The unit: systemd takes it without a word, it gives hardly any rights, and the README beside it is true."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shopperd.process import CLOSE_SECONDS, EXIT_CONFIGURATION, LOOK_SECONDS
from shopperd.settings import Settings
from shopperd.settings_file import load

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/systemd"
UNIT = FOLDER / "shopperd.service"
README = (FOLDER / "README.md").read_text()

EXPOSURE_MAX = 1.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def values(key: str) -> list[str]:
    """Every value that the unit gives a key."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def seconds(key: str) -> float:
    """A time of the unit, in seconds."""
    (value,) = values(key)
    return float(value.removesuffix("min")) * 60 if value.endswith("min") else float(value)


def installed(folder: Path, text: str) -> Path:
    """The unit as it would be where shopperd is installed: only then does its program exist."""
    path = folder / "shopperd.service"
    path.write_text(text.replace("/opt/shopperd/bin/shopperd", sys.executable))
    return path


def verify(unit: Path) -> str:
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    return done.stderr


@needs_systemd
class TestSystemd:
    def test_it_takes_the_unit_without_a_word(self, tmp_path: Path) -> None:
        assert verify(installed(tmp_path, UNIT.read_text())) == ""

    @pytest.mark.parametrize("line", ["WatchdogSecs=60", "ProtectSystem=very", "Restart=perhaps"])
    def test_a_mistake_would_be_seen(self, line: str, tmp_path: Path) -> None:
        # It exits with 0 all the same, so it is its words that count.
        broken = UNIT.read_text().replace("[Service]\n", f"[Service]\n{line}\n")
        assert "shopperd.service:" in verify(installed(tmp_path, broken))

    def test_it_gives_hardly_any_rights(self, tmp_path: Path) -> None:
        unit = installed(tmp_path, UNIT.read_text())
        words = ["security", "--offline=true", "--json=short", f"--threshold={EXPOSURE_MAX * 10:.0f}", str(unit)]
        done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
        exposed = {row["name"]: row["exposure"] for row in json.loads(done.stdout) if row["exposure"]}
        assert done.returncode == 0, exposed


class TestPromises:
    def test_a_stop_has_the_time_that_a_drain_takes(self) -> None:
        assert seconds("TimeoutStopSec") > Settings().drain_seconds + CLOSE_SECONDS

    def test_the_watchdog_is_fed_several_times_within_its_time(self) -> None:
        assert seconds("WatchdogSec") >= 10 * LOOK_SECONDS

    def test_a_wrong_configuration_is_not_tried_again(self) -> None:
        assert values("RestartPreventExitStatus") == [str(EXIT_CONFIGURATION)]

    def test_anything_else_is_tried_again_for_as_long_as_it_takes(self) -> None:
        assert values("Restart") == ["on-failure"]
        assert values("StartLimitIntervalSec") == ["0"]
        assert seconds("RestartSec") >= 5

    def test_no_secret_can_stand_in_it(self) -> None:
        assert values("Environment") == values("EnvironmentFile") == []
        assert len(values("LoadCredential")) == 1
        assert values("LimitCORE") == ["0"], "a core holds the keys"


class TestReadme:
    def test_it_is_five_commands_from_nothing_to_running(self) -> None:
        assert len(commands()) == 5

    def test_its_files_exist(self) -> None:
        for name in re.findall(r"deploy/systemd/[\w.]+", README):
            assert (ROOT / name).exists(), name

    def test_its_configuration_is_accepted_and_destroys_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "keys_vastai").write_text("a-key\n")
        settings = load(FOLDER / "config.toml", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
        assert settings.orphans.mode == "report"
        assert {*settings.accounts} == {"vastai"}

    def test_it_tells_the_times_that_the_unit_has(self) -> None:
        assert f"`TimeoutStopSec` ({seconds('TimeoutStopSec'):.0f})" in README
        assert f"`drain_seconds` ({Settings().drain_seconds:.0f})" in README


def commands() -> list[str]:
    """The commands from nothing to running."""
    block: str = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[0]
    return block.splitlines()

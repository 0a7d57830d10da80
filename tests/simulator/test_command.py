"""`shopperd simulator`: its first lines, its options, its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from shopperd.cli.simulator import simulator

RUN = "from shopperd.cli.simulator import simulator; simulator()"


@pytest.fixture
def running() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", RUN, "--offers", "20", "--seed", "3", "--key", "only-this"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


async def test_the_first_three_lines_name_the_origins_and_sigterm_ends_it(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    lines = [running.stdout.readline().strip() for _ in range(3)]
    urls = dict(line.split("=", 1) for line in lines)
    assert list(urls) == ["VASTAI_URL", "TENSORDOCK_URL", "CONTROL_URL"]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{urls['CONTROL_URL']}/_sim/state") as reply:
            state = await reply.json()
        headers = {"Authorization": "Bearer another"}
        async with session.get(f"{urls['VASTAI_URL']}/api/v1/instances/", headers=headers) as reply:
            assert reply.status == 401
    assert state["seed"] == 3
    assert state["offers"]["vastai"] == 20
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0


def test_a_bad_scenario_is_wrong_usage(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('{"steps": [{"fault": {"name": "nonsense"}}]}')
    result = CliRunner().invoke(simulator, ["--scenario", str(path)])
    assert result.exit_code == 2
    assert "no fault is named 'nonsense'" in result.output


@pytest.mark.parametrize("arguments", [["--offers", "0"], ["--offers", "64001"], ["--rate-scale", "-1"]])
def test_an_impossible_option_is_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(simulator, arguments).exit_code == 2

"""The demo as a user runs it: real processes, real HTTP."""

import asyncio
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LENGTH_SECONDS = "20"

pytestmark = pytest.mark.timeout(240)


async def start(folder: Path, *args: str) -> Process:
    """Start the demo; its temporary folder lies in `folder`."""
    environ = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shopperd", "demo", *args, cwd=ROOT, env=environ, stdout=PIPE, stderr=STDOUT
    )


async def rest_of(process: Process) -> str:
    out, _ = await process.communicate()
    return out.decode()


async def lines_until(process: Process, text: str) -> list[str]:
    """What the demo prints, up to the line with that text."""
    if process.stdout is None:
        raise RuntimeError("its output goes nowhere")
    lines: list[str] = []
    while True:
        line = (await process.stdout.readline()).decode()
        assert line, f"it ended before {text!r}:\n{''.join(lines)}"
        lines.append(line)
        if text in line:
            return lines


def listens(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def test_a_short_demo_sees_every_trouble_through_and_ends_in_agreement(tmp_path: Path) -> None:
    process = await start(tmp_path, "--seconds", LENGTH_SECONDS)
    out = await rest_of(process)
    assert process.returncode == 0, out
    assert "Belief and truth agree, and nothing was destroyed wrongfully." in out
    for trouble in (
        "its answer gets lost",
        "no memory knows it",
        "a storm of 429s",
        "answered 200 and does nothing",
        "listings lack their last rows",
        "200 and no machines at all",
        "kill -9",
        "with the tag of ended session",
        "the host of session",
    ):
        assert trouble in out, trouble
    row = re.compile(r"^  (.+?)  +(\S+)  (\S+)", re.MULTILINE)
    rows = {what: (believed, true) for what, believed, true in row.findall(out)}
    assert rows["sessions running"] == ("6", "6")
    assert rows["orphans destroyed"] == ("3", "3")
    assert rows["kill -9 survived"] == ("1", "1")
    assert not re.search(r"answers 429 +0$", out, re.MULTILINE)
    assert "\x1b" not in out
    assert list(tmp_path.iterdir()) == []


async def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await start(tmp_path)
    lines = await lines_until(process, "a long job")
    urls = re.findall(r"(http://127\.0\.0\.1:\d+)/", "".join(lines))
    assert len(set(urls)) == 3
    assert all(listens(url) for url in urls)
    process.send_signal(signal.SIGINT)
    out = await rest_of(process)
    assert process.returncode == 0, out
    assert "interrupted after" in out
    assert not any(listens(url) for url in urls)
    assert list(tmp_path.iterdir()) == []


async def test_a_demo_with_an_end_that_is_interrupted_has_not_passed(tmp_path: Path) -> None:
    process = await start(tmp_path, "--seconds", LENGTH_SECONDS)
    await lines_until(process, "it must stay untouched")
    process.send_signal(signal.SIGTERM)
    out = await rest_of(process)
    assert process.returncode == 1, out
    assert list(tmp_path.iterdir()) == []


async def test_a_daemon_that_does_not_come_up_is_told_and_its_log_is_kept(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await start(tmp_path, "--seconds", LENGTH_SECONDS, "--port", str(taken.getsockname()[1]))
        out = await rest_of(process)
    assert process.returncode == 1, out
    (folder,) = tmp_path.iterdir()
    assert f"The logs: {folder}" in out
    assert (folder / "daemon.log").exists()
    assert not (folder / "shopperd.db").exists()

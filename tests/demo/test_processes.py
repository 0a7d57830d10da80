import os
import signal
from pathlib import Path

import pytest

from shopperd.clock import SystemClock
from shopperd.demo.cast import market_in, url_in
from shopperd.demo.processes import Child, ChildError, clean_environment


def child(tmp_path: Path, *args: str) -> Child:
    return Child("daemon", args, clean_environment(os.environ, {}), tmp_path / "child.log", SystemClock())


def never(_log: str) -> None:
    return None


def test_children_get_none_of_the_user_s_settings_and_keys() -> None:
    environ = {
        "PATH": "/bin",
        "SHOPPERD_ORPHANS__MODE": "report",
        "VASTAI_API_KEY": "real",
        "TENSORDOCK_API_TOKEN": "real",
        "STATE_DIRECTORY": "/var/lib/shopperd",
    }
    cleaned = clean_environment(environ, {"DEMO_KEY": "fake"})
    assert cleaned == {"PATH": "/bin", "DEMO_KEY": "fake", "PYTHONUNBUFFERED": "1"}


async def test_a_child_that_ends_early_is_told_with_its_status_and_its_last_words(tmp_path: Path) -> None:
    process = child(tmp_path, "no-such-command")
    await process.start()
    with pytest.raises(ChildError, match="the daemon ended with exit status 2 before it served") as caught:
        await process.wait_for(never, 30.0, "it served")
    assert "no-such-command" in caught.value.tail


async def test_a_child_that_says_nothing_in_time_is_told_too(tmp_path: Path) -> None:
    process = child(tmp_path, "simulator")
    await process.start()
    try:
        with pytest.raises(ChildError, match="took longer than 0 s until it sang"):
            await process.wait_for(never, 0.0, "it sang")
    finally:
        await process.stop()


async def test_a_child_ends_when_it_is_told_to_and_another_life_has_a_log_of_its_own(tmp_path: Path) -> None:
    process = child(tmp_path, "simulator", "--offers", "5", "--seed", "1")
    await process.start()
    await process.wait_for(market_in, 30.0, "it told its addresses")
    assert await process.stop() == 0
    assert not process.running
    await process.start()
    try:
        await process.wait_for(market_in, 30.0, "it told its addresses")
        assert process.tail.count("CONTROL_URL=") == 1
        assert process.log.read_text().count("CONTROL_URL=") == 2
    finally:
        await process.stop()


async def test_a_killed_child_is_gone_at_once(tmp_path: Path) -> None:
    process = child(tmp_path, "simulator", "--offers", "5")
    await process.start()
    await process.wait_for(market_in, 30.0, "it told its addresses")
    await process.kill()
    assert not process.running
    assert await process.stop() == -signal.SIGKILL


async def test_a_child_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    assert await child(tmp_path).stop() is None


def test_the_simulator_s_addresses_are_read_when_all_are_told() -> None:
    lines = "VASTAI_URL=http://a\nTENSORDOCK_URL=http://b\nCONTROL_URL=http://c"
    assert market_in(lines) is None
    market = market_in(lines + "\n")
    assert market is not None
    assert (market.vastai_url, market.tensordock_url, market.control_url) == ("http://a", "http://b", "http://c")


def test_the_daemon_s_url_is_in_its_ready_line() -> None:
    ready = '{"event": "ready", "url": "http://127.0.0.1:9"}'
    assert url_in('not json "ready"\n{"event": "job.ran", "detail": "ready"}\n') is None
    assert url_in(ready) is None
    assert url_in(f"starting\n{ready}\n") == "http://127.0.0.1:9"

"""What systemd is told: the protocol, word by word, over a real socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define
from structlog.testing import capture_logs

from shopperd.secrets import remember
from shopperd.systemd import STATUS_CHARS_MAX, Systemd


@define
class Manager:
    """The other end of the socket."""

    receiver: socket.socket
    address: str

    def told(self) -> dict[str, str]:
        """The next message. It is there already, or it was never sent."""
        return dict(line.split("=", 1) for line in self.receiver.recv(65536).decode().split("\n"))

    def systemd(self) -> Systemd:
        return Systemd.from_environment({"NOTIFY_SOCKET": self.address}, 1)


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "file" else f"@{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0"))
        receiver.setblocking(False)
        yield Manager(receiver, name)


class TestWords:
    def test_ready_comes_with_a_sentence(self, manager: Manager) -> None:
        manager.systemd().ready("Watches 2 accounts.")
        assert manager.told() == {"READY": "1", "STATUS": "Watches 2 accounts."}

    def test_a_reload_begins_with_the_time_at_which_it_does(self, manager: Manager) -> None:
        before = time.monotonic_ns() // 1000
        manager.systemd().reloading()
        told = manager.told()
        assert told.keys() == {"RELOADING", "MONOTONIC_USEC"}
        assert before <= int(told["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000

    def test_a_stop_asks_for_the_time_that_it_needs(self, manager: Manager) -> None:
        manager.systemd().stopping("Stops.", 55.0)
        assert manager.told() == {"STOPPING": "1", "STATUS": "Stops.", "EXTEND_TIMEOUT_USEC": "55000000"}

    def test_the_watchdog_is_fed_with_a_sentence_too(self, manager: Manager) -> None:
        manager.systemd().alive("Well.")
        assert manager.told() == {"WATCHDOG": "1", "STATUS": "Well."}

    def test_a_status_alone_feeds_nobody(self, manager: Manager) -> None:
        manager.systemd().status("Hangs.")
        assert manager.told() == {"STATUS": "Hangs."}


class TestStatus:
    def test_it_is_one_line_so_that_nothing_in_it_becomes_a_word_of_the_protocol(self, manager: Manager) -> None:
        manager.systemd().status("a\nREADY=1\r\n b")
        assert manager.told() == {"STATUS": "a READY=1 b"}

    def test_it_is_short_and_shows_no_secret(self, manager: Manager) -> None:
        remember("a-canary-of-the-status")
        manager.systemd().status("a-canary-of-the-status " + "long " * 1000)
        status = manager.told()["STATUS"]
        assert len(status) <= STATUS_CHARS_MAX
        assert "canary" not in status


class TestManager:
    @pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
    def test_without_one_nothing_is_said_and_nothing_happens(self, environ: dict[str, str]) -> None:
        with capture_logs() as lines:
            Systemd.from_environment(environ, 1).ready("Well.")
        assert lines == []

    def test_one_that_is_gone_is_told_of_once_and_is_no_reason_to_stop(self, tmp_path: Path) -> None:
        systemd = Systemd(str(tmp_path / "nobody"))
        with capture_logs() as lines:
            systemd.ready("Well.")
            systemd.status("Still well.")
        assert [line["event"] for line in lines] == ["systemd.deaf"]

    def test_one_that_does_not_read_is_not_waited_for(self, manager: Manager) -> None:
        manager.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        systemd = manager.systemd()
        for _ in range(10_000):
            systemd.status("x" * STATUS_CHARS_MAX)
        assert manager.told().keys() == {"STATUS"}


class TestWatchdog:
    def watchdog(self, **environ: str) -> float | None:
        return Systemd.from_environment({"NOTIFY_SOCKET": "/run/nobody", **environ}, 77).watchdog_seconds

    def test_its_time_is_read_in_microseconds(self) -> None:
        assert self.watchdog(WATCHDOG_USEC="2500000") == 2.5

    def test_one_for_this_process_is_meant_for_it(self) -> None:
        assert self.watchdog(WATCHDOG_USEC="2500000", WATCHDOG_PID="77") == 2.5

    def test_one_for_another_process_is_none(self) -> None:
        assert self.watchdog(WATCHDOG_USEC="2500000", WATCHDOG_PID="78") is None

    @pytest.mark.parametrize("time", ["", "0", "-1", "soon"])
    def test_no_time_is_no_watchdog(self, time: str) -> None:
        assert self.watchdog(WATCHDOG_USEC=time) is None

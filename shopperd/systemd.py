"""What systemd is told, if it is systemd that started this process: sd_notify(3), in the few lines that it takes.

Without a socket in ``$NOTIFY_SOCKET`` nobody is told anything, so that nothing else needs to ask who started it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

import structlog

from shopperd.redaction import redact

log: structlog.stdlib.BoundLogger = structlog.get_logger("shopperd")

STATUS_CHARS_MAX = 500
"""`systemctl status` shows one line."""


class Systemd:
    """The service manager at the other end of a socket; a manager that cannot be told is no reason to stop.

    Args:
        address: of a datagram socket, one that begins with ``@`` is in the abstract namespace; None: nobody listens.
        watchdog_seconds: the longest silence that the manager bears after the start; None: it does not care.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = watchdog_seconds
        self._address = None if address is None else f"\0{address[1:]}" if address.startswith("@") else address
        self._failed = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], process_id: int) -> Systemd:
        """The manager that the environment names. A watchdog that is meant for another process is none."""
        address = environ.get("NOTIFY_SOCKET")
        if not address or address[0] not in "/@":
            return cls()  # vsock, which is for virtual machines
        meant = environ.get("WATCHDOG_PID", str(process_id)) == str(process_id)
        micros = environ.get("WATCHDOG_USEC", "")
        return cls(address, int(micros) / 1e6 if meant and micros.isdecimal() and int(micros) else None)

    def ready(self, status: str) -> None:
        """It serves, for the first time or again after a reload."""
        self._tell(READY=1, STATUS=status)

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._tell(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def stopping(self, status: str, within_seconds: float) -> None:
        """It stops, and asks to be given so long for that, however long the manager meant to wait."""
        self._tell(STOPPING=1, STATUS=status, EXTEND_TIMEOUT_USEC=int(within_seconds * 1e6))

    def alive(self, status: str) -> None:
        """Every loop has turned: feeds the watchdog."""
        self._tell(WATCHDOG=1, STATUS=status)

    def status(self, status: str) -> None:
        """One sentence on how things are, for `systemctl status`."""
        self._tell(STATUS=status)

    def _tell(self, **words: object) -> None:
        if self._address is None:
            return
        lines = (f"{key}={' '.join(redact(str(value)).split())[:STATUS_CHARS_MAX]}" for key, value in words.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a manager that does not read must not stop the loops
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("systemd.deaf", detail=f"it cannot be told how things are: {error.strerror or error}")
            self._failed = True
        else:
            self._failed = False

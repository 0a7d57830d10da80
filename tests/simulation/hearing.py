"""The log of a run: kept quiet, and listened to."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping

import structlog
from structlog.typing import EventDict, WrappedLogger

from tests.simulation.ledger import Ledger
from tests.simulation.shapes import ENVIRON


@contextlib.contextmanager
def silenced(ledger: Ledger) -> Iterator[None]:
    """Keep the log quiet; note what shopperd calls its own fault, and every line that holds a credential."""

    def hear(_logger: WrappedLogger, _name: str, line: EventDict) -> Mapping[str, object]:
        error = sys.exc_info()[1]
        event = str(line.get("event", ""))
        if event.endswith(".crashed"):
            ledger.crashes.append(f"{event}: {type(error).__name__}: {error}")
        text = f"{line} {error!r} {error}"
        for name, value in ENVIRON.items():
            if value in text:
                ledger.spilled.append(f"the log line {event} holds the credential {name}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[hear], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)

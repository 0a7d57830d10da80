"""Commands against a server in a thread."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from shopperd.cli.group import shopperd
from tests.cli.served import Served, Stranger
from tests.web.deployment import token

Run = Callable[..., Result]


class Terminal(io.StringIO):
    """What a command writes, as if somebody looked at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """The server's log stays out of what the commands print: both are in one process here."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No market is being read here, so a create has none to wait for."""
    monkeypatch.setattr("shopperd.control.FIRST_MARKET_SECONDS", 0.01)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


@pytest.fixture
def guarded() -> Iterator[Served]:
    """One that wants a token for changes."""
    served = Served(token())
    yield served
    served.close()


@pytest.fixture
def stranger() -> Iterator[Callable[..., Stranger]]:
    started: list[Stranger] = []

    def start(status: int = 200, content_type: str = "text/html", body: bytes = b"<html>") -> Stranger:
        started.append(Stranger(status, content_type, body))
        return started[-1]

    yield start
    for each in started:
        each.close()


def command(url: str | None, *arguments: str, token: str | None = None, **more: Any) -> Result:
    """Run a command as a shell would, in a pipe."""
    environ = {"SHOPPERD_URL": url, "SHOPPERD_TOKEN": token, "COLUMNS": "200"} | more.pop("env", {})
    return CliRunner().invoke(shopperd, list(arguments), env=environ, **more)


@pytest.fixture
def run(served: Served) -> Run:
    """Run a command against the deployment."""

    def run_one(*arguments: str, **more: Any) -> Result:
        return command(served.url, *arguments, **more)

    return run_one

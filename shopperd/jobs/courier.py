"""One delivery of one event: its body, its signature, the POST, and what the answer means."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from typing import Protocol

import aiohttp
import msgspec
from attrs import frozen
from yarl import URL

from shopperd import __version__
from shopperd.model import Event

VERSION = 1
"""Of the body. It changes when a receiver that reads the old one would go wrong; new keys are no reason."""

KEEPALIVE_SECONDS = 2.0
"""A connection is kept between events that follow each other, and given up before the receiver may have done so."""

UNHEARD = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Answers that say nothing about the event, but that there is nobody to take any."""


@frozen
class Answer:
    """How a delivery ended.

    Attributes:
        outcome: one of `shopperd.telemetry.DELIVERY_OUTCOMES`.
        detail: the same for people, with nothing of the URL but its host.
        unheard: nothing gets through to the receiver now.
    """

    outcome: str
    detail: str
    unheard: bool = False


def body_of(event: Event, deployment: str) -> bytes:
    """What is posted: the event as the API tells it."""
    return msgspec.json.encode({"version": VERSION, "deployment": deployment, "event": event})


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The receiver computes the same from the secret and what it got, and believes nothing that has another."""
    mark = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={mark.hexdigest()}"


def headers_of(event: Event, secret: str, timestamp: str, body: bytes) -> dict[str, str]:
    """What goes with the body. A receiver drops what comes twice by the delivery's number, and what is old by its timestamp."""
    return {
        "Content-Type": "application/json",
        "User-Agent": f"shopperd/{__version__}",
        "Shopperd-Event": event.kind,
        "Shopperd-Delivery": str(event.id),
        "Shopperd-Timestamp": timestamp,
        "Shopperd-Signature": signature(secret, timestamp, body),
    }


class Carrier(Protocol):
    """Brings one delivery to a receiver."""

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send it once."""

    async def close(self) -> None:
        """Give back what it holds."""


class Courier:
    """Brings events to one URL, one at a time. Redirects are not followed, and no proxy of the environment is used."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url = URL(url, encoded=True)
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send it once."""
        try:
            async with self._open().post(
                self._url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
            ) as response:
                # The body is not read: the connection goes if there is more of it than came along with the head.
                return answer_of(response.status)
        except TimeoutError:
            return Answer("timeout", f"no answer within {self._timeout_seconds:g} s", unheard=True)
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or type(error).__name__
            return Answer("connection", f"no connection: {reason}", unheard=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Its text may hold the URL, whose path is as good as a key.
            return Answer("connection", f"no answer by HTTP: {type(error).__name__}", unheard=True)

    async def close(self) -> None:
        """Give back the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=1, keepalive_timeout=KEEPALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def answer_of(status: int) -> Answer:
    """What the status of an answer means."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer("ok", f"answered {status}")
    if status == HTTPStatus.GONE:
        return Answer("gone", "answered 410: it wants no more")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in UNHEARD:
        return Answer("server", f"answered {status}", unheard=status in UNHEARD)
    if status < HTTPStatus.BAD_REQUEST:
        return Answer("refused", f"answered {status}; redirects are not followed: change the hook's url")
    return Answer("refused", f"answered {status}")

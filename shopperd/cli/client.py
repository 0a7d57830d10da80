"""Speaks to a running daemon: one small blocking client, without proxies, redirects or a second try.

A proxy from the environment would see the token, a redirect could carry it elsewhere, and a change that is sent twice may
happen twice.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click

DEFAULT_URL = "http://127.0.0.1:9877"

ANSWER_SECONDS_MAX = 30.0
"""The daemon answers from memory and its store; what takes longer is stuck."""

STREAM_SECONDS_MAX = 60.0
"""A stream says every 15 seconds that it is there; four such words missed are a broken one."""

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""A page of a thousand rows has under a megabyte; anything near this is no answer of ours."""

EXIT_FAILED, EXIT_USAGE = 1, 2

Query = Mapping[str, object]


class Failed(click.ClickException):
    """A command that did not do what was asked; the text says why and what would help."""

    exit_code = EXIT_FAILED


class WrongUsage(Failed):
    """A command that cannot be carried out as it was given."""

    exit_code = EXIT_USAGE


class Client:
    """The API of one daemon.

    Args:
        url: an origin, with a path in front of ``/api/v1`` if a proxy puts one there.
        token: None if none is needed.
    """

    def __init__(self, url: str, token: str | None) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _bad_url() from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "@" in parts.netloc:
            raise _bad_url()
        if token is not None and not all("!" <= character <= "~" for character in token):
            raise WrongUsage("SHOPPERD_TOKEN holds characters that no token has")
        self.url = url
        self._host, self._port, self._tls = parts.hostname, port, parts.scheme == "https"
        self._prefix = parts.path.rstrip("/") + "/api/v1"
        self._token = token

    def get(self, *path: str, query: Query | None = None, seconds: float = ANSWER_SECONDS_MAX) -> Any:
        """The decoded answer to a read, waited for that long. Parameters that are None are left out.

        Raises:
            Failed: the daemon does not answer, or answers that it cannot be.
        """
        return self._ask("GET", path, query, None, None, seconds)

    def post(
        self,
        *path: str,
        body: Mapping[str, object] | None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        wait_seconds: float = 0.0,
    ) -> Any:
        """The decoded answer to a change. Keys and parameters that are None are left out.

        Raises:
            Failed: the daemon does not answer, or answers that it cannot be.
        """
        return self._ask("POST", path, query, body or {}, headers, ANSWER_SECONDS_MAX + wait_seconds)

    def follow(self, *path: str, query: Query | None = None) -> Generator[Any, None, None]:
        """The decoded messages of an event stream, as they come.

        Raises:
            Failed: the daemon does not answer, refuses, or ends the stream.
        """
        connection = self._connection(STREAM_SECONDS_MAX)
        try:
            response = self._send(connection, "GET", path, query, None, {"Accept": "text/event-stream"})
            if response.status != http.HTTPStatus.OK:
                raise self._failure(response, response.read(ANSWER_BYTES_MAX))
            yield from self._messages(response)
        finally:
            connection.close()

    def _messages(self, response: http.client.HTTPResponse) -> Iterator[Any]:
        while True:
            try:
                line = response.readline(ANSWER_BYTES_MAX)
            except (OSError, http.client.HTTPException) as error:
                raise Failed(f"the stream from {self.url} broke off ({_reason(error)})") from error
            if not line:
                raise Failed(f"the daemon at {self.url} ended the stream")
            if line.startswith(b"data: "):
                yield self._decoded(line[len(b"data: ") :])

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        query: Query | None,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
        seconds: float,
    ) -> Any:
        connection = self._connection(seconds)
        try:
            response = self._send(connection, method, path, query, body, headers)
            content = self._read(response)
        finally:
            connection.close()
        if not http.HTTPStatus.OK <= response.status < http.HTTPStatus.MULTIPLE_CHOICES:
            raise self._failure(response, content)
        return self._decoded(content)

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=seconds)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: tuple[str, ...],
        query: Query | None,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
    ) -> http.client.HTTPResponse:
        if not all(path):
            raise WrongUsage("an empty word names nothing")
        target = "/".join([self._prefix, *(quote(part, safe="") for part in path)])
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        if parameters:
            target += "?" + urlencode(parameters)
        sent = {"Accept": "application/json", **(headers or {})}
        content = None
        if body is not None:
            content = json.dumps({key: value for key, value in body.items() if value is not None}).encode()
            sent["Content-Type"] = "application/json"
            if self._token is not None:
                # Reads need none, and what is not sent cannot leak.
                sent["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, target, body=content, headers=sent)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, change=method != "GET") from error

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            content = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"the answer from {self.url} broke off ({_reason(error)})") from error
        if len(content) == ANSWER_BYTES_MAX:
            raise self._stranger(response)
        return content

    def _unreachable(self, error: Exception, *, change: bool) -> Failed:
        if isinstance(error, TimeoutError):
            told = f"what listens at {self.url} did not answer in time"
            return Failed(
                f"{told}; it may still do what was asked: look before repeating"
                if change
                else f"{told}; is the daemon stopped or stuck? See its log, or restart it: it resumes"
            )
        return Failed(
            f"no daemon answers at {self.url} ({_reason(error)}); is `shopperd run` up? SHOPPERD_URL says where it listens"
        )

    def _failure(self, response: http.client.HTTPResponse, content: bytes) -> Failed:
        if response.headers.get_content_type() != "application/problem+json":
            return self._stranger(response)
        problem = self._decoded(content)
        detail = str(problem.get("detail") or problem.get("title")) if isinstance(problem, dict) else "no detail"
        if response.status == http.HTTPStatus.UNAUTHORIZED:
            detail += "; SHOPPERD_TOKEN gives it to this command"
        return WrongUsage(detail) if response.status == http.HTTPStatus.BAD_REQUEST else Failed(detail)

    def _decoded(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError:
            raise Failed(f"what answers at {self.url} is no shopperd: its answer is no JSON") from None

    def _stranger(self, response: http.client.HTTPResponse) -> Failed:
        kind = response.headers.get_content_type()
        return Failed(f"what answers at {self.url} is no shopperd (status {response.status}, {kind}); see SHOPPERD_URL")


def _bad_url() -> Failed:
    # Not repeated: somebody may have put a password into it.
    return WrongUsage("SHOPPERD_URL must be an origin such as http://127.0.0.1:9877")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__

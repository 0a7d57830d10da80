"""The `Sender` that talks to the world, by aiohttp: one request, once, bounded in time and size."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import Protocol

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from yarl import URL

from shopperd.providers.contract import BadAnswer, Unclear
from shopperd.providers.transport import CHUNK_BYTES, HttpRequest, Intake, Reply

CONNECTIONS_MAX = 16
READ_BYTES = 4 * CHUNK_BYTES
"""What the socket gives at a time. With less, a large answer is read in more turns of the loop."""


class _Broken(Exception):
    """A connection that broke: deliberately none of the errors after which aiohttp repeats a request."""


async def _once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Keep aiohttp from sending a GET, PUT or DELETE a second time when the connection breaks before the
    answer.

    The first one may have had its effect, and a repeated create rents a second machine.
    """
    try:
        return await handler(request)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise _Broken(_reason(error)) from error


class AiohttpSender:
    """One session over all calls of an account.

    Redirects are not followed, certificates are verified, cookies are forgotten, and proxy variables of the
    environment are not looked at. Bodies are unpacked here, so that the limit also holds for what comes out
    of a small archive.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, request: HttpRequest) -> Reply:
        """The answer, in full.

        Raises:
            Unclear: no answer, or only a part of one: ``timeout`` or ``connection``.
            BadAnswer: not HTTP, packed badly, or over the limit.
        """
        if self._closed:
            raise Unclear("the connections are closed already", "connection")
        try:
            async with self._open().request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=request.timeout_seconds),
            ) as response:
                intake = request.intake if 200 <= response.status < 300 else None
                body = await _body(response, request.body_limit_bytes, intake)
                return Reply(response.status, response.headers, body, taken=intake is not None)
        except TimeoutError as error:
            raise Unclear(f"no answer within {request.timeout_seconds:g} s", "timeout") from error
        except _Broken as error:
            raise Unclear(str(error), "connection") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            raise Unclear(_reason(error), "connection") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise BadAnswer(f"not an answer by HTTP: {_reason(error)}") from error

    async def close(self) -> None:
        """Give back connections; calls in flight end with an error."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                read_bufsize=READ_BYTES,
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                middlewares=(_once,),
            )
        return self._session


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _body(response: ClientResponse, limit: int, intake: Intake | None) -> bytes:
    """The body, or what the intake leaves of it; the loop has its turn after each piece that goes in."""
    unpacker = _unpacker(response.headers.get("Content-Encoding", ""))
    received = 0
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        received += len(chunk)
        for part in unpacker.feed(chunk):
            size += len(part)
            if max(received, size) > limit:
                raise BadAnswer(f"the body is over {limit} bytes")
            if intake is None:
                parts.append(part)
            else:
                intake.feed(part)
                await asyncio.sleep(0)
    unpacker.finish()
    return b"".join(parts) if intake is None else intake.finish()


class _Unpacker(Protocol):
    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What comes out, in pieces of at most `CHUNK_BYTES`, however much there is in the archive."""

    def finish(self) -> None:
        """Raise `BadAnswer` if something is missing."""


class _Plain:
    def feed(self, chunk: bytes) -> Iterator[bytes]:
        for start in range(0, len(chunk), CHUNK_BYTES):
            yield chunk[start : start + CHUNK_BYTES]

    def finish(self) -> None:
        pass


class _Zlib:
    """gzip and deflate. Some servers leave out the frame of zlib that deflate should have."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._engine: zlib._Decompress | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self._engine is None:
            bare = self._name == "deflate" and chunk[:1] and chunk[0] & 0x0F != zlib.DEFLATED
            self._engine = zlib.decompressobj(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS | 32)
        part = b""
        while chunk or len(part) == CHUNK_BYTES:
            try:
                part = self._engine.decompress(chunk, CHUNK_BYTES)
            except zlib.error as error:
                raise BadAnswer(f"badly packed ({self._name})") from error
            chunk = self._engine.unconsumed_tail
            yield part

    def finish(self) -> None:
        if self._engine is not None and not self._engine.eof:
            raise BadAnswer(f"packed body ({self._name}) is cut off")


def _unpacker(encoding: str) -> _Unpacker:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _Plain()
    if name in ("gzip", "x-gzip", "deflate"):
        return _Zlib(name)
    raise BadAnswer(f"packed in a way that was not asked for: {name[:20]}")

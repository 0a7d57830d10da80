"""The sender against real sockets: what goes out once, and what must not come in."""

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aioresponses import aioresponses
from attrs import evolve

from shopperd.providers.contract import BadAnswer, Unclear
from shopperd.providers.sender import AiohttpSender
from shopperd.providers.transport import CHUNK_BYTES, HttpRequest
from tests.providers.senders import Pieces

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LIMIT = 100_000


def request(url: str, method: str = "GET", *, body: bytes | None = None, timeout: float = 10.0) -> HttpRequest:
    return HttpRequest(method, url, {"X-Key": "v"}, body, timeout, LIMIT)


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that hands each request's head to `talk` once it has been read; gives its origin and the heads
    so far."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        await reader.readexactly(int(line.split(b":")[1]))
                heads.append(head)
                await talk(reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", heads
    finally:
        listener.close()


@pytest.fixture
async def sender() -> AsyncIterator[AiohttpSender]:
    subject = AiohttpSender()
    yield subject
    await subject.close()


def answers(body: bytes, *headers: str, status: str = "200 OK") -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return talk


async def test_an_answer_comes_back_whole(sender: AiohttpSender) -> None:
    async with server(answers(b'{"a":1}', "X-A: b", status="418 Teapot")) as (url, heads):
        reply = await sender.send(request(f"{url}/p%2Fq/?a=b%20c&d=%7B%7D"))
    assert (reply.status, reply.body, reply.headers["x-a"]) == (418, b'{"a":1}', "b")
    assert heads[0].startswith(b"GET /p%2Fq/?a=b%20c&d=%7B%7D HTTP/1.1\r\n")
    assert b"X-Key: v" in heads[0]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_request_whose_connection_drops_after_its_effect_is_sent_exactly_once(
    sender: AiohttpSender, method: str
) -> None:
    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with server(drop) as (url, heads):
        with pytest.raises(Unclear) as caught:
            await sender.send(request(url, method, body=None if method == "GET" else b"{}"))
        await asyncio.sleep(0)
    assert caught.value.outcome == "connection"
    assert len(heads) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_kept_connection_that_drops_at_its_second_use_is_not_tried_again(
    sender: AiohttpSender, method: str
) -> None:
    served = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        if served == 1:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.transport.abort()

    async with server(once) as (url, heads):
        await sender.send(request(url))
        with pytest.raises(Unclear) as caught:
            await sender.send(request(url, method, body=None if method == "GET" else b"{}"))
    assert caught.value.outcome == "connection"
    assert len(heads) == 2


async def test_aiohttp_alone_would_send_it_twice() -> None:
    """Why the middleware is there. If this fails, aiohttp has changed and the middleware may go."""

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with server(drop) as (url, heads), aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.put(url, data=b"{}")
    assert len(heads) == 2


async def test_nobody_listening_is_unclear(sender: AiohttpSender) -> None:
    async with server(answers(b"")) as (url, _):
        pass
    with pytest.raises(Unclear) as caught:
        await sender.send(request(url))
    assert caught.value.outcome == "connection"


@pytest.mark.parametrize(
    "bytes_first", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"]
)
async def test_the_time_limit_is_for_all_of_it(sender: AiohttpSender, bytes_first: bytes) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes_first)
        await reader.read()

    async with server(stall) as (url, _):
        with pytest.raises(Unclear) as caught:
            await sender.send(request(url, timeout=0.05))
    assert caught.value.outcome == "timeout"


async def test_a_body_that_ends_early_is_no_answer(sender: AiohttpSender) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[1,2")
        writer.close()

    async with server(cut) as (url, heads):
        with pytest.raises(Unclear) as caught:
            await sender.send(request(url))
    assert caught.value.outcome == "connection"
    assert len(heads) == 1


@pytest.mark.parametrize(
    "garbage", [b"not http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n"]
)
async def test_what_is_not_http_is_a_bad_answer(sender: AiohttpSender, garbage: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)

    async with server(talk) as (url, _):
        with pytest.raises(BadAnswer):
            await sender.send(request(url))


async def test_a_redirect_is_handed_back_and_not_followed(sender: AiohttpSender) -> None:
    async with server(answers(b"", "Location: /elsewhere", status="307 Temporary Redirect")) as (url, heads):
        assert (await sender.send(request(url))).status == 307
    assert len(heads) == 1


async def test_cookies_are_forgotten(sender: AiohttpSender) -> None:
    async with server(answers(b"", "Set-Cookie: a=b; Path=/")) as (url, heads):
        await sender.send(request(url))
        await sender.send(request(url))
    assert b"cookie" not in heads[1].lower()


async def test_proxy_variables_are_not_looked_at(sender: AiohttpSender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with server(answers(b"ok")) as (url, _):
        assert (await sender.send(request(url))).body == b"ok"


def _raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"hello" * 100)),
        ("GZIP", gzip.compress(b"hello" * 100)),
        ("deflate", zlib.compress(b"hello" * 100)),
        ("deflate", _raw_deflate(b"hello" * 100)),
        ("identity", b"hello" * 100),
    ],
    ids=["gzip", "upper case", "deflate", "deflate without a frame", "identity"],
)
async def test_packed_bodies_are_unpacked(sender: AiohttpSender, encoding: str, packed: bytes) -> None:
    async with server(answers(packed, f"Content-Encoding: {encoding}")) as (url, _):
        assert (await sender.send(request(url))).body == b"hello" * 100


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", b"not packed"),
        ("deflate", b"\x78\x9cnot packed"),
        ("gzip", gzip.compress(b"hello" * 100)[:-12]),
        ("br", b"x"),
        ("gzip", gzip.compress(b"0" * (LIMIT + 1))),
        ("gzip", gzip.compress(b"0" * 50_000_000)),
    ],
    ids=["not gzip", "not deflate", "cut off", "not asked for", "a byte too much", "a bomb"],
)
async def test_what_cannot_be_unpacked_within_the_limit_is_a_bad_answer(
    sender: AiohttpSender, encoding: str, packed: bytes
) -> None:
    async with server(answers(packed, f"Content-Encoding: {encoding}")) as (url, _):
        with pytest.raises(BadAnswer):
            await sender.send(request(url))


@pytest.mark.parametrize(("size", "fits"), [(LIMIT, True), (LIMIT + 1, False)])
async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(sender: AiohttpSender, size: int, fits: bool) -> None:
    async with server(answers(b"x" * size)) as (url, _):
        if fits:
            assert len((await sender.send(request(url))).body) == size
        else:
            with pytest.raises(BadAnswer, match="over"):
                await sender.send(request(url))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
async def test_an_intake_is_fed_piece_by_piece_and_others_have_their_turn_between(
    sender: AiohttpSender, packed: bool
) -> None:
    body = b"".join([random.Random(1).randbytes(3 * CHUNK_BYTES), bytes(3 * CHUNK_BYTES)])
    headers = ["Content-Encoding: gzip"] if packed else []
    intake = Pieces()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with server(answers(gzip.compress(body) if packed else body, *headers)) as (url, _):
        busy = asyncio.create_task(others())
        reply = await sender.send(evolve(request(url), intake=intake, body_limit_bytes=len(body)))
        busy.cancel()
    assert b"".join(intake.fed) == body
    assert max(map(len, intake.fed)) <= CHUNK_BYTES
    assert turns >= len(intake.fed) >= 6
    assert (reply.body, reply.taken) == (b"left", True)


async def test_an_intake_gets_no_more_than_the_limit(sender: AiohttpSender) -> None:
    intake = Pieces()
    async with server(answers(gzip.compress(bytes(50_000_000)), "Content-Encoding: gzip")) as (url, _):
        with pytest.raises(BadAnswer, match="over"):
            await sender.send(evolve(request(url), intake=intake))
    assert sum(map(len, intake.fed)) <= LIMIT


async def test_an_intake_does_not_get_what_is_no_answer(sender: AiohttpSender) -> None:
    intake = Pieces()
    async with server(answers(b"busy", status="503 Busy")) as (url, _):
        reply = await sender.send(evolve(request(url), intake=intake))
    assert (reply.body, reply.taken, intake.fed) == (b"busy", False, [])


async def test_a_body_that_never_ends_is_cut_off(sender: AiohttpSender) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with server(pour) as (url, _):
        with pytest.raises(BadAnswer, match="over"):
            await sender.send(request(url))


async def test_closing_ends_a_call_in_flight_and_refuses_the_next(sender: AiohttpSender) -> None:
    asked = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()

    async with server(stall) as (url, heads):
        call = asyncio.create_task(sender.send(request(url)))
        await asked.wait()
        await sender.close()
        with pytest.raises(Unclear):
            await call
        with pytest.raises(Unclear, match="closed"):
            await sender.send(request(url))
    assert len(heads) == 1


async def test_cancelling_gives_the_connection_back(sender: AiohttpSender) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        gone.set()

    async with server(stall) as (url, _):
        call = asyncio.create_task(sender.send(request(url)))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(gone.wait(), 10)


async def test_it_can_be_tested_with_aioresponses(sender: AiohttpSender, http: aioresponses) -> None:
    http.get("http://market.test/a?b=c", payload={"ok": True}, headers={"X-A": "b"})
    http.get("http://market.test/a?b=c", exception=TimeoutError())
    http.get("http://market.test/a?b=c", exception=aiohttp.ClientConnectionError("down"))
    reply = await sender.send(request("http://market.test/a?b=c"))
    assert (reply.status, reply.body, reply.headers["x-a"]) == (200, b'{"ok": true}', "b")
    for outcome in ("timeout", "connection"):
        with pytest.raises(Unclear) as caught:
            await sender.send(request("http://market.test/a?b=c"))
        assert caught.value.outcome == outcome

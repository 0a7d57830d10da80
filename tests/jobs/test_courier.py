"""One delivery over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from shopperd.jobs.courier import Answer, Courier

TIMEOUT_SECONDS = 0.5

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def receiver(handle: Handle) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)  # type: ignore[arg-type]  # as of low-level servers
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/url-canary"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def bytes_of(answer: bytes) -> AsyncIterator[str]:
    """A receiver that answers with these bytes, whatever they are, and hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/url-canary"


async def post(url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
    courier = Courier(url, timeout_seconds)
    try:
        return await courier.post(b"{}", {"Shopperd-Event": "session.moved"})
    finally:
        await courier.close()


async def test_the_url_is_asked_as_it_is_written() -> None:
    seen = []

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.append((request.method, request.raw_path, await request.read()))
        return web.Response(status=204)

    async with receiver(handle) as url:
        assert await post(f"{url}/a%2Fb?c=%20d") == Answer("ok", "answered 204")
    assert seen == [("POST", "/url-canary/a%2Fb?c=%20d", b"{}")]


async def test_a_body_without_an_end_is_not_read() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with receiver(handle) as url:
        assert (await post(url, 30.0)).outcome == "ok"


async def test_an_answer_that_does_not_come_is_waited_for_so_long_and_no_longer() -> None:
    async def handle(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(60.0)
        return web.Response()

    async with receiver(handle) as url:
        assert await post(url) == Answer("timeout", "no answer within 0.5 s", unheard=True)


async def test_nobody_there_is_no_connection() -> None:
    async with bytes_of(b"") as url:
        pass
    answer = await post(url)
    assert (answer.outcome, answer.unheard) == ("connection", True)
    assert "canary" not in answer.detail


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 999999 what\r\n\r\n", b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nA"])
async def test_what_is_no_http_is_no_answer(answer: bytes) -> None:
    async with bytes_of(answer) as url:
        told = await post(url)
    assert (told.outcome, told.unheard) == ("connection", True)
    assert "canary" not in told.detail


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response()

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with receiver(handle) as url:
        assert (await post(url)).outcome == "ok"

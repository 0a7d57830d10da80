"""The door with real sockets: three listeners on loopback, one for each provider and one for the control API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from shopperd.simulator.exchange import Answer, Request
from shopperd.simulator.world import World, WorldSettings

HOST = "127.0.0.1"
BODY_MAX_BYTES = 4 * 1024 * 1024
SHUTDOWN_SECONDS = 0.5
"""How long open connections may take at the end; slow answers are cut."""


class SimulatorServer:
    """Serves a world over HTTP for as long as the context is open.

    Args:
        world: what is served; None builds one from `settings` at the present time.
        settings: for a world that is built here.
        vast_port, tensordock_port, control_port: 0 lets the system choose.
        clock: the wall clock, epoch seconds.

    Example:
        ``async with SimulatorServer(settings=WorldSettings(seed=7)) as simulator: ... simulator.vastai_url``
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        settings: WorldSettings | None = None,
        vast_port: int = 0,
        tensordock_port: int = 0,
        control_port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.world = world if world is not None else World.build(settings, now=clock())
        self._wanted = {"vastai": vast_port, "tensordock": tensordock_port, "control": control_port}
        self._urls: dict[str, str] = {}
        self._runners: list[web.AppRunner] = []

    @property
    def vastai_url(self) -> str:
        """The origin that Vast.ai's clients are pointed at."""
        return self._urls["vastai"]

    @property
    def tensordock_url(self) -> str:
        """The origin of both TensorDock dialects."""
        return self._urls["tensordock"]

    @property
    def control_url(self) -> str:
        """The origin of the `/_sim` routes."""
        return self._urls["control"]

    async def __aenter__(self) -> Self:
        try:
            for provider, port in self._wanted.items():
                self._urls[provider] = await self._listen(provider, port)
        except OSError:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the listeners and every open connection."""
        while self._runners:
            await self._runners.pop().cleanup()

    async def _listen(self, provider: str, port: int) -> str:
        async def serve(request: web.BaseRequest) -> web.StreamResponse:
            return await self._serve(provider, request)

        application = web.Application(client_max_size=BODY_MAX_BYTES)
        application.router.add_route("*", "/{path:.*}", serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        chosen = runner.addresses[0][1]
        return f"http://{HOST}:{chosen}"

    async def _serve(self, provider: str, incoming: web.BaseRequest) -> web.StreamResponse:
        request = Request(
            incoming.method,
            incoming.path,
            list(incoming.query.items()),
            list(incoming.headers.items()),
            await incoming.read(),
        )
        answer = self.world.handle(provider, request, self.clock())
        if answer.delay_seconds > 0:
            await asyncio.sleep(answer.delay_seconds)
        if answer.drop in ("before", "after"):
            return _cut(incoming)
        if answer.drop == "midway" or answer.drip_seconds > 0:
            return await _send_in_pieces(incoming, answer)
        return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)


def _cut(incoming: web.BaseRequest) -> web.Response:
    """Reset the connection; the response is never written, as there is nothing left to write it to."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response(status=500)


async def _send_in_pieces(incoming: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """The headers promise the whole body; then it comes slowly, or half of it and a reset."""
    response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
    response.content_length = len(answer.body)
    await response.prepare(incoming)
    if answer.drop == "midway":
        await response.write(answer.body[: len(answer.body) // 2])
        return _aborted(incoming, response)
    try:
        for start in range(0, len(answer.body), answer.drip_bytes):
            await response.write(answer.body[start : start + answer.drip_bytes])
            await asyncio.sleep(answer.drip_seconds)
        await response.write_eof()
    except ConnectionError:
        # The client gave up waiting, which is what a slow answer is for.
        return _aborted(incoming, response)
    return response


def _aborted(incoming: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    if incoming.transport is not None:
        incoming.transport.abort()
    return response

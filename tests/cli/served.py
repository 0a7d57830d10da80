"""Servers in threads of their own, as commands meet them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry

from shopperd.secrets import Secret
from shopperd.store import Store
from shopperd.telemetry import Metrics
from shopperd.web import make_app
from tests.clocks import FakeClock
from tests.web.deployment import Deployment, make_deployment

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def call(self, action: Callable[[], T]) -> T:
        """Call a function there, and wait for its result."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(action())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(30)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class Served:
    """A deployment behind a real HTTP server. `do` runs a function where the server runs."""

    def __init__(self, token: Secret | None = None) -> None:
        self._thread = LoopThread()
        self.deployment, self._runner, self.url = self._thread.run(self._start(token))

    async def _start(self, token: Secret | None) -> tuple[Deployment, web.AppRunner, str]:
        clock = FakeClock()
        metrics = Metrics(CollectorRegistry())
        store = Store.open("sqlite://", clock=clock, inline=True)
        deployment = make_deployment(store, clock, metrics)
        app = make_app(
            deployment.context,
            deployment.control,
            deployment.schedule,
            token,
            loopback=True,
            health=lambda: deployment.health,
            notices=lambda: deployment.notices,
        )
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return deployment, runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    def do(self, action: Callable[[Deployment], T]) -> T:
        """Change or read something of the deployment, and wake those who wait for changes."""

        def run() -> T:
            result = action(self.deployment)
            self.deployment.context.changes.tell()
            return result

        return self._thread.call(run)

    def close(self) -> None:
        """Stop serving."""
        self._thread.run(self._runner.cleanup())
        self.deployment.store.close_sync()
        self._thread.close()


class Stranger:
    """A server that is no shopperd: it gives one answer to everything."""

    def __init__(self, status: int, content_type: str, body: bytes) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self._answer = (status, content_type, body)
        self._thread = LoopThread()
        self._runner, self.url = self._thread.run(self._start())

    async def _start(self) -> tuple[web.ServerRunner, str]:
        async def answer(request: web.BaseRequest) -> web.Response:
            self.asked.append((request.method, request.path_qs, dict(request.headers)))
            status, content_type, body = self._answer
            headers = {"Location": "/elsewhere"} if 300 <= status < 400 else None
            return web.Response(status=status, content_type=content_type, body=body, headers=headers)

        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"

    def close(self) -> None:
        """Stop serving."""
        self._thread.run(self._runner.cleanup())
        self._thread.close()

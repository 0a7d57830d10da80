"""A deployment behind a real HTTP server on a port of the system's choice."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from shopperd.secrets import Secret
from shopperd.store import Store
from shopperd.telemetry import Metrics
from shopperd.web import make_app
from tests.clocks import FakeClock
from tests.web.deployment import Deployment, make_deployment

Client = TestClient[web.Request, web.Application]
Serve = Callable[..., Awaitable[Client]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No market is being read here, so a create has none to wait for."""
    monkeypatch.setattr("shopperd.control.FIRST_MARKET_SECONDS", 0.01)


@pytest.fixture
def store(clock: FakeClock) -> Iterator[Store]:
    store = Store.open("sqlite://", clock=clock, inline=True)
    yield store
    store.close_sync()


@pytest.fixture
def deployment(store: Store, clock: FakeClock, metrics: Metrics) -> Deployment:
    return make_deployment(store, clock, metrics)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves deployments, and stops in the end."""
    clients: list[Client] = []

    async def serve_one(deployment: Deployment, *, token: Secret | None = None, loopback: bool = True) -> Client:
        app = make_app(
            deployment.context,
            deployment.control,
            deployment.schedule,
            token,
            loopback=loopback,
            health=lambda: deployment.health,
            notices=lambda: deployment.notices,
        )
        client: Client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return client

    yield serve_one
    for client in clients:
        await client.close()


@pytest.fixture
async def client(serve: Serve, deployment: Deployment) -> Client:
    return await serve(deployment)

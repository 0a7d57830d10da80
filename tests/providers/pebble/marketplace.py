"""A pretend Pebble over real sockets, with trouble on demand, and the plug-in in front of it for the conformance checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from shopperd.providers.contract import Provider
from shopperd.providers.registry import open_provider
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings, SecretSource
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.conformance import DEPLOYMENT, Operation, Trouble

GOOD_TOKEN = "p3bb1e-t0ken"  # nobody's
WRONG_TOKEN = "another-t0ken"
OFFERS = [
    {"id": "o1", "gpu": "RTX 4090", "gpus": 1, "usd_per_hour": 0.41, "country": "SE"},
    {"id": "o2", "gpu": "H100 SXM", "gpus": 8, "usd_per_hour": 15.2, "country": "IS"},
    {"id": "o3", "gpu": "RTX 3090", "gpus": 1, "usd_per_hour": 0.19},
]


class PretendPebble:
    """What Pebble's servers would know and say."""

    def __init__(self) -> None:
        self.machines: dict[str, dict[str, object]] = {}
        self.offers: list[object] = list(OFFERS)
        self.troubles: dict[Operation, Trouble] = {}
        self.arrivals: Counter[Operation] = Counter()
        self.unlisted = 0
        self._made = 0

    def add(self, name: str | None) -> str:
        """A machine out of nowhere; returns its id."""
        self._made += 1
        created = datetime(2026, 11, 22, 20, 0, tzinfo=UTC).isoformat()
        machine = f"m{self._made}"
        self.machines[machine] = {"id": machine, "name": name, "state": "up", "created": created, "usd_per_hour": 0.41}
        return machine

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application()
        one = "/v1/machines/{id}"
        for method, path, operation in (
            ("GET", "/v1/offers", Operation.OFFERS),
            ("GET", "/v1/machines", Operation.LIST),
            ("POST", "/v1/machines", Operation.CREATE),
            ("GET", one, Operation.SHOW),
            ("DELETE", one, Operation.DESTROY),
        ):
            app.router.add_route(method, path, self._handler(operation))
        return app

    def _handler(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.arrivals[operation] += 1
            trouble = self.troubles.pop(operation, None)
            if trouble is not None and trouble is not Trouble.LOST_ANSWER:
                return _in_trouble(trouble)
            if request.headers.get("Authorization") != f"Bearer {GOOD_TOKEN}":
                return web.json_response({"error": "bad_token"}, status=401)
            answer = await self._answer(operation, request)
            if trouble is Trouble.LOST_ANSWER and request.transport is not None:
                request.transport.abort()
            return answer

        return handle

    async def _answer(self, operation: Operation, request: web.Request) -> web.Response:
        match operation:
            case Operation.OFFERS:
                return web.json_response(self.offers)
            case Operation.LIST:
                rows = list(self.machines.values())
                return web.json_response({"machines": rows, "total": len(rows) + self.unlisted})
            case Operation.CREATE:
                order = await request.json()
                if order["offer"] not in {offer["id"] for offer in OFFERS}:
                    return web.json_response({"error": "offer_taken"}, status=409)
                return web.json_response({"id": self.add(order["name"])}, status=201)
        machine = self.machines.get(request.match_info["id"])
        if machine is None:
            return web.json_response({"error": "no_such_machine"}, status=404)
        if operation is Operation.DESTROY:
            del self.machines[request.match_info["id"]]
            return web.json_response({"id": machine["id"]})
        return web.json_response(machine)


def _in_trouble(trouble: Trouble) -> web.Response:
    match trouble:
        case Trouble.SERVER_ERROR:
            return web.Response(status=500, text="<!doctype html><title>Oops</title>", content_type="text/html")
        case Trouble.TOO_MANY:
            return web.json_response({"error": "slow_down"}, status=429, headers={"Retry-After": "7"})
        case Trouble.GARBAGE:
            return web.Response(text='{"id": "m', content_type="application/json")
        case Trouble.REDIRECT:
            return web.Response(status=302, headers={"Location": "http://127.0.0.1:9/elsewhere"})
    return web.json_response({"unheard_of": True})


class PebbleHarness:
    """The plug-in in front of the pretend Pebble, opened as the daemon would open it."""

    absent_id = "m999"
    secrets: tuple[str, ...] = (GOOD_TOKEN, WRONG_TOKEN)
    keyless: frozenset[Operation] = frozenset()

    def __init__(self, pebble: PretendPebble, url: str) -> None:
        self.pebble = pebble
        self._clock = FakeClock()
        self._opened: list[Provider] = []
        self.account = AccountSettings("main", "pebble", base_url=url, secrets={"token": SecretSource(env="TOKEN")})
        self.provider = self._open(GOOD_TOKEN)

    def with_wrong_key(self) -> Provider:
        return self._open(WRONG_TOKEN)

    async def add_machine(self, tag: str | None) -> str:
        return self.pebble.add(tag)

    async def trouble_next(self, trouble: Trouble, operation: Operation) -> None:
        self.pebble.troubles[operation] = trouble

    async def arrived(self, operation: Operation) -> int:
        return self.pebble.arrivals[operation]

    async def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)

    async def close(self) -> None:
        for provider in self._opened:
            await provider.close()

    def _open(self, token: str) -> Provider:
        provider = open_provider(
            self.account,
            deployment=DEPLOYMENT,
            secrets={name: Secret(source, {"TOKEN": token}) for name, source in self.account.secrets.items()},
            clock=self._clock,
            metrics=Metrics(registry=CollectorRegistry()),
        )
        self._opened.append(provider)
        return provider


@asynccontextmanager
async def pebble_harness() -> AsyncIterator[PebbleHarness]:
    """A harness on a fresh and empty account."""
    pebble = PretendPebble()
    async with TestServer(pebble.application()) as server:
        harness = PebbleHarness(pebble, str(server.make_url("")).rstrip("/"))
        try:
            yield harness
        finally:
            await harness.close()

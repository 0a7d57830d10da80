"""The built-in adapters in front of the simulator, over real sockets and in pretended time, for the
conformance checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from attrs import define, evolve, field
from prometheus_client import CollectorRegistry

from shopperd.providers.contract import Provider
from shopperd.providers.registry import open_provider
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings, SecretSource
from shopperd.simulator.exchange import Answer, Request, json_answer, text_answer
from shopperd.simulator.server import SimulatorServer
from shopperd.simulator.world import World, WorldSettings
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.conformance import DEPLOYMENT, Operation, Trouble

GOOD_KEY = "k3y0f7e5c0ffee"  # nobody's
WRONG_KEY = "bad-key"
AUTH_ID = "6b1f0c9a-1d2e-4f30-9a8b-7c6d5e4f3a2b"
WORLD = WorldSettings(seed=11, offers=60, nodes=12, rate_scale=0.0)
"""Without rate limits: a fresh adapter keeps within them by itself, and a 429 is a trouble of its own here."""

_OPERATIONS = {
    "search": Operation.OFFERS,
    "list": Operation.LIST,
    "show": Operation.SHOW,
    "create": Operation.CREATE,
    "destroy": Operation.DESTROY,
}
_ANSWERS: Mapping[Trouble, Answer] = {
    Trouble.SERVER_ERROR: text_answer(500, "<!doctype html><title>Internal Server Error</title>", "text/html"),
    Trouble.TOO_MANY: json_answer(429, {"error": "Too many requests"}, {"Retry-After": "7"}),
    Trouble.GARBAGE: Answer(200, {"Content-Type": "application/json"}, b'{"data": [{"id": "x", '),
    Trouble.STRANGE_SHAPE: json_answer(200, {"unheard_of": True}),
    Trouble.REDIRECT: Answer(302, {"Location": "http://127.0.0.1:9/elsewhere"}),
}


@define(eq=False)
class TroubledWorld(World):
    """The simulator's world, with trouble for the next request of an operation."""

    troubles: dict[Operation, Trouble] = field(factory=dict)
    arrivals: Counter[Operation] = field(factory=Counter)

    def handle(self, provider: str, request: Request, now: float) -> Answer:
        """Serve one request, or let it meet its trouble."""
        dialect = self.vastai if provider == "vastai" else self.v0 if "/v0/" in request.path else self.v2
        match = dialect.match(request)
        operation = None if match is None else _OPERATIONS.get(match.route.operation)
        if operation is None:
            return super().handle(provider, request, now)
        self.arrivals[operation] += 1
        trouble = self.troubles.pop(operation, None)
        if trouble is None:
            return super().handle(provider, request, now)
        if trouble is Trouble.LOST_ANSWER:
            return evolve(super().handle(provider, request, now), drop="after")
        return _ANSWERS[trouble]


class SimulatedHarness:
    """One adapter in front of one simulator."""

    def __init__(self, kind: str, server: SimulatorServer, world: TroubledWorld, clock: FakeClock) -> None:
        self.marketplace, _, api = kind.partition("-")
        self._api = api or None
        self._url = server.vastai_url if self.marketplace == "vastai" else server.tensordock_url
        self._world = world
        self._clock = clock
        self._opened: list[Provider] = []
        self.secrets: tuple[str, ...] = (GOOD_KEY, WRONG_KEY, AUTH_ID)
        self.absent_id = "999999999" if self.marketplace == "vastai" else "00000000-0000-4000-8000-000000000000"
        self.keyless = frozenset({Operation.OFFERS}) if api == "v0" else frozenset()
        self.provider = self._open(GOOD_KEY)

    def with_wrong_key(self) -> Provider:
        """The same adapter with a key that is refused."""
        return self._open(WRONG_KEY)

    async def add_machine(self, tag: str | None) -> str:
        """A machine that has been running for an hour."""
        wish = {"provider": self.marketplace, "tag": tag, "state": "running", "age_seconds": 3600.0}
        return str(self._world.conjure(wish)["id"])

    async def trouble_next(self, trouble: Trouble, operation: Operation) -> None:
        """Let the next request of that operation meet trouble."""
        self._world.troubles[operation] = trouble

    async def arrived(self, operation: Operation) -> int:
        """How many requests of that operation have arrived."""
        return self._world.arrivals[operation]

    async def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.advance(seconds)

    async def close(self) -> None:
        """Close every adapter that was opened."""
        for provider in self._opened:
            await provider.close()

    def _open(self, key: str) -> Provider:
        environ = {"KEY": key, "AUTH": AUTH_ID}
        sources = {"vastai": {"api_key": "KEY"}, "tensordock": {"api_token": "KEY", "auth_id": "AUTH"}}
        names = sources[self.marketplace]
        account = AccountSettings(
            "main",
            self.marketplace,
            base_url=self._url,
            api=self._api,
            secrets={name: SecretSource(env=variable) for name, variable in names.items()},
        )
        provider = open_provider(
            account,
            deployment=DEPLOYMENT,
            secrets={name: Secret(source, environ) for name, source in account.secrets.items()},
            clock=self._clock,
            metrics=Metrics(registry=CollectorRegistry()),
        )
        self._opened.append(provider)
        return provider


@asynccontextmanager
async def simulated(kind: str) -> AsyncIterator[SimulatedHarness]:
    """A harness for ``vastai``, ``tensordock-v2`` or ``tensordock-v0``, on a fresh and empty account."""
    clock = FakeClock()
    world = TroubledWorld.build(WORLD, now=clock.now().timestamp())
    if not isinstance(world, TroubledWorld):
        raise TypeError("the world was built as another class")
    async with SimulatorServer(world, clock=lambda: clock.now().timestamp()) as server:
        harness = SimulatedHarness(kind, server, world, clock)
        try:
            yield harness
        finally:
            await harness.close()

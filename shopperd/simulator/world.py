"""The pretend world as a whole: a request and a moment in, an answer and its effect out.

No sockets, no wall clock, no threads: the caller says what time it is, all randomness comes from the seed. The same seed, requests
and times give the same bytes, so a failing schedule can be played again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import define, evolve, field

from shopperd.simulator import control
from shopperd.simulator.call import Call, Fault
from shopperd.simulator.exchange import Answer, Request
from shopperd.simulator.faults import FaultBoard
from shopperd.simulator.request_log import RequestLog
from shopperd.simulator.routing import Match
from shopperd.simulator.tensordock_v0 import TensordockV0
from shopperd.simulator.tensordock_v2 import TensordockV2
from shopperd.simulator.truth import PROVIDERS, Truth, WorldSettings
from shopperd.simulator.vastai import Vastai

__all__ = ["World", "WorldSettings"]


class Dialect(Protocol):
    """One API: its routes, its keys, and what it says to a request without a route."""

    name: str

    def match(self, request: Request) -> Match | None:
        """The route of a request."""

    def lost(self, request: Request) -> Answer:
        """The answer where there is no route."""

    def key_of(self, request: Request) -> str:
        """The credential that a request carries."""

    def refused(self, call: Call, match: Match) -> Answer | None:
        """The answer to a bad key or a request that comes too early; None lets it in."""


@define(eq=False)
class World:
    """See the module. `now` in every call is the door's clock, epoch seconds; the world adds what it was told to advance."""

    truth: Truth
    faults: FaultBoard
    requests: RequestLog = field(factory=RequestLog)
    vastai: Vastai = field(factory=Vastai)
    v2: TensordockV2 = field(factory=TensordockV2)
    v0: TensordockV0 = field(factory=TensordockV0)

    @classmethod
    def build(cls, settings: WorldSettings | None = None, *, now: float) -> World:
        """A fresh world at that moment."""
        truth = Truth.build(settings or WorldSettings(), now)
        return cls(truth, FaultBoard(truth))

    # --- the two doors' entrance ----------------------------------------------------------------------------

    def handle(self, provider: str, request: Request, now: float) -> Answer:
        """Serve one request. `provider`: ``vastai``, ``tensordock``, or ``control`` for the `/_sim` routes.

        Raises:
            ValueError: there is no such provider.
        """
        self.advance_to(now)
        if provider == "control":
            return control.serve(self, request)
        if provider not in PROVIDERS:
            raise ValueError(f"no provider {provider!r}")
        return self._serve(provider, self._dialect(provider, request), request)

    def advance_to(self, now: float) -> None:
        """Let time pass to the door's clock: what is due happens, faults that are over end."""
        self.truth.advance_to(now)
        self.faults.expire()

    def advance(self, seconds: float) -> float:
        """Push the world's clock ahead of the door's; answers the world's time.

        Raises:
            ValueError: time would run back.
        """
        if seconds < 0:
            raise ValueError("time does not run back")
        self.truth.offset += seconds
        self.advance_to(self.truth.now + seconds - self.truth.offset)
        return self.truth.now

    # --- for tests and schedules ----------------------------------------------------------------------------

    def switch_on(self, name: str, **parameters: Any) -> Fault:
        """Switch a fault on, with the members that `POST /_sim/faults` takes."""
        return self.faults.switch_on({"name": name, **parameters})

    def switch_off(self, fault_id: str | None = None) -> list[str]:
        """Switch one fault off, or all of them."""
        return self.faults.switch_off(fault_id)

    def conjure(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """A machine out of nowhere, with the members that `POST /_sim/instances` takes; answers what is now true of it."""
        return control.conjure(self.truth, wish)

    def state(self) -> dict[str, Any]:
        """The truth, as `GET /_sim/state` gives it."""
        return control.state(self)

    # --- one request ----------------------------------------------------------------------------------------

    def _dialect(self, provider: str, request: Request) -> Dialect:
        if provider == "vastai":
            return self.vastai
        return self.v0 if request.path.startswith("/api/v0") else self.v2

    def _serve(self, provider: str, dialect: Dialect, request: Request) -> Answer:
        match = dialect.match(request)
        operation = match.route.operation if match else "unknown"
        params = dict(match.params) if match else {}
        call = Call(
            self.truth,
            request,
            provider,
            dialect.name,
            operation,
            params,
            dialect.key_of(request),
            self.faults.meeting(provider, operation, params.get("instance")),
        )
        answer = call.replaced()
        if answer is None:
            refused = dialect.refused(call, match) if match else dialect.lost(request)
            answer = refused if match is None or refused is not None else match.route.handler(call)
            if answer is None:
                raise RuntimeError("a request was left without an answer")
            answer = call.finished(answer)
        if dialect is self.v2 and answer.drop is None:
            answer = evolve(answer, headers={**answer.headers, **self.v2.limit_headers(self.truth)})
        self.faults.settle(call)
        self.requests.add(call, answer)
        return answer

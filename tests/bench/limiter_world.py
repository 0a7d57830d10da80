"""The way between a client and a pretended limit, in virtual time: requests, answers, and what came of them."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Protocol

from attrs import define

from shopperd.providers.pacing import Endpoint
from tests.bench.limiter_servers import Server, Verdict

ROUND_TRIP_MEDIAN = 0.158
ROUND_TRIP_SIGMA = 0.70
ROUND_TRIP_MAX = 5.0
WAY_SHARE_MIN = 0.3
WAY_SHARE_MAX = 0.7
CONNECTIONS = 16

Then = Callable[["Call", float], None]


def round_trip(random: Random) -> float:
    """Seconds from a request to its answer."""
    return min(ROUND_TRIP_MAX, random.lognormvariate(math.log(ROUND_TRIP_MEDIAN), ROUND_TRIP_SIGMA))


def way_there(random: Random, seconds: float) -> float:
    """How much of a round trip is the way to the server."""
    return seconds * (WAY_SHARE_MIN + (WAY_SHARE_MAX - WAY_SHARE_MIN) * random.random())


@define(eq=False)
class Call:
    """One call, which is sent until it is accepted.

    Attributes:
        entered_at: when it was first asked for.
        queued_at: when it last came into the queue.
        lower_before: calls of lower classes that had gone when it came into the queue.
        note: what a strategy keeps with it.
    """

    endpoint: Endpoint
    urgent: bool
    entered_at: float
    then: Then | None = None
    queued_at: float = 0.0
    sent_at: float = 0.0
    tries: int = 0
    lower_before: int = 0
    note: object = None

    @property
    def saves_money(self) -> bool:
        """Whether it is a destroy, or stands right before one."""
        return self.urgent or self.endpoint is Endpoint.DESTROY


class Strategy(Protocol):
    """Decides when a client's calls go. It is told all that a real one would know."""

    def enter(self, call: Call, now: float) -> None:
        """A call wants to go."""

    def next_at(self, now: float) -> float | None:
        """When somebody may go, None if nobody waits or only an answer can change it."""

    def grant(self, now: float) -> Call | None:
        """The call that goes now."""

    def accepted(self, call: Call, now: float) -> None:
        """Its answer came, and was none of the limit's."""

    def refused(self, call: Call, now: float, verdict: Verdict) -> float:
        """Its answer was a refusal of the limit. Seconds until the call comes into the queue again."""


@define
class Sent:
    """One request that was answered."""

    endpoint: Endpoint
    arrived_at: float
    accepted: bool
    used_up: bool = False


class World:
    """Events in the order of their time."""

    def __init__(self, server: Server, random: Random) -> None:
        self.server = server
        self.random = random
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, moment: float, event: Callable[[], None]) -> None:
        """Have something happen later."""
        heapq.heappush(self._events, (max(moment, self.now), next(self._numbers), event))

    def run(self, until: float) -> None:
        """Let everything happen that is due by then."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, event = heapq.heappop(events)
            event()
        self.now = until


class Client:
    """One process: its queue is the strategy's, its connections are bounded.

    Attributes:
        sent: all requests by their arrival.
        waits: seconds that lone destroys waited for their turn.
        behind: the most calls of lower classes that went while one waited.
        too_soon: requests that were sent before a moment that the server had named.
    """

    def __init__(self, world: World, strategy: Strategy) -> None:
        self.world = world
        self.strategy = strategy
        self.sent: list[Sent] = []
        self.waits: list[float] = []
        self.behind = 0
        self.too_soon = 0
        self.waiting: Counter[Endpoint] = Counter()
        self._free = CONNECTIONS
        self._timer_at = math.inf
        self._lower = 0
        self._named: dict[Endpoint | None, float] = {}

    def submit(self, endpoint: Endpoint, *, urgent: bool = False, then: Then | None = None) -> None:
        """Ask for a call now."""
        call = Call(endpoint, urgent, self.world.now, then)
        self.waiting[endpoint] += 1
        self._enter(call)

    def _enter(self, call: Call) -> None:
        call.queued_at, call.lower_before = self.world.now, self._lower
        self.strategy.enter(call, self.world.now)
        self._pump()

    def _pump(self) -> None:
        now = self.world.now
        while self._free and (call := self.strategy.grant(now)) is not None:
            self._send(call)
        at = self.strategy.next_at(now) if self._free else None
        if at is not None and (at < self._timer_at or self._timer_at <= now):
            self._timer_at = max(at, now)
            self.world.at(self._timer_at, self._ring)

    def _ring(self) -> None:
        if self._timer_at <= self.world.now:
            self._timer_at = math.inf
        self._pump()

    def _send(self, call: Call) -> None:
        now, random = self.world.now, self.world.random
        self._free -= 1
        call.sent_at = now
        call.tries += 1
        if call.saves_money:
            self.behind = max(self.behind, self._lower - call.lower_before)
        else:
            self._lower += 1
        if now < max(self._named.get(None, -math.inf), self._named.get(call.endpoint, -math.inf)) - 1e-6:
            self.too_soon += 1
        seconds = round_trip(random)
        there = way_there(random, seconds)

        def arrive() -> None:
            verdict = self.world.server.arrive(call.endpoint, self.world.now)
            self.sent.append(Sent(call.endpoint, self.world.now, verdict.accepted, verdict.reset is not None))
            self.world.at(now + seconds, lambda: self._answered(call, verdict))

        self.world.at(now + there, arrive)

    def _answered(self, call: Call, verdict: Verdict) -> None:
        now = self.world.now
        self._free += 1
        if verdict.accepted:
            self.waiting[call.endpoint] -= 1
            if call.endpoint is Endpoint.DESTROY:
                self.waits.append(call.sent_at - call.entered_at)
            self.strategy.accepted(call, now)
            if call.then is not None:
                call.then(call, now)
            self._pump()
            return
        named = verdict.retry_after if verdict.retry_after is not None else verdict.reset
        if named is not None:
            scope = None if self.world.server.of_account else call.endpoint
            self._named[scope] = max(self._named.get(scope, -math.inf), now + named)
        delay = self.strategy.refused(call, now, verdict)
        if delay <= 0:
            self._enter(call)
        else:
            self.world.at(now + delay, lambda: self._enter(call))
            self._pump()


def longest_gap(moments: deque[float] | list[float], start: float, end: float) -> float:
    """The longest time without one of these moments."""
    longest, before = 0.0, start
    for at in moments:
        if at > end:
            break
        if at >= start:
            longest, before = max(longest, at - before), at
    return max(longest, end - before)

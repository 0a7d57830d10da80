"""What the pacer is compared with: habits that are found in clients, and one that knows the limit.

S0 tries again at once. S1 is the plain limiter, that is the package's own without learning. S2 is a fixed bucket of one a second
with retries after 1, 2 and 4 s. S3 backs off call by call, with jitter. S4 has one rate that grows slowly and is halved. S5
follows the adaptive mode of a well-known SDK, from memory: a cubic curve, at least one call in 2 s. INF is told the limit at
every moment, though not how long the ways are; it aims at one refusal in a hundred.

None but S1 reads hints. `Paced` is the pacer of the package itself.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable
from random import Random

from shopperd.providers.pacing import Blocks, Endpoint, Pacer, Published, Ticket
from shopperd.settings import LimitSettings
from tests.bench.limiter_servers import Server, Verdict
from tests.bench.limiter_world import Call, round_trip, way_there


class Queue:
    """First come, first served; the base of all that know no priorities."""

    def __init__(self) -> None:
        self.calls: deque[Call] = deque()

    def enter(self, call: Call, now: float) -> None:
        self.calls.append(call)

    def next_at(self, now: float) -> float | None:
        return max(now, self.open_at(self.calls[0])) if self.calls else None

    def grant(self, now: float) -> Call | None:
        if not self.calls or self.open_at(self.calls[0]) > now:
            return None
        call = self.calls.popleft()
        self.granted(call, now)
        return call

    def open_at(self, call: Call) -> float:
        """When this call may go."""
        return -math.inf

    def granted(self, call: Call, now: float) -> None:
        """It goes now."""

    def accepted(self, call: Call, now: float) -> None:
        """Nothing to learn."""

    def refused(self, call: Call, now: float, verdict: Verdict) -> float:
        return 0.0


class FixedBucket(Queue):
    """S2."""

    def __init__(self) -> None:
        super().__init__()
        self._full_at = 0.0

    def open_at(self, call: Call) -> float:
        return self._full_at - 1.0

    def granted(self, call: Call, now: float) -> None:
        self._full_at = max(self._full_at, now) + 1.0

    def refused(self, call: Call, now: float, verdict: Verdict) -> float:
        return 2.0 ** min(call.tries - 1, 2)


class EachForItself(Queue):
    """S3."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def refused(self, call: Call, now: float, verdict: Verdict) -> float:
        return min(5.0, 0.1 * 2.0 ** (min(call.tries, 10) - 1)) * self._random.uniform(0.5, 1.0)


class OneRate(Queue):
    """S4."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = 1.0
        self._next_at = 0.0

    def open_at(self, call: Call) -> float:
        return self._next_at

    def granted(self, call: Call, now: float) -> None:
        self._next_at = now + 1.0 / self.rate

    def accepted(self, call: Call, now: float) -> None:
        self.rate += 0.01

    def refused(self, call: Call, now: float, verdict: Verdict) -> float:
        self.rate = max(0.02, self.rate / 2)
        return 0.0


class Cubic(OneRate):
    """S5."""

    _scale = 0.4
    _beta = 0.7

    def __init__(self) -> None:
        super().__init__()
        self._max = 1.0
        self._refused_at = 0.0

    def accepted(self, call: Call, now: float) -> None:
        window = (self._max * (1.0 - self._beta) / self._scale) ** (1 / 3)
        grown = self._scale * (now - self._refused_at - window) ** 3 + self._max
        self.rate = max(0.5, min(grown, self.rate * 2.0))

    def refused(self, call: Call, now: float, verdict: Verdict) -> float:
        self._max, self._refused_at = self.rate, now
        self.rate = max(0.5, self.rate * self._beta)
        return min(20.0, 2.0 ** min(call.tries - 1, 2))


class Informed:
    """INF: one call of an endpoint at a time, so far after the last that one in a hundred comes too early."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._calls: dict[Endpoint, deque[Call]] = {endpoint: deque() for endpoint in Endpoint}
        self._busy: set[Endpoint] = set()
        self._open_at: dict[Endpoint, float] = {}
        self._order: deque[Endpoint] = deque(Endpoint)
        self._account_at = 0.0

    def enter(self, call: Call, now: float) -> None:
        self._calls[call.endpoint].append(call)

    def next_at(self, now: float) -> float | None:
        if self._server.of_account:
            return self._account_at if any(self._calls.values()) else None
        free = [e for e in Endpoint if self._calls[e] and e not in self._busy]
        return min((self._open_at.get(e, 0.0) for e in free), default=None)

    def grant(self, now: float) -> Call | None:
        for endpoint in self._order:
            if not self._calls[endpoint] or not self._may(endpoint, now):
                continue
            self._order.remove(endpoint)
            self._order.append(endpoint)
            if self._server.of_account:
                self._account_at = now + self._server.ideal(endpoint, now) / 0.995
            else:
                self._busy.add(endpoint)
            return self._calls[endpoint].popleft()
        return None

    def accepted(self, call: Call, now: float) -> None:
        self._seen(call, now)

    def refused(self, call: Call, now: float, verdict: Verdict) -> float:
        self._seen(call, now)
        return 0.0

    def _may(self, endpoint: Endpoint, now: float) -> bool:
        if self._server.of_account:
            return self._account_at <= now
        return endpoint not in self._busy and self._open_at.get(endpoint, 0.0) <= now

    def _seen(self, call: Call, now: float) -> None:
        if self._server.of_account:
            return
        self._busy.discard(call.endpoint)
        least = self._server.ideal(call.endpoint, now)
        self._open_at[call.endpoint] = (call.sent_at + now) / 2 + informed_gap(round(least, 6))


@functools.cache
def informed_gap(least: float, refusals: float = 0.01) -> float:
    """Seconds from the middle of one request to the start of the next, so that this share arrives too early."""
    random = Random(20)
    ways = []
    for _ in range(20_000):
        first, second = round_trip(random), round_trip(random)
        ways.append((first, way_there(random, first), way_there(random, second)))
    low, high = 0.0, least + 5.0
    for _ in range(40):
        middle = (low + high) / 2
        early = sum(max(first, first / 2 + middle) + there2 - there1 < least for first, there1, there2 in ways)
        low, high = (middle, high) if early > refusals * len(ways) else (low, middle)
    return high


class Paced:
    """The package's own pacer."""

    def __init__(self, published: Published, random: Random, overrides: LimitSettings | None = None) -> None:
        self.pacer = Pacer(published, overrides or LimitSettings(), random)
        self._calls: dict[Ticket, Call] = {}
        self._tickets: dict[Call, Ticket] = {}

    def enter(self, call: Call, now: float) -> None:
        ticket = self.pacer.enter(call.endpoint, now, urgent=call.urgent, refused=self._tickets.pop(call, None))
        self._calls[ticket] = call

    def next_at(self, now: float) -> float | None:
        return self.pacer.next_at()

    def grant(self, now: float) -> Call | None:
        ticket = self.pacer.grant(now)
        if ticket is None:
            return None
        self.pacer.sent(ticket, now)
        call = self._calls.pop(ticket)
        self._tickets[call] = ticket
        return call

    def accepted(self, call: Call, now: float) -> None:
        self.pacer.succeeded(self._tickets.pop(call), now)

    def refused(self, call: Call, now: float, verdict: Verdict) -> float:
        blocks = Blocks.QUOTA if verdict.reset is not None else None
        hint = verdict.retry_after if verdict.reset is None else verdict.reset
        self.pacer.refused(self._tickets[call], now, hint, verdict.threshold, blocks)
        return 0.0


Make = Callable[[Published, Server, Random], "Queue | Informed | Paced"]

BASELINES: dict[str, Make] = {
    "S0": lambda published, server, random: Queue(),
    "S1 1 s": lambda published, server, random: Paced(published, random, LimitSettings(learn=False, pause=1.0)),
    "S1 30 s": lambda published, server, random: Paced(published, random, LimitSettings(learn=False, pause=30.0)),
    "S2": lambda published, server, random: FixedBucket(),
    "S3": lambda published, server, random: EachForItself(random),
    "S4": lambda published, server, random: OneRate(),
    "S5": lambda published, server, random: Cubic(),
    "INF": lambda published, server, random: Informed(server),
}

"""How soon each kind of call of one account may go, and who goes first. Pure: moments go in, turns come out.

Two layers must both agree before a call goes: the spacing of its endpoint class, and the spacing of the whole
account. Both start from what the adapter knows of its provider, grow at once when a call is refused, and come
back slowly while calls succeed. A hint of the provider ("try again in 7 s", "threshold=4.5") raises them
further, and never lowers anything.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Mapping
from random import Random

from attrs import define, field, frozen

from shopperd.settings import LimitSettings

INTERVAL_SECONDS_MAX = 60.0
"""What a refusal without a hint may raise a spacing or a pause to: slower than once a minute, nothing would
be noticed any more."""
HINT_SECONDS_MAX = 3600.0
"""A longer wait is cut to an hour: a provider that means more says so again."""
QUOTA_SECONDS_MAX = 25 * 3600.0
"""A daily quota comes back within a day; the hour more is for clocks that differ."""
PAUSE_SECONDS_MIN = 1.0
GROWTH = 1.6
TOLD_GROWTH = 1.1
"""For a refusal that names a spacing which is kept already: then only the way to the provider was uneven."""
JITTER = 0.25
"""A refusal multiplies by a growth, and by up to a quarter more, so that several clients of one account drift
apart."""
HOLD_CALLS_MIN = 16
HOLD_CALLS_MAX = 128
"""So many calls must succeed before a raised spacing is tried lower; doubled when that was too early, since
each try costs a refusal."""
DECAY = 0.98
ROUND_TRIP_SECONDS_MAX = 0.5
"""How much of a slow answer's time may be taken for its way to the provider."""
AGING_GRANTS = 10
"""A class of rank r that waited while r times as many calls went goes first."""


class Endpoint(enum.StrEnum):
    """Endpoint classes in order of priority. The value is the key in the settings and the metric label
    ``endpoint``."""

    DESTROY = "destroy"
    CREATE = "create"
    LIST = "list"
    SHOW = "show"
    OFFERS = "offers"

    @property
    def operation(self) -> str:
        """The contract's method that makes these calls, the metric label ``operation``."""
        return _OPERATIONS[self]

    @property
    def rank(self) -> int:
        """0 goes first: what saves money before what costs it, and both before what only looks."""
        return _RANKS[self]


_OPERATIONS = {
    Endpoint.DESTROY: "destroy_instance",
    Endpoint.CREATE: "create_instance",
    Endpoint.LIST: "list_all_instances",
    Endpoint.SHOW: "get_instance_status",
    Endpoint.OFFERS: "list_offers",
}
_RANKS = {endpoint: rank for rank, endpoint in enumerate(Endpoint)}


class Blocks(enum.StrEnum):
    """What a refusal shuts."""

    ENDPOINT = "endpoint"
    ACCOUNT = "account"
    QUOTA = "quota"
    """A count per day is used up: the endpoint waits for its reset, and its spacing has nothing to learn from
    that."""


@frozen
class Published:
    """What an adapter knows of its provider's limits: starting values, in seconds.

    Attributes:
        intervals: the least spacing of calls of one endpoint class; a missing one has none.
        shared: the least spacing of any two calls of the account.
        blocks: what a refusal shuts that does not say so itself.
    """

    intervals: Mapping[Endpoint, float] = field(factory=dict)
    shared: float = 0.0
    blocks: Blocks = Blocks.ENDPOINT


@frozen
class Backoff:
    """What came of one refusal: how long nothing goes, in seconds, and which hint that follows from."""

    seconds: float
    cause: str


@define(eq=False)
class Spacing:
    """One layer of the limit: an endpoint class, or the whole account. Moments are the clock's monotonic
    seconds.

    Attributes:
        start: the spacing to come back to.
        interval: the spacing in force.
        next_at: when the next call may go by the spacing.
        blocked_until: when it may go by a refusal.
        hold: calls that must succeed before `interval` is tried lower.
    """

    start: float
    interval: float = field(init=False)
    next_at: float = -math.inf
    blocked_until: float = -math.inf
    granted_at: float = -math.inf
    pause: float = 0.0
    hold: int = 0
    hold_size: int = HOLD_CALLS_MIN

    def __attrs_post_init__(self) -> None:
        self.interval = self.start

    @property
    def open_at(self) -> float:
        """When the next call may go."""
        return max(self.next_at, self.blocked_until)

    def granted(self, now: float) -> None:
        """A call goes now."""
        self.granted_at = now
        self.next_at = now + self.interval

    def answered(self, now: float) -> None:
        """The spacing counts from when the provider saw the call, and that was halfway to its answer, as far
        as we can know."""
        way = min((now - self.granted_at) / 2, ROUND_TRIP_SECONDS_MAX)
        self.next_at = max(self.next_at, self.granted_at + way + self.interval)

    def succeeded(self) -> None:
        """A call was not refused: a step towards the start, once the raised spacing has held long enough."""
        self.pause = 0.0
        if self.hold > 0:
            self.hold -= 1
        elif self.interval > self.start:
            lower = self.interval * DECAY
            self.interval = self.start if lower < self.start * 1.01 + 0.01 else lower
            if self.interval == self.start:
                self.hold_size = HOLD_CALLS_MIN

    def refused(self, now: float, retry_after: float | None, threshold: float | None, random: Random) -> Backoff:
        """Slow down at once.

        A refusal that arrives while nothing goes belongs to a call sent before that, and teaches no new
        spacing.
        """
        already_shut = self.blocked_until > now
        if not already_shut:
            self.pause = min(INTERVAL_SECONDS_MAX, max(PAUSE_SECONDS_MIN, self.interval, self.pause * 2))
        own = self.pause * (1 + random.random() * JITTER)
        raised = self.interval
        if threshold is not None:
            raised = max(raised, min(threshold, HINT_SECONDS_MAX))
        if not already_shut and raised == self.interval:
            growth = (GROWTH if threshold is None else TOLD_GROWTH) + random.random() * JITTER
            grown = min(INTERVAL_SECONDS_MAX, max(self.interval, PAUSE_SECONDS_MIN / 2) * growth)
            raised = max(raised, grown if retry_after is None else min(grown, retry_after))
        if raised > self.interval:
            early = self.interval > self.start
            self.hold_size = min(HOLD_CALLS_MAX, self.hold_size * 2) if early else HOLD_CALLS_MIN
            self.interval = raised
        self.hold = self.hold_size
        wait = max(own, self.interval)
        if retry_after is not None:
            # A provider that rounds down, or whose clock runs ahead, would refuse again at the exact second.
            wait = max(wait, min(retry_after, HINT_SECONDS_MAX) * (1 + random.random() * 0.02) + 0.1)
        cause = "retry_after" if retry_after is not None else "no_hint" if threshold is None else "threshold"
        return Backoff(self.block(now, wait), cause)

    def block(self, now: float, seconds: float) -> float:
        """Let nothing go for so long; returns by how much the wait grew."""
        before = max(now, self.blocked_until)
        self.blocked_until = max(self.blocked_until, now + seconds)
        return max(0.0, self.blocked_until - before)


@define(eq=False)
class Ticket:
    """A place in the queue."""

    endpoint: Endpoint
    grants_at_entry: int
    urgent: bool = False
    grant: int = 0
    before: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


def _shared_start(published: Published, overrides: LimitSettings) -> float:
    """The account's own spacing: as set, else as published, but not longer than what an operator set for a class."""
    if overrides.shared is not None:
        return overrides.shared
    given: list[float | None] = [getattr(overrides, endpoint.value) for endpoint in Endpoint]
    return min([published.shared, *(value for value in given if value is not None)])


class Pacer:
    """Who goes when. Pure: every moment is handed in, in seconds that only grow.

    Within one endpoint class the first to come goes first. Among classes whose spacing is open the rank
    decides, but the account's own spacing can keep lower ranks out for as long as higher ones wait: so a
    class that was passed over AGING_GRANTS x rank times goes first once.
    """

    def __init__(self, published: Published, overrides: LimitSettings, random: Random) -> None:
        self._published = published
        self._random = random
        self._grants = 0
        self._queues: dict[Endpoint, deque[Ticket]] = {endpoint: deque() for endpoint in Endpoint}
        self._served_at: dict[Endpoint, int] = dict.fromkeys(Endpoint, 0)
        self.shared = Spacing(_shared_start(published, overrides))
        self.spacings: dict[Endpoint, Spacing] = {}
        for endpoint in Endpoint:
            override: float | None = getattr(overrides, endpoint.value)
            start = published.intervals.get(endpoint, 0.0) if override is None else override
            self.spacings[endpoint] = Spacing(start)

    def enter(self, endpoint: Endpoint, *, urgent: bool = False) -> Ticket:
        """Take a place in the queue; an urgent call stands before those of its class, with the rank of a destroy."""
        ticket = Ticket(endpoint, self._grants, urgent=urgent)
        queue = self._queues[endpoint]
        if urgent:
            queue.insert(sum(other.urgent for other in queue), ticket)
        else:
            queue.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place that was not served yet."""
        self._queues[ticket.endpoint].remove(ticket)

    def next_at(self) -> float | None:
        """The earliest moment at which somebody may go; None if nobody waits."""
        moments = [self.spacings[endpoint].open_at for endpoint in Endpoint if self._queues[endpoint]]
        return max(min(moments), self.shared.open_at) if moments else None

    def grant(self, now: float) -> Ticket | None:
        """Serve the one whose turn it is; None if nobody may go now."""
        if self.shared.open_at > now:
            return None
        ready = [e for e in Endpoint if self._queues[e] and self.spacings[e].open_at <= now]
        if not ready:
            return None
        starving = [e for e in ready if e.rank and self._passed_over(e) >= AGING_GRANTS * e.rank]
        endpoint = starving[-1] if starving else min(ready, key=self._rank)
        ticket = self._queues[endpoint].popleft()
        spacing = self.spacings[endpoint]
        ticket.before = (spacing.next_at, spacing.granted_at, self.shared.next_at, self.shared.granted_at)
        spacing.granted(now)
        self.shared.granted(now)
        self._grants += 1
        ticket.grant = self._served_at[endpoint] = self._grants
        return ticket

    def _rank(self, endpoint: Endpoint) -> int:
        return 0 if self._queues[endpoint][0].urgent else endpoint.rank

    def give_back(self, ticket: Ticket) -> None:
        """Undo a grant that was not used, unless a later one already counts from it."""
        if ticket.grant == self._grants:
            spacing = self.spacings[ticket.endpoint]
            spacing.next_at, spacing.granted_at, self.shared.next_at, self.shared.granted_at = ticket.before

    def succeeded(self, endpoint: Endpoint, now: float) -> None:
        """A call was answered and not refused for its frequency."""
        for spacing in (self.spacings[endpoint], self.shared):
            spacing.answered(now)
            spacing.succeeded()

    def refused(
        self,
        endpoint: Endpoint,
        now: float,
        retry_after: float | None = None,
        threshold: float | None = None,
        blocks: Blocks | None = None,
    ) -> Backoff:
        """A call was refused for its frequency. Hints are seconds; strange ones (negative, not finite) are no
        hints."""
        retry_after, threshold = _sane(retry_after), _sane(threshold)
        blocks = blocks or self._published.blocks
        spacing = self.spacings[endpoint]
        if blocks is Blocks.QUOTA and retry_after is not None:
            wait = min(retry_after, QUOTA_SECONDS_MAX) * (1 + self._random.random() * 0.001) + 0.1
            return Backoff(spacing.block(now, wait), "quota")
        spacing.answered(now)
        self.shared.answered(now)
        layer = self.shared if blocks is Blocks.ACCOUNT else spacing
        return layer.refused(now, retry_after, threshold, self._random)

    def blocked_seconds(self, endpoint: Endpoint, now: float) -> float:
        """How long until the next call of this class may go, if nobody else waits."""
        return max(0.0, self.spacings[endpoint].open_at - now, self.shared.open_at - now)

    def _passed_over(self, endpoint: Endpoint) -> int:
        head = self._queues[endpoint][0]
        return self._grants - max(head.grants_at_entry, self._served_at[endpoint])


def _sane(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) or seconds < 0 else seconds

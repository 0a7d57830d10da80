"""Who of one account's callers goes when. Pure: moments go in, turns come out; the same object is simulated and used.

Two layers must both agree before a call goes: the spacing of its endpoint class (`spacing`), and the bucket of the whole account
(`bucket`). Both start from what the adapter knows of its provider. Both tighten at once when a call is refused, and loosen by
probing, which becomes rarer while the limit holds still. A hint of the provider ("try again in 7 s", "threshold=4.5") can only
make us slower. `docs/limiter.md` tells what this reaches.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from random import Random

from attrs import define, field, frozen

from shopperd.providers.bucket import HINT_SECONDS_MAX, PAUSE_JITTER, Bucket, hinted
from shopperd.providers.learned import CAUTION, START_SECONDS_MAX, Layer
from shopperd.providers.spacing import GAP_SECONDS_MAX, Flight, Spacing
from shopperd.providers.tooth import SIZE_RESTED, STEP_MAX
from shopperd.settings import LimitSettings

__all__ = [
    "AGING_GRANTS",
    "HINT_SECONDS_MAX",
    "QUOTA_SECONDS_MAX",
    "Backoff",
    "Blocks",
    "Endpoint",
    "Pacer",
    "Published",
    "Ticket",
]

QUOTA_SECONDS_MAX = 25 * 3600.0
"""A daily quota comes back within a day; the hour more is for clocks that differ."""
AGING_GRANTS = 10
"""A class of rank r that waited while r times as many calls went goes first."""
SHARED = "shared"
PUBLISHED, SETTINGS, PROBING = "published", "settings", "probing"
"""What a limit in force comes from, beside the causes of refusals."""
_ROUNDING = 1e-6
"""A timer may ring this much too early, whatever the floats say."""


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
class Ticket:
    """A place in the queue, and then the call that it stands for.

    Attributes:
        unserved_since: how many calls had gone when its class was last served, or it came.
        passed: calls of lower classes that went before it while it could have gone.
        waited: it went as early as the account's limit let it, so that its answer says something of that.
    """

    endpoint: Endpoint
    urgent: bool
    entered_at: float
    unserved_since: int
    passed: int = 0
    flight: Flight | None = None
    waited: bool = False

    @property
    def saves_money(self) -> bool:
        """Whether it is a destroy, or stands right before one."""
        return self.urgent or self.endpoint is Endpoint.DESTROY

    @property
    def may_take_reserve(self) -> bool:
        """Whether it may have the token that is kept from those that only look."""
        return self.urgent or self.endpoint.rank <= Endpoint.CREATE.rank


def _shared_start(published: Published, overrides: LimitSettings) -> float:
    """The account's own spacing: as set, else as published, but not longer than what an operator set for a class."""
    if overrides.shared is not None:
        return overrides.shared
    given: list[float | None] = [getattr(overrides, endpoint.value) for endpoint in Endpoint]
    return min([published.shared, *(value for value in given if value is not None)])


_CONFIRMING = 1
_QUEUES = len(Endpoint) + 1


def _place(endpoint: Endpoint, *, urgent: bool) -> int:
    """The queue: destroys, what stands before a destroy, creates, lists, single reads, offers."""
    if endpoint is Endpoint.DESTROY:
        return 0
    return _CONFIRMING if urgent else endpoint.rank + 1


class Pacer:
    """Every moment is handed in, in seconds that only grow.

    A caller enters, and has its turn when `grant` gives its ticket. Then it tells what becomes of the call: `give_back`, or `sent`
    and one of `succeeded`, `refused` and `lost`. Within one queue the first to come goes first. A destroy goes before all others,
    but a class that was passed over AGING_GRANTS x rank times goes first once; never two of those before the same destroy.
    """

    def __init__(self, published: Published, overrides: LimitSettings, random: Random) -> None:
        self._published = published
        self._plain_pause = None if overrides.learn else overrides.pause
        self._random = random
        self._grants = 0
        self._queues: tuple[deque[Ticket], ...] = tuple(deque() for _ in range(_QUEUES))
        self._served_at = [0] * _QUEUES
        shared = _shared_start(published, overrides)
        self.shared = Bucket(1.0 / shared if shared > 0 else math.inf, random)
        self.spacings: dict[Endpoint, Spacing] = {}
        self.learned_from: dict[str, str] = {SHARED: PUBLISHED if overrides.shared is None else SETTINGS}
        for endpoint in Endpoint:
            override: float | None = getattr(overrides, endpoint.value)
            start = published.intervals.get(endpoint, 0.0) if override is None else override
            # A create is never sent just to see whether it is refused: its refusal may be unclear.
            self.spacings[endpoint] = Spacing(start, probes=endpoint is not Endpoint.CREATE)
            self.learned_from[endpoint.value] = PUBLISHED if override is None else SETTINGS

    def learned(self, now: float, at: datetime) -> dict[str, Layer]:
        """What differs from what was there at the start, `at` being the time of day at the moment `now`."""
        layers = {}
        for name, layer in self._layers():
            blocked = layer.blocked_until > now
            if self.learned_from[name] in (PUBLISHED, SETTINGS) and not blocked:
                continue
            until = at + timedelta(seconds=layer.blocked_until - now) if blocked else None
            told = layer.told if isinstance(layer, Spacing) else 0.0
            interval = layer.gap if isinstance(layer, Spacing) else layer.interval
            layers[name] = Layer(layer.start, interval, layer.tooth.step, self.learned_from[name], told, until)
        return layers

    def recall(self, layers: Mapping[str, Layer], now: float, at: datetime) -> None:
        """Go on, a little more carefully, with what was learned before a restart; those that start together drift apart."""
        for name, layer in self._layers():
            kept = layers.get(name)
            if kept is None or kept.start != layer.start or not 0.0 <= kept.interval < math.inf:
                continue
            cautious = kept.interval * CAUTION
            if isinstance(layer, Spacing):
                layer.gap, layer.told = min(cautious, max(GAP_SECONDS_MAX, kept.told)), kept.told
            elif cautious > 0:
                layer.set_rate(1.0 / cautious, now)
                layer.empty(now)
            layer.tooth.size, layer.tooth.step = SIZE_RESTED, min(STEP_MAX, max(0.0, kept.step))
            layer.block(now + self._random.random() * min(cautious, START_SECONDS_MAX))
            if kept.blocked_until is not None:
                layer.block(now + min((kept.blocked_until - at).total_seconds(), QUOTA_SECONDS_MAX))
            self.learned_from[name] = kept.cause

    def _layers(self) -> Iterator[tuple[str, Spacing | Bucket]]:
        yield SHARED, self.shared
        for endpoint, spacing in self.spacings.items():
            yield endpoint.value, spacing

    @property
    def intervals(self) -> dict[str, float]:
        """Seconds between two calls in force, by endpoint class and for the account; 0 for none."""
        own = {endpoint.value: spacing.gap for endpoint, spacing in self.spacings.items()}
        return {SHARED: self.shared.interval, **own}

    def enter(self, endpoint: Endpoint, now: float, *, urgent: bool = False, refused: Ticket | None = None) -> Ticket:
        """Take a place in the queue; an urgent call has the rank of the destroy that it stands before.

        The repeat of a call that was refused goes to the head, as one that has waited all the time.
        """
        if refused is None:
            ticket = Ticket(endpoint, urgent, now, self._grants)
            self._queue_of(ticket).append(ticket)
        else:
            ticket = Ticket(endpoint, urgent, now, refused.unserved_since)
            self._queue_of(ticket).appendleft(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up a place that was not served yet."""
        self._queue_of(ticket).remove(ticket)

    def next_at(self) -> float | None:
        """The earliest moment at which somebody may go; None if nobody waits, or only an answer can change it."""
        at = min((self._open_at(place, head) for place, head in self._heads()), default=math.inf)
        return None if at == math.inf else at

    def grant(self, now: float) -> Ticket | None:
        """Serve the one whose turn it is; None if nobody may go now."""
        until = now + _ROUNDING
        ready = [(place, head) for place, head in self._heads() if self.spacings[head.endpoint].open_at() <= until]
        if not ready:
            return None
        first, (place, head) = ready[0][1], ready[0]
        if self.shared.episode is None and (not head.saves_money or head.passed == 0):
            place, head = next((each for each in reversed(ready) if self._starves(*each)), ready[0])
        reserve = head.may_take_reserve or self._starves(place, head)
        if self.shared.open_at(reserve=reserve) > until:
            return None
        self._queues[place].popleft()
        head.unserved_since = self._unserved_since(place, head)
        if head is not first:
            first.passed += 1
        head.waited = (
            self.shared.take(now, head.entered_at, head, reserve=reserve) and head.endpoint is not Endpoint.CREATE
        )
        head.flight = self.spacings[head.endpoint].take(now, head.entered_at)
        self._grants += 1
        self._served_at[place] = self._grants
        return head

    def is_shut(self, ticket: Ticket, now: float) -> bool:
        """Whether a refusal of another call has shut what this one, whose turn has come, would go through."""
        if self.shared.episode is not None and self.shared.episode.scout is not ticket:
            return True
        return max(self.spacings[ticket.endpoint].blocked_until, self.shared.blocked_until) > now + _ROUNDING

    def give_back(self, ticket: Ticket) -> None:
        """Undo a grant: the call was not sent."""
        self.spacings[ticket.endpoint].drop(_flight(ticket))
        self.shared.give_back(ticket)

    def sent(self, ticket: Ticket, now: float) -> None:
        """The call leaves now, which may be some time after its turn."""
        self.spacings[ticket.endpoint].sent(_flight(ticket), now)
        self.shared.sent(ticket, now)

    def succeeded(self, ticket: Ticket, now: float) -> None:
        """The call was answered, and not refused for its frequency."""
        if self._plain_pause is not None:
            self.lost(ticket)
            return
        spacing, flight = self.spacings[ticket.endpoint], _flight(ticket)
        arrival, gap, rate = spacing.arrival(flight, now), spacing.gap, self.shared.rate
        spacing.succeeded(flight, now)
        self.shared.succeeded(ticket, now, sent_at=_sent_at(flight, now), arrival=arrival, waited=ticket.waited)
        if spacing.gap != gap:
            self.learned_from[ticket.endpoint.value] = PROBING
        if self.shared.rate != rate:
            self.learned_from[SHARED] = PROBING

    def lost(self, ticket: Ticket) -> None:
        """The call is over, and nobody knows what the provider thinks of its frequency: it says nothing of a limit."""
        self.spacings[ticket.endpoint].drop(_flight(ticket))
        self.shared.lost(ticket)

    def refused(
        self,
        ticket: Ticket,
        now: float,
        retry_after: float | None = None,
        threshold: float | None = None,
        blocks: Blocks | None = None,
    ) -> Backoff:
        """The call was refused for its frequency. Hints are seconds; strange ones (negative, not finite) are no hints."""
        retry_after, threshold = _sane(retry_after), _sane(threshold)
        blocks = blocks or self._published.blocks
        endpoint, flight = ticket.endpoint, _flight(ticket)
        spacing = self.spacings[endpoint]
        before = max(0.0, max(spacing.blocked_until, self.shared.blocked_until) - now)
        place = _place(endpoint, urgent=ticket.urgent)
        self._served_at[place] = min(self._served_at[place], ticket.unserved_since)
        if blocks is Blocks.QUOTA and retry_after is not None:
            self.lost(ticket)
            spacing.block(now + min(retry_after, QUOTA_SECONDS_MAX) * (1.0 + self._random.random() * 0.001) + 0.1)
        elif self._plain_pause is not None:
            self.lost(ticket)
            layer = self.shared if blocks is Blocks.ACCOUNT else spacing
            layer.block(now + max(self._plain_pause, hinted(retry_after, self._random)))
        elif blocks is Blocks.ACCOUNT:
            arrival = spacing.arrival(flight, now)
            spacing.drop(flight)
            if threshold:
                self.shared.set_rate(min(self.shared.rate, 1.0 / threshold), now)
            self.shared.refused(ticket, now, sent_at=_sent_at(flight, now), arrival=arrival, retry_after=retry_after)
        else:
            self.shared.lost(ticket)
            spacing.refused(flight, now, threshold)
            if spacing.search is None:
                # Clients that were refused together drift apart; a search must know where it looks.
                own = max(0.0, spacing.open_at() - now) if math.isfinite(spacing.open_at()) else 0.0
                spacing.block(now + own * (1.0 + self._random.random() * PAUSE_JITTER))
            if retry_after is not None:
                spacing.block(now + hinted(retry_after, self._random))
        cause = _cause(blocks, retry_after, threshold)
        if self._plain_pause is None:
            self.learned_from[SHARED if blocks is Blocks.ACCOUNT else endpoint.value] = cause
        return Backoff(max(0.0, self.blocked_seconds(endpoint, now) - before), cause)

    def blocked_seconds(self, endpoint: Endpoint, now: float) -> float:
        """How long until the next call of this class may go, if nobody else waits and nothing that is on its way changes it."""
        at = max(self.spacings[endpoint].open_at(), self.shared.open_at(reserve=endpoint.rank <= Endpoint.CREATE.rank))
        return 0.0 if math.isinf(at) else max(0.0, at - now)

    def waiting(self, endpoint: Endpoint) -> int:
        """How many calls of this class wait for their turn."""
        return sum(ticket.endpoint is endpoint for queue in self._queues for ticket in queue)

    def _queue_of(self, ticket: Ticket) -> deque[Ticket]:
        return self._queues[_place(ticket.endpoint, urgent=ticket.urgent)]

    def _heads(self) -> Iterator[tuple[int, Ticket]]:
        return ((place, queue[0]) for place, queue in enumerate(self._queues) if queue)

    def _open_at(self, place: int, head: Ticket) -> float:
        reserve = head.may_take_reserve or self._starves(place, head)
        return max(self.spacings[head.endpoint].open_at(), self.shared.open_at(reserve=reserve))

    def _starves(self, place: int, head: Ticket) -> bool:
        waited = self._grants - self._unserved_since(place, head)
        return place > _CONFIRMING and waited >= AGING_GRANTS * head.endpoint.rank

    def _unserved_since(self, place: int, head: Ticket) -> int:
        return max(head.unserved_since, self._served_at[place])


def _flight(ticket: Ticket) -> Flight:
    if ticket.flight is None:
        raise RuntimeError("a call is told of that has had no turn: this is a fault of shopperd")
    return ticket.flight


def _sent_at(flight: Flight, now: float) -> float:
    return now if flight.sent_at is None else flight.sent_at


def _cause(blocks: Blocks, retry_after: float | None, threshold: float | None) -> str:
    if retry_after is not None:
        return "quota" if blocks is Blocks.QUOTA else "retry_after"
    return "no_hint" if threshold is None else "threshold"


def _sane(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) or seconds < 0 else seconds

"""The rate limiter of one account: it makes calls wait for the turn that `pacing` gives them, on the injected
clock, keeps hopeless ones back by a `breaker`, and tells what it has learned."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Mapping
from functools import partial
from typing import Protocol, runtime_checkable

from attrs import define, field, frozen

from shopperd.clock import Clock
from shopperd.providers.breaker import Breaker
from shopperd.providers.contract import Unclear, Withheld
from shopperd.providers.learned import AGE_MAX, Learned
from shopperd.providers.pacing import Blocks, Endpoint, Pacer, Published, Ticket
from shopperd.settings import LimitSettings
from shopperd.telemetry import Metrics

__all__ = ["Blocks", "Endpoint", "Limited", "Limiter", "Limits", "Published", "Ticket"]

DESTROY_PAUSE_SECONDS_MAX = 10.0
"""During an outage destroys are asked for no more often than this; they are never held back."""
HOUR_SECONDS = 3600.0
SLOT_SECONDS = 60.0


@frozen
class Limits:
    """What the limiter of an account knows, for people.

    Attributes:
        intervals: seconds between two calls, by endpoint class and for ``shared``; 0 for none.
        learned_from: by the same keys, what last changed it: ``published``, ``settings``, ``probing``, ``stored``, or the cause
            of a refusal.
        waiting: calls in the queue by endpoint class.
        calls_last_hour, refused_last_hour: requests, and how many of them were refused for their frequency.
        blocked_share: of the last hour, for how much of it calls of some class were shut out by a refusal.
    """

    intervals: Mapping[str, float]
    learned_from: Mapping[str, str]
    waiting: Mapping[str, int]
    calls_last_hour: int
    refused_last_hour: int
    blocked_share: float
    breaker_open: bool


@define(eq=False)
class _Hour:
    """Sums over the last hour, by the minute."""

    began_at: float
    _slots: deque[tuple[float, Counter[str]]] = field(factory=deque)

    def add(self, now: float, what: str) -> None:
        if not self._slots or now - self._slots[-1][0] >= SLOT_SECONDS:
            self._slots.append((now, Counter()))
        self._slots[-1][1][what] += 1
        self._forget(now)

    def sum(self, now: float, what: str) -> int:
        self._forget(now)
        return sum(counts[what] for _, counts in self._slots)

    def seconds(self, now: float) -> float:
        return min(HOUR_SECONDS, max(1.0, now - self.began_at))

    def _forget(self, now: float) -> None:
        while self._slots and self._slots[0][0] <= now - HOUR_SECONDS:
            self._slots.popleft()


class Limiter:
    """Makes the calls of one account wait for their turn.

    Nothing is held while waiting: a waiter that is cancelled leaves the queue at once, and one that is
    cancelled just after its turn came gives the turn back. A caller that has its ticket must tell what became of the call, by
    `give_back`, or by `sent` and then one of `succeeded`, `refused`, `unanswered` and `abandoned`.
    """

    def __init__(
        self,
        clock: Clock,
        published: Published,
        overrides: LimitSettings,
        *,
        account: str,
        provider: str,
        metrics: Metrics,
    ) -> None:
        self._clock = clock
        self._pacer = Pacer(published, overrides, clock.random)
        self._breaker = Breaker(clock.random)
        self._labels = {"account": account, "provider": provider}
        self._metrics = metrics
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = math.inf
        self._hour = _Hour(clock.monotonic())
        self._blocked: deque[tuple[float, float]] = deque()
        for endpoint in Endpoint:
            labels = {**self._labels, "endpoint": endpoint.value}
            interval = metrics.ratelimit_interval_seconds.labels(**labels)
            interval.set_function(partial(self.interval_seconds, endpoint))
            blocked = metrics.ratelimit_blocked_seconds.labels(**labels)
            blocked.set_function(partial(self.blocked_seconds, endpoint))
            waiting = metrics.ratelimit_waiting.labels(**labels)
            waiting.set_function(partial(self._pacer.waiting, endpoint))
        metrics.breaker_open.labels(**self._labels).set_function(lambda: float(self._breaker.open))

    async def wait(self, endpoint: Endpoint, *, urgent: bool = False, refused: Ticket | None = None) -> Ticket:
        """Return when a call of this class may go. Each return is one call.

        Args:
            urgent: it has a destroy's priority.
            refused: the call that this one repeats; it keeps that one's place in the order.

        Raises:
            Unclear: it would be hopeless, since nothing is answered; ``breaker``. Never for destroys and what is urgent.
            Withheld: the same for a create.
        """
        self._ask_breaker(endpoint, urgent=urgent)
        ticket = self._pacer.enter(endpoint, self._clock.monotonic(), urgent=urgent, refused=refused)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns[ticket] = turn
        self._serve()
        if not turn.done():
            try:
                await turn
            except asyncio.CancelledError:
                if self._turns.pop(ticket, None) is not None:
                    self._pacer.leave(ticket)
                elif not turn.cancelled():  # else whoever served the queue has seen it, and took the turn back
                    self._pacer.give_back(ticket)
                self._serve()
                raise
        try:
            self._ask_breaker(endpoint, urgent=urgent)
        except (Unclear, Withheld):
            self.give_back(ticket)
            raise
        self._breaker.began(ticket)
        return ticket

    def is_shut(self, ticket: Ticket) -> bool:
        """Whether something came since this call's turn came, so that it must not be sent now."""
        return self._pacer.is_shut(ticket, self._clock.monotonic())

    def give_back(self, ticket: Ticket) -> None:
        """Tell that a call whose turn came is not sent."""
        self._pacer.give_back(ticket)
        self._breaker.over(ticket)
        self._serve()

    def sent(self, ticket: Ticket) -> None:
        """Tell that a call leaves now: spacing counts from here, however long ago its turn came."""
        now = self._clock.monotonic()
        self._pacer.sent(ticket, now)
        self._hour.add(now, "calls")
        self._serve()

    def succeeded(self, ticket: Ticket) -> None:
        """Tell that a call was answered and not refused for its frequency."""
        self._answered(ticket)
        self._pacer.succeeded(ticket, self._clock.monotonic())
        self._serve()

    def unanswered(self, ticket: Ticket) -> None:
        """Tell that no answer came, or one that says that the provider is broken."""
        now = self._clock.monotonic()
        pause = self._breaker.failed(ticket, now)
        self._pacer.lost(ticket)
        if pause:
            self._pacer.spacings[Endpoint.DESTROY].paused_until = now + min(pause, DESTROY_PAUSE_SECONDS_MAX)
        self._serve()

    def abandoned(self, ticket: Ticket) -> None:
        """Tell that a call was given up before its answer came."""
        self._breaker.over(ticket)
        self._pacer.lost(ticket)
        self._serve()

    def refused(
        self,
        ticket: Ticket,
        retry_after_seconds: float | None = None,
        threshold_seconds: float | None = None,
        blocks: Blocks | None = None,
    ) -> None:
        """Tell that a call was refused for its frequency, with what hints the answer gave."""
        now = self._clock.monotonic()
        self._answered(ticket)
        backoff = self._pacer.refused(ticket, now, retry_after_seconds, threshold_seconds, blocks)
        labels = {**self._labels, "endpoint": ticket.endpoint.value, "cause": backoff.cause}
        self._metrics.ratelimit_backoffs_total.labels(**labels).inc()
        self._metrics.ratelimit_backoff_seconds_total.labels(**labels).inc(backoff.seconds)
        self._hour.add(now, "refused")
        self._note_blocked(now, now + self._pacer.blocked_seconds(ticket.endpoint, now))
        self._serve()

    def interval_seconds(self, endpoint: Endpoint) -> float:
        """The spacing in force, the account's own included."""
        return max(self._pacer.spacings[endpoint].gap, self._pacer.shared.interval)

    def blocked_seconds(self, endpoint: Endpoint) -> float:
        """How long until the next call of this class may go, if nobody else waits."""
        return self._pacer.blocked_seconds(endpoint, self._clock.monotonic())

    @property
    def limits(self) -> Limits:
        """What is known now."""
        now = self._clock.monotonic()
        return Limits(
            intervals=self._pacer.intervals,
            learned_from=self._pacer.learned_from,
            waiting={endpoint.value: self._pacer.waiting(endpoint) for endpoint in Endpoint},
            calls_last_hour=self._hour.sum(now, "calls"),
            refused_last_hour=self._hour.sum(now, "refused"),
            blocked_share=self._blocked_share(now),
            breaker_open=self._breaker.open,
        )

    @property
    def learned(self) -> Learned | None:
        """What should survive a restart; None while nothing was learned."""
        at = self._clock.now()
        layers = self._pacer.learned(self._clock.monotonic(), at)
        return Learned(at, layers) if layers else None

    def recall(self, learned: Learned) -> None:
        """Go on with what was learned before a restart, unless that is too long ago."""
        at = self._clock.now()
        if at - learned.at <= AGE_MAX:
            # What a clock that was ahead has noted says how long, not until when.
            self._pacer.recall(learned.layers, self._clock.monotonic(), max(at, learned.at))

    def _note_blocked(self, since: float, until: float) -> None:
        """Spans begin in the order of the refusals; one that goes on into the next is one with it."""
        self._forget_blocked(since)
        if self._blocked and self._blocked[-1][1] >= since:
            since, before = self._blocked.pop()
            until = max(until, before)
        self._blocked.append((since, until))

    def _blocked_share(self, now: float) -> float:
        hour = self._hour.seconds(now)
        self._forget_blocked(now)
        return sum(min(until, now) - max(since, now - hour) for since, until in self._blocked) / hour

    def _forget_blocked(self, now: float) -> None:
        while self._blocked and self._blocked[0][1] <= now - HOUR_SECONDS:
            self._blocked.popleft()

    def _answered(self, ticket: Ticket) -> None:
        """The provider is there, so that destroys need not be slow any more."""
        self._breaker.answered(ticket)
        self._pacer.spacings[Endpoint.DESTROY].paused_until = -math.inf

    def _ask_breaker(self, endpoint: Endpoint, *, urgent: bool) -> None:
        if urgent or endpoint is Endpoint.DESTROY:
            return
        now = self._clock.monotonic()
        if not self._breaker.stops(now):
            return
        labels = {**self._labels, "operation": endpoint.operation, "outcome": "breaker"}
        self._metrics.provider_requests_total.labels(**labels).inc()
        why = f"not sent: {self._breaker.failures} calls in a row were not answered"
        if endpoint is Endpoint.CREATE:
            raise Withheld(why)
        raise Unclear(why, "breaker")

    def _serve(self) -> None:
        """Let go everybody whose turn it is, and set the timer for the next one. No await may stand here."""
        now = self._clock.monotonic()
        while (ticket := self._pacer.grant(now)) is not None:
            turn = self._turns.pop(ticket)
            if turn.done():  # cancelled, and not awake yet to say so
                self._pacer.give_back(ticket)
            else:
                turn.set_result(None)
        at = self._pacer.next_at()
        if at is None:
            self._stop_timer()
        elif at != self._timer_at or self._timer is None:
            self._stop_timer()
            self._timer_at = at
            self._timer = asyncio.get_running_loop().create_task(self._wake(at - now), name="limiter")

    async def _wake(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._timer = None
        self._serve()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, math.inf


@runtime_checkable
class Limited(Protocol):
    """An adapter whose calls go through a limiter. Plug-ins may leave this out."""

    @property
    def limiter(self) -> Limiter:
        """The account's."""

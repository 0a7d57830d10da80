"""The rate limiter of one account: it makes calls wait for the turn that `pacing` gives them, on the injected
clock."""

from __future__ import annotations

import asyncio
import math
from functools import partial

from shopperd.clock import Clock
from shopperd.providers.pacing import Blocks, Endpoint, Pacer, Published, Ticket
from shopperd.settings import LimitSettings
from shopperd.telemetry import Metrics

__all__ = ["Blocks", "Endpoint", "Limiter", "Published"]


class Limiter:
    """Makes the calls of one account wait for their turn.

    Nothing is held while waiting: a waiter that is cancelled leaves the queue at once, and one that is
    cancelled just after its turn came gives the turn back.
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
        self._labels = {"account": account, "provider": provider}
        self._metrics = metrics
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = math.inf
        for endpoint in Endpoint:
            labels = {**self._labels, "endpoint": endpoint.value}
            interval = metrics.ratelimit_interval_seconds.labels(**labels)
            interval.set_function(partial(self.interval_seconds, endpoint))
            blocked = metrics.ratelimit_blocked_seconds.labels(**labels)
            blocked.set_function(partial(self.blocked_seconds, endpoint))

    async def wait(self, endpoint: Endpoint, *, urgent: bool = False) -> None:
        """Return when a call of this class may go. Each return is one call: it must be made now."""
        ticket = self._pacer.enter(endpoint, urgent=urgent)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns[ticket] = turn
        self._serve()
        if turn.done():
            return
        try:
            await turn
        except asyncio.CancelledError:
            if self._turns.pop(ticket, None) is None:
                self._pacer.give_back(ticket)
            else:
                self._pacer.leave(ticket)
            self._serve()
            raise

    def succeeded(self, endpoint: Endpoint) -> None:
        """Tell that a call was answered and not refused for its frequency."""
        self._pacer.succeeded(endpoint, self._clock.monotonic())
        self._serve()

    def refused(
        self,
        endpoint: Endpoint,
        retry_after_seconds: float | None = None,
        threshold_seconds: float | None = None,
        blocks: Blocks | None = None,
    ) -> None:
        """Tell that a call was refused for its frequency, with what hints the answer gave."""
        now = self._clock.monotonic()
        backoff = self._pacer.refused(endpoint, now, retry_after_seconds, threshold_seconds, blocks)
        labels = {**self._labels, "endpoint": endpoint.value, "cause": backoff.cause}
        self._metrics.ratelimit_backoffs_total.labels(**labels).inc()
        self._metrics.ratelimit_backoff_seconds_total.labels(**labels).inc(backoff.seconds)
        self._serve()

    def interval_seconds(self, endpoint: Endpoint) -> float:
        """The spacing in force, the account's own included."""
        return max(self._pacer.spacings[endpoint].interval, self._pacer.shared.interval)

    def blocked_seconds(self, endpoint: Endpoint) -> float:
        """How long until the next call of this class may go, if nobody else waits."""
        return self._pacer.blocked_seconds(endpoint, self._clock.monotonic())

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

"""The job of a hook: sends events to a receiver, at least once, those of one session in their order.

The audit trail is the outbox: numbers of events grow in the order of commits, so what is kept of a hook is its place there.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

from attrs import Factory, define, field

from shopperd.jobs.context import Context, Report, log
from shopperd.jobs.courier import Carrier, Courier, body_of, headers_of
from shopperd.jobs.outbox import WINDOW, Outbox
from shopperd.model import Event
from shopperd.secrets import Secret
from shopperd.settings import HookSettings, shown_url
from shopperd.store import StoreError, hooks
from shopperd.store.hooks import Place, Window

RUN_SECONDS = 60.0
"""After so long a run ends and the next one goes on, so that it is seen that the job turns."""

COUNTED_SECONDS = 60.0
"""So rarely it is counted anew how many events wait behind those that are looked at: there may be a million."""


@define
class HookJob:
    """Sends one hook its events. It asks no provider for anything, and no other job waits for it.

    Attributes:
        gone: the receiver answered that it wants no more; nothing is sent until a restart.
        courier: brings each delivery to the receiver.
        retired: it was taken out of service, and begins no other delivery.
    """

    context: Context
    settings: HookSettings
    secret: Secret
    gone: bool = False
    retired: bool = False
    account: str = ""
    must_finish: bool = False
    interval: float = 15.0
    courier: Carrier = field(
        default=Factory(lambda self: Courier(self.settings.url, self.settings.timeout), takes_self=True)
    )
    _outbox: Outbox | None = None
    _kept: Place | None = None
    _behind: int = 0
    _behind_until: float = -math.inf

    @property
    def name(self) -> str:
        """The job's name, which tells the hook."""
        return job_name(self.settings.name)

    @property
    def deadline(self) -> float:
        """A run begins no delivery after `RUN_SECONDS`."""
        return RUN_SECONDS + self.settings.timeout + 60.0

    async def begin(self) -> None:
        """Find the place to go on from; a new hook begins with what happens from now on.

        Raises:
            StoreError: the place cannot be read.
        """
        if self._outbox is None:
            self._kept = await self.context.store.run(hooks.begin, self.settings.name)
            self._outbox = Outbox.at(self._kept, self.settings.events)
            place = {"url": shown_url(self.settings.url), "kinds": self.settings.events, "after": self._kept.cursor}
            log.info("hook.begun", hook=self.settings.name, **place)

    async def run(self) -> Report:
        """Send what is due. A place that the store did not take is recorded before anything else is sent."""
        await self.begin()
        await self._keep()
        outbox, clock = self._at_work, self.context.clock
        sent, failed, end = 0, 0, clock.monotonic() + RUN_SECONDS
        while True:
            window = await self._window()
            await self._tell(window)
            before = sent + failed
            while clock.monotonic() < end and (event := self._due(window.events)) is not None:
                taken = await self._deliver(event)
                sent, failed = sent + taken, failed + (not taken)
                if taken:
                    outbox.advance(window)
                    await self._keep()
            if sent + failed == before or clock.monotonic() >= end:
                break
        await self._keep()
        if self.gone:
            return Report("its receiver wants no more; nothing is sent until a restart", ok=False)
        waiting = len(outbox.pending(window.events))
        again = outbox.due_in(window.events, clock.monotonic()) if self._has_right else None
        sentence = f"sent {sent} events, failed with {failed}, {waiting} wait"
        return Report(sentence, again_in_seconds=again, ok=not failed, idle=sent + failed == 0)

    def overtaken(self, gone: Sequence[tuple[int, str]]) -> None:
        """Say and count the events that retention deleted, by number and kind, before they could be sent."""
        lost = 0 if self._outbox is None else self._outbox.overtaken(gone)
        if lost:
            self._count("lost", lost)
            log.error(
                "hook.lost",
                hook=self.settings.name,
                count=lost,
                detail="they were older than store.keep_events, and its receiver had not taken them",
            )

    async def close(self) -> None:
        """Give back the connection, and record the place if a run was cut off before it could."""
        with contextlib.suppress(StoreError):
            await self._keep()
        await self.courier.close()

    @property
    def _at_work(self) -> Outbox:
        if self._outbox is None:
            raise RuntimeError("a hook's place is read before it is worked from")
        return self._outbox

    @property
    def _has_right(self) -> bool:
        return self.context.clock.monotonic() < self.context.acts_until and not (self.retired or self.context.stopping)

    async def _window(self) -> Window:
        """The next events that it wants, beginning with the first that was not taken."""
        outbox = self._at_work
        window = await self.context.store.run(hooks.window, outbox.cursor, outbox.patterns, WINDOW)
        outbox.advance(window)
        return window

    def _due(self, window: Sequence[Event]) -> Event | None:
        if self.gone or not self._has_right:
            return None
        return self._at_work.due(window, self.context.clock.monotonic())

    async def _deliver(self, event: Event) -> bool:
        """Send one event once; whether it was taken."""
        context, name, outbox = self.context, self.settings.name, self._at_work
        body = body_of(event, context.settings.deployment)
        # By the machine's clock, though it may be wrong: a receiver compares it with its own and refuses what is old. `now` may be
        # hours behind on purpose until a restart; the machine's clock is what NTP puts right, and the next try is right with it.
        timestamp = str(int(context.clock.wall().timestamp()))
        answer = await self.courier.post(body, headers_of(event, self.secret.get(), timestamp, body))
        self._count(answer.outcome)
        if answer.outcome == "ok":
            # No await between the answer and this: a run that is cut off must not forget what was taken.
            outbox.taken(event)
            log.debug("hook.delivered", hook=name, event_id=event.id, kind=event.kind)
            return True
        if answer.outcome == "gone":
            self.gone = True
            detail = f"{answer.detail}; nothing is sent to it until a restart, and what happens waits for that"
            log.error("hook.gone", hook=name, event_id=event.id, kind=event.kind, detail=detail)
            return False
        pause = outbox.failed(event, context.clock.monotonic(), context.clock.random, unheard=answer.unheard)
        log.warning(
            "hook.failed",
            hook=name,
            event_id=event.id,
            kind=event.kind,
            reason=answer.outcome,
            detail=answer.detail,
            again_in_seconds=round(pause, 1),
        )
        return False

    async def _keep(self) -> None:
        if self._outbox is not None and self._outbox.place != self._kept:
            place = self._outbox.place
            await self.context.store.run(hooks.keep, self.settings.name, place)
            self._kept = place

    def _count(self, outcome: str, count: int = 1) -> None:
        self.context.metrics.hook_deliveries_total.labels(self.settings.name, outcome).inc(count)

    async def _tell(self, window: Window) -> None:
        """Set the gauges."""
        pending = self._at_work.pending(window.events)
        behind = await self._count_behind(window)
        age = (self.context.clock.now() - pending[0].at).total_seconds() if pending else 0.0
        self.context.metrics.hook_pending.labels(self.settings.name).set(len(pending) + behind)
        self.context.metrics.hook_oldest_age_seconds.labels(self.settings.name).set(max(0.0, age))

    async def _count_behind(self, window: Window) -> int:
        """How many events wait behind a full window. A long row of them is counted once in a while: it takes the store some time."""
        if len(window.events) < WINDOW:
            self._behind_until = -math.inf
            return 0
        now = self.context.clock.monotonic()
        if now >= self._behind_until:
            self._behind = await self.context.store.run(hooks.count, window.reach, self._at_work.patterns)
            self._behind_until = now + COUNTED_SECONDS
        return self._behind


def job_name(hook: str) -> str:
    """The name of a hook's job."""
    return f"hook-{hook}"

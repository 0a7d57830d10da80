"""The housekeeping job: retention, and whether the store still takes what is written to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from attrs import define, field

from shopperd.attempts import HOUR_SECONDS
from shopperd.jobs.context import Context, Report
from shopperd.jobs.hooks import HookJob
from shopperd.store import charges, destroys, events, instances, memory, prices, sessions

BATCH = 5000
"""Rows deleted in one transaction, so that a sweep never waits long behind a clean-up."""


@define
class HousekeepingJob:
    """Keeps the store small. Ids of sessions that are over stay as tombstones for ever.

    Attributes:
        hooks: those at work, which are told of events that go before they were sent.
    """

    context: Context
    hooks: Mapping[str, HookJob] = field(factory=dict)
    name: str = "housekeeping"
    account: str = ""
    must_finish: bool = False

    @property
    def interval(self) -> float:
        """Seconds from run to run."""
        return self.context.settings.jobs.housekeeping.interval

    @property
    def deadline(self) -> float:
        """Long; it works in small transactions."""
        return 1800.0

    async def run(self) -> Report:
        """Delete what is older than it has to be kept, batch by batch, and check the store."""
        store, rules, now = self.context.store, self.context.settings.store, self.context.clock.now()
        await store.check()
        # The limits of an hour count the destroy requests that are in the trail.
        before_events = now - timedelta(seconds=max(rules.keep_events, HOUR_SECONDS))
        # What is forgotten cannot come back, and counts in no limit any more.
        window = self.context.settings.sessions.resurrection_window
        before_sessions = now - timedelta(seconds=max(rules.keep_sessions, window, HOUR_SECONDS))
        pruned = 0
        while (gone := await store.run(events.prune, before_events, BATCH)) and not self.context.stopping:
            pruned += len(gone)
            for hook in self.hooks.values():
                hook.overtaken(gone)
        forgotten = 0
        while (count := await store.run(sessions.forget_ended, before_sessions, BATCH)) and not self.context.stopping:
            forgotten += count
        before_prices = now - timedelta(seconds=rules.keep_prices)
        while await store.run(prices.prune, before_prices, BATCH) and not self.context.stopping:
            pass
        before_costs = now - timedelta(seconds=rules.keep_costs)
        while await store.run(charges.prune, before_costs, BATCH) and not self.context.stopping:
            pass
        for query in (destroys.forget_gone, instances.forget_gone, memory.prune_spans):
            while await store.run(query, before_sessions, BATCH) and not self.context.stopping:
                pass
        return Report(f"pruned {pruned} events, put {forgotten} sessions to rest")

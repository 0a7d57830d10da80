"""Keeps what the limiters have learned in the store, so that a restart need not find it again by refusals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec
from attrs import define, field
from sqlalchemy import Connection

from shopperd.jobs.context import Context
from shopperd.providers.learned import Learned
from shopperd.store import meta

KEEP_EVERY = timedelta(minutes=1)
"""What was learned since then may be lost in a crash."""

RENEWED_EVERY = timedelta(days=1)
"""What stands still is written anew that often: it is in use, and must not be taken for old after a restart."""


def limits_key(account: str) -> str:
    """Where the store keeps an account's limits."""
    return f"limits.{account}"


@define(eq=False)
class KeptLimits:
    """What the store holds of the limiters, and what they should begin with."""

    context: Context
    _kept: dict[str, Learned] = field(factory=dict)

    async def read(self) -> None:
        """Take up what an earlier process has left. What cannot be read is worth nothing and is learned anew.

        Raises:
            StoreError: the store cannot be read.
        """
        self._kept = await self.context.store.run(kept, tuple(self.context.settings.accounts))

    def apply(self, account: str) -> None:
        """Have the limiter of an account that was just opened begin with what is known."""
        limiter = self.context.accounts[account].limiter
        if account in self._kept and limiter is not None:
            limiter.recall(self._kept[account])

    def note(self, account: str) -> None:
        """Remember what an account's limiter knows, before that goes."""
        self._news(account)

    async def keep(self, *, now: bool = False) -> None:
        """Write down what has changed, at most once in `KEEP_EVERY` unless it must be `now`.

        Raises:
            StoreError: the store cannot be written.
        """
        at = self.context.clock.now()
        news = {}
        for account in self.context.accounts:
            before = self._kept.get(account)
            if (now or before is None or abs(at - before.at) >= KEEP_EVERY) and (learned := self._news(account)):
                news[account] = learned
        if news:
            await self.context.store.run(keep, news)

    def _news(self, account: str) -> Learned | None:
        limiter = self.context.accounts[account].limiter
        learned = None if limiter is None else limiter.learned
        before = self._kept.get(account)
        if learned is None:
            return None
        if before is not None and before.layers == learned.layers and abs(learned.at - before.at) < RENEWED_EVERY:
            return None
        self._kept[account] = learned
        return learned


def kept(conn: Connection, accounts: tuple[str, ...]) -> dict[str, Learned]:
    """What the store holds for these accounts."""
    found = {}
    for account in accounts:
        try:
            found[account] = msgspec.convert(meta.get(conn, limits_key(account)), Learned)
        except msgspec.ValidationError:
            continue
    return found


def keep(conn: Connection, learned: Mapping[str, Learned]) -> None:
    """Write down what was learned."""
    for account, limits in learned.items():
        meta.put(conn, limits_key(account), limits)

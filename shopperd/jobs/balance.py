"""The balance job: how much money is left, where the provider tells it. An empty account stops all its machines."""

from __future__ import annotations

from attrs import define

from shopperd.jobs.context import AccountAtWork, Context, Report
from shopperd.providers.contract import AuthFailed, TellsBalance

INTERVAL_SECONDS = 600.0
"""Money goes by the hour; asking is paced together with single reads, which have better things to do."""


@define
class BalanceJob:
    """Keeps the balance of one account in a gauge. A key that may not read it is not asked with again."""

    context: Context
    at: AccountAtWork
    teller: TellsBalance
    name: str = "balance"
    must_finish: bool = False
    interval: float = INTERVAL_SECONDS
    deadline: float = INTERVAL_SECONDS
    _refused_key: str | None = None

    @property
    def account(self) -> str:
        """The account's name."""
        return self.at.name

    async def run(self) -> Report:
        """Ask, and show what was told."""
        key = self.at.key()
        if key == self._refused_key:
            return Report("the key may not read the balance")
        try:
            left = await self.teller.balance_usd()
        except AuthFailed as error:
            # Most keys have no need of that right, and each refusal counts as one of the key.
            self._refused_key = key
            self._forget()
            return Report(f"the key may not read the balance: {error}")
        if left is None:
            self._forget()
            return Report("the answer does not tell the balance")
        self.at.balance_usd = left
        self.context.metrics.account_balance_usd.labels(**self.at.labels).set(left)
        return Report(f"{left:.2f} USD are left")

    def _forget(self) -> None:
        """What is not known any more is not shown: the last figure would stand for ever."""
        self.at.balance_usd = None
        self.context.metrics.account_balance_usd.remove_by_labels(self.at.labels)

"""The balance job: what is left is told, and what is not known is not."""

import pytest

from shopperd.jobs.balance import BalanceJob
from shopperd.providers.contract import AuthFailed, Unclear
from tests.jobs.desk import Desk


class Teller:
    """Tells what it is given to tell."""

    def __init__(self) -> None:
        self.answer: float | Exception | None = 12.5
        self.asked = 0

    async def balance_usd(self) -> float | None:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def job(desk: Desk, teller: Teller) -> BalanceJob:
    return BalanceJob(desk.context, desk.at, teller)


def shown(desk: Desk) -> list[float]:
    return [sample.value for family in desk.context.metrics.account_balance_usd.collect() for sample in family.samples]


async def test_what_is_left_is_told(desk: Desk, job: BalanceJob) -> None:
    assert (await job.run()).sentence == "12.50 USD are left"
    assert shown(desk) == [12.5]
    assert desk.at.balance_usd == 12.5


async def test_what_an_answer_does_not_tell_is_not_zero(desk: Desk, job: BalanceJob, teller: Teller) -> None:
    await job.run()
    teller.answer = None
    assert (await job.run()).ok
    assert shown(desk) == []
    assert desk.at.balance_usd is None


async def test_a_key_without_that_right_is_asked_with_once_and_is_no_failure(
    desk: Desk, job: BalanceJob, teller: Teller
) -> None:
    teller.answer = AuthFailed("user_read is missing")
    assert "may not read" in (await job.run()).sentence
    assert (await job.run()).ok
    assert teller.asked == 1
    desk.at.key = lambda: "another"
    teller.answer = 3.0
    await job.run()
    assert shown(desk) == [3.0]


async def test_an_outage_leaves_the_last_figure_and_fails_the_run(desk: Desk, job: BalanceJob, teller: Teller) -> None:
    await job.run()
    teller.answer = Unclear("no answer", "timeout")
    with pytest.raises(Unclear):
        await job.run()
    assert shown(desk) == [12.5]

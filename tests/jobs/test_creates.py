"""Creates while the store takes nothing: the id of a machine is never in one place that can go away."""

import asyncio
import math
from pathlib import Path

import pytest
from attrs import evolve
from structlog.testing import capture_logs
from structlog.typing import EventDict

from shopperd.jobs.creates import CreatesJob
from shopperd.jobs.gauges import refresh_ages
from shopperd.jobs.recovery import recover
from shopperd.model import CreateOutcome, SessionState
from shopperd.offer_index import OfferIndex
from shopperd.providers.contract import CreatedInstance, CreateRequest
from shopperd.store import Spool, Store, StoreReadOnly
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.jobs.desk import ACCOUNT, Desk, Marketplace, make_desk


def gauge(desk: Desk, name: str) -> float:
    refresh_ages(desk.context)
    found = desk.context.metrics.registry.get_sample_value(f"shopperd_{name}")
    assert found is not None
    return found


def refuse_accepts(desk: Desk) -> None:
    """From a create's request on, its outcome is not taken."""
    desk.market.before_answer = lambda: desk.wilful.refuses.add("accept")


def break_the_spool(spool: Spool) -> None:
    """Have its disk take nothing."""

    def write(file: int, data: bytes, offset: int) -> None:
        raise OSError(30, "Read-only file system")

    spool._disk.write = write  # type: ignore[method-assign]


def mend_the_spool(spool: Spool) -> None:
    del spool._disk.write


async def create(desk: Desk) -> None:
    await CreatesJob(desk.context, desk.at).run()
    await desk.settle()


async def test_an_accepted_create_is_in_the_store_and_not_in_the_spool(desk: Desk, spool: Spool) -> None:
    session = desk.session(1)
    await create(desk)
    assert desk.told(session).instance_id == "900"
    assert spool.waiting == ()


async def test_a_senseless_price_keeps_no_id_from_being_recorded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Marketplace.create_instance

    async def senseless(market: Marketplace, request: CreateRequest) -> CreatedInstance:
        return evolve(await honest(market, request), price_per_hour=math.nan)

    monkeypatch.setattr(Marketplace, "create_instance", senseless)
    session = desk.session(1)
    await create(desk)
    told = desk.told(session)
    assert (told.instance_id, told.price_per_hour) == ("900", 0.4), "the offer's"


async def test_what_the_store_does_not_take_is_in_the_spool(desk: Desk, spool: Spool, tmp_path: Path) -> None:
    session = desk.session(1)
    refuse_accepts(desk)
    with capture_logs() as lines:
        await create(desk)
    (record,) = spool.waiting
    assert (record.session_id, record.instance_id, record.tag) == (session.id, "900", session.tag)
    assert (record.price_per_hour, record.gpu, record.at) == (0.42, "RTX 4090", desk.clock.now())
    assert gauge(desk, "store_spooled") == 1
    assert gauge(desk, "creates_unrecorded") == 0
    said = [line for line in lines if line["event"] == "create.spooled"]
    assert [(line["session"], line["instance"]) for line in said] == [(str(session.id), "900")]
    desk.market.machines.clear()
    spool.close()
    assert Spool.open(spool.path).waiting == (record,)


async def test_while_the_spool_holds_something_nothing_is_created(desk: Desk, spool: Spool) -> None:
    desk.session(1)
    refuse_accepts(desk)
    await create(desk)
    desk.wilful.refuses, desk.wilful.problem = {"recover_create"}, None
    desk.session(2)
    assert "accepted creates" in (await CreatesJob(desk.context, desk.at).run()).sentence
    assert "accepted creates" in desk.context.authority().no_right
    assert len(desk.market.creates) == 1
    desk.wilful.refuses.clear()
    await recover(desk.context)
    desk.market.before_answer = lambda: None
    desk.restock()
    await create(desk)
    assert len(desk.market.creates) == 2


async def test_while_the_store_has_a_problem_nothing_is_created(desk: Desk) -> None:
    desk.session(1)
    desk.wilful.refuses.add("begin")
    await create(desk)
    assert desk.market.creates == []
    desk.context.store.problem = StoreReadOnly("the store", "it can be read only")
    job = CreatesJob(desk.context, desk.at)
    wilful_run = desk.wilful.run

    async def read_only(function, *args, **kwargs):  # type: ignore[no-untyped-def]
        problem = desk.wilful.problem
        result = await wilful_run(function, *args, **kwargs)
        desk.wilful.problem = problem
        return result

    desk.wilful.run = read_only  # type: ignore[method-assign]
    report = await job.run()
    assert "1 creates wait" in report.sentence
    assert report.again_in_seconds is not None
    assert desk.market.creates == []


async def test_a_create_whose_turn_comes_while_the_store_has_a_problem_is_not_sent(desk: Desk, spool: Spool) -> None:
    first, second = desk.session(1), desk.session(2)
    refuse_accepts(desk)
    turns = desk.market.turns = {session.tag: asyncio.Event() for session in (first, second)}
    await CreatesJob(desk.context, desk.at).run()
    while len(desk.market.waiting) < 2:
        await asyncio.sleep(0)
    turns[first.tag].set()
    while not spool.waiting:
        await asyncio.sleep(0)
    turns[second.tag].set()
    await desk.settle()
    assert desk.market.creates == [first.tag]
    assert desk.told(second).create_outcome is CreateOutcome.NONE
    assert [event.session_id for event in desk.trail("create.withheld")] == [second.id]


async def test_a_freeze_while_the_store_takes_its_time_to_mark_a_create_sends_nothing(desk: Desk) -> None:
    session = desk.session(1)
    desk.freezes_during("begin")
    await CreatesJob(desk.context, desk.at).run()
    await desk.settle()
    assert desk.market.creates == []
    assert desk.told(session).create_outcome is CreateOutcome.NONE
    assert [event.session_id for event in desk.trail("create.withheld")] == [session.id]


async def test_what_neither_the_store_nor_the_spool_takes_is_said_and_tried_again(desk: Desk, spool: Spool) -> None:
    session = desk.session(1)
    refuse_accepts(desk)
    break_the_spool(spool)
    lines: list[EventDict]
    with capture_logs() as lines:
        await CreatesJob(desk.context, desk.at).run()
        while desk.clock.monotonic() < 10:
            await asyncio.sleep(0)
        assert gauge(desk, "creates_unrecorded") == 1
        assert gauge(desk, "store_spool_failures_total") >= 10
        assert "accepted creates" in desk.context.no_right or desk.context.store.problem is not None
        said = [line for line in lines if line["event"] == "create.not_recorded"]
        assert [(line["log_level"], line["session"], line["instance"]) for line in said] == [
            ("error", str(session.id), "900")
        ]
        desk.wilful.refuses.clear()
        await desk.settle()
    assert desk.told(session).instance_id == "900"
    assert gauge(desk, "creates_unrecorded") == 0


async def test_a_spool_that_is_well_again_takes_what_waited(desk: Desk, spool: Spool) -> None:
    desk.session(1)
    refuse_accepts(desk)
    break_the_spool(spool)
    await CreatesJob(desk.context, desk.at).run()
    while desk.clock.monotonic() < 3:
        await asyncio.sleep(0)
    assert not spool.waiting
    mend_the_spool(spool)
    await desk.settle()
    assert [record.instance_id for record in spool.waiting] == ["900"]


async def test_a_create_that_is_cut_off_while_the_store_is_silent_is_in_the_spool(desk: Desk, spool: Spool) -> None:
    desk.session(1)
    silent = asyncio.Event()
    run = desk.wilful.run

    async def hang(function, *args, **kwargs):  # type: ignore[no-untyped-def]
        if function.__name__ == "accept":
            silent.set()
            await asyncio.get_running_loop().create_future()
        return await run(function, *args, **kwargs)

    desk.wilful.run = hang  # type: ignore[method-assign]
    await CreatesJob(desk.context, desk.at).run()
    await silent.wait()
    for task in tuple(desk.context.in_flight):
        task.cancel()
    await desk.settle()
    assert [record.instance_id for record in spool.waiting] == ["900"]


async def test_what_the_store_cannot_be_given_for_a_fault_of_ours_is_in_the_spool(desk: Desk, spool: Spool) -> None:
    desk.session(1)
    desk.market.before_answer = lambda: desk.wilful.breaks.add("accept")
    await create(desk)
    assert [record.instance_id for record in spool.waiting] == ["900"]


async def test_without_a_spool_it_is_tried_until_the_store_takes_it(
    store: Store, clock: FakeClock, metrics: Metrics
) -> None:
    desk = make_desk(store, clock, metrics)
    session = desk.session(1)
    refuse_accepts(desk)
    await CreatesJob(desk.context, desk.at).run()
    while clock.monotonic() < 5:
        await asyncio.sleep(0)
    assert desk.told(session).state is SessionState.CREATING
    desk.wilful.refuses.clear()
    await desk.settle()
    assert desk.told(session).instance_id == "900"


async def test_an_outcome_that_rented_nothing_needs_no_spool(desk: Desk, spool: Spool) -> None:
    desk.at.market.index = OfferIndex()
    session = desk.session(1)
    desk.wilful.refuses.add("fail")
    await CreatesJob(desk.context, desk.at).run()
    while desk.clock.monotonic() < 5:
        await asyncio.sleep(0)
    assert spool.waiting == ()
    desk.wilful.refuses.clear()
    await desk.settle()
    assert desk.told(session).state is SessionState.FAILED


@pytest.mark.parametrize("job", ["status", "destroys"])
async def test_what_is_recovered_is_looked_at_soon(desk: Desk, job: str) -> None:
    desk.session(1)
    refuse_accepts(desk)
    await create(desk)
    desk.wilful.refuses.clear()
    desk.woken.clear()
    assert await recover(desk.context) == 1
    assert (job, ACCOUNT) in desk.woken

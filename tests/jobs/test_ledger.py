"""What machines cost is counted at each look, beside everything else and in no one's way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
import structlog
from attrs import evolve

from shopperd.jobs.ledger import count_turn
from shopperd.jobs.observer import look
from shopperd.jobs.status import StatusJob
from shopperd.model import (
    Charge,
    DestroyOrigin,
    InstanceState,
    OrphanKind,
    Ownership,
    SessionState,
    Snapshot,
    tag_of,
)
from shopperd.store import charges, instances
from tests.jobs.desk import ACCOUNT, Desk, Marketplace, machine

EVER = datetime.min.replace(tzinfo=UTC)
NOBODY = UUID(int=99, version=4)


def counted(desk: Desk) -> list[Charge]:
    return desk.store.run_sync(lambda conn: charges.between(conn, ACCOUNT, EVER, desk.clock.now()))


def usd(desk: Desk) -> float:
    now = desk.clock.now()
    return sum(charge.usd(EVER, now) for charge in counted(desk))


def spent(desk: Desk) -> float:
    value = desk.context.metrics.registry.get_sample_value("shopperd_spent_usd_total", desk.at.labels)
    return value or 0.0


async def watch(desk: Desk, seconds: float, every: float = 20.0) -> None:
    for _ in range(round(seconds / every)):
        desk.clock.advance(every)
        assert await look(desk.context, desk.at)


@pytest.fixture
async def rented(desk: Desk) -> Desk:
    """A desk with a machine for 3.60 USD per hour, a tenth of a cent per second, seen at once."""
    session = desk.session(1, SessionState.RUNNING, instance_id="7")
    desk.market.machines["7"] = machine("7", session.tag, price_per_hour=3.6, started_at=desk.clock.now())
    assert await look(desk.context, desk.at)
    return desk


async def test_a_machine_costs_its_price(rented: Desk) -> None:
    await watch(rented, 1000)
    assert [usd(rented), spent(rented)] == pytest.approx([1.0, 1.0])
    assert [charge.session_id for charge in counted(rented)] == [UUID(int=1, version=4)]


async def test_a_stopped_machine_costs_its_disk(rented: Desk) -> None:
    await watch(rented, 1000)
    running = rented.market.machines["7"]
    rented.market.machines["7"] = evolve(running, state=InstanceState.STOPPED, price_per_hour=0.036)
    await watch(rented, 1000)
    assert [usd(rented), spent(rented)] == pytest.approx([1.01, 1.01], abs=0.01)


def statements(desk: Desk) -> list[str]:
    """What is asked of the table of charges from now on."""
    asked: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if "charges" in statement:
            asked.append(statement)

    engine: Any = desk.store
    sa.event.listen(engine._engine, "before_cursor_execute", note)
    return asked


async def test_a_machine_that_changes_nothing_costs_no_write(rented: Desk) -> None:
    await watch(rented, 100)
    asked = statements(rented)
    await watch(rented, 100)
    assert asked == []


async def test_many_new_machines_are_asked_for_at_once(rented: Desk) -> None:
    await watch(rented, 100)
    rented.market.machines |= {str(number): machine(str(number)) for number in range(100, 400)}
    asked = statements(rented)
    await watch(rented, 20)
    assert [statement.split()[0] for statement in asked] == ["SELECT", "INSERT"]
    assert len(counted(rented)) == 301


async def test_a_machine_that_is_gone_costs_nothing_more(rented: Desk) -> None:
    await watch(rented, 1000)
    gone = rented.market.machines.pop("7")
    await watch(rented, 100)
    assert spent(rented) == pytest.approx(1.0)
    rented.market.machines["7"] = gone
    await watch(rented, 20)
    assert [usd(rented), spent(rented)] == pytest.approx([1.12, 1.12]), "it was missed by mistake"


async def test_a_machine_that_comes_back_at_another_price_was_there_all_the_time(rented: Desk) -> None:
    await watch(rented, 1000)
    gone = rented.market.machines.pop("7")
    await watch(rented, 100)
    rented.market.machines["7"] = evolve(gone, price_per_hour=7.2)
    await watch(rented, 20)
    assert [usd(rented), spent(rented)] == pytest.approx([1.13, 1.13])


async def test_a_price_that_is_known_late_counts_from_the_beginning(desk: Desk) -> None:
    assert await look(desk.context, desk.at)
    session = desk.session(1, SessionState.RUNNING, instance_id="7")
    unpriced = machine("7", session.tag, price_per_hour=None, started_at=desk.clock.now())
    desk.market.machines["7"] = evolve(unpriced, state=InstanceState.STARTING)
    await watch(desk, 260)
    desk.market.machines["7"] = unpriced
    await watch(desk, 240)
    labels = desk.at.labels
    assert desk.context.metrics.registry.get_sample_value("shopperd_unpriced_instances", labels) == 1
    desk.market.machines["7"] = evolve(unpriced, price_per_hour=3.6)
    await watch(desk, 500)
    assert [usd(desk), spent(desk)] == pytest.approx([1.0, 1.0])
    assert desk.context.metrics.registry.get_sample_value("shopperd_unpriced_instances", labels) == 0


async def test_the_time_that_a_daemon_was_down_is_made_up_for_and_told_as_an_estimate(rented: Desk) -> None:
    await watch(rented, 1000)
    rented.clock.advance(8980)
    await watch(rented, 40)
    assert [usd(rented), spent(rented)] == pytest.approx([10.02, 10.02])
    assert [charge.estimated for charge in counted(rented)] == [False, True, False]


async def test_a_clock_that_is_set_back_during_a_listing_adds_nothing(
    rented: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watch(rented, 1000)
    honest = Marketplace.list_all_instances
    rented.clock.jump(86400.0)

    async def hearing_the_time(market: Marketplace) -> Snapshot:
        snapshot = await honest(market)
        rented.clock.advance(1.0)
        rented.clock.jump(-86400.0)
        return evolve(snapshot, ended_at=rented.clock.now())

    monkeypatch.setattr(Marketplace, "list_all_instances", hearing_the_time)
    seen = await look(rented.context, rented.at)
    assert seen is not None
    assert (seen.snapshot.ended_at - seen.snapshot.started_at).total_seconds() == 1.0
    monkeypatch.undo()
    await watch(rented, 1000)
    assert [usd(rented), spent(rented)] == pytest.approx([2.0, 2.0], abs=0.01)


async def test_what_a_clock_that_was_ahead_began_to_count_goes_on_when_it_is_put_back(rented: Desk) -> None:
    await watch(rented, 100)
    rented.clock.jump(-86400.0)
    await watch(rented, 1000)
    assert usd(rented) == pytest.approx(1.0, abs=0.15)
    assert spent(rented) == pytest.approx(1.1, abs=0.05)
    rented.market.machines["8"] = machine("8", price_per_hour=3.6, started_at=rented.clock.now())
    await watch(rented, 1000)
    assert usd(rented) == pytest.approx(3.0, abs=0.2), "and so does what is new"


async def test_a_mistake_in_counting_keeps_no_snapshot_from_being_recorded(rented: Desk) -> None:
    rented.wilful.breaks.add("record_costs")
    rented.market.machines["8"] = machine("8")
    await watch(rented, 100)
    assert rented.at.instances == 2
    rented.wilful.breaks.clear()
    await watch(rented, 20)
    assert usd(rented) > 0.12, "the next look makes up for it"
    assert spent(rented) == pytest.approx(usd(rented))


@pytest.mark.parametrize(
    ("damage", "left_out"),
    [
        ("state = 'humming'", 0.1),
        ("state = CAST(X'6DFF' AS TEXT)", 0.1),
        ("instance_id = CAST(X'37FF' AS TEXT)", 0.0),  # nobody knows whose it was, so that one counts from its start
    ],
)
async def test_a_damaged_charge_is_told_and_costs_itself_alone(rented: Desk, damage: str, left_out: float) -> None:
    rented.market.machines["8"] = machine("8", price_per_hour=3.6, started_at=rented.clock.now())
    await watch(rented, 100)
    spoil = f"UPDATE charges SET {damage} WHERE instance_id = '7'"  # noqa: S608 - words of ours
    rented.store.run_sync(lambda conn: conn.exec_driver_sql(spoil).close())
    with pytest.raises(ValueError, match="forgotten"):
        rented.store.run_sync(_fail)
    with structlog.testing.capture_logs() as logs:
        await watch(rented, 20)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["charge.unreadable"]
    assert (rented.at.instances, rented.store.problem, rented.context.no_right) == (2, None, "")
    labels = rented.at.labels
    assert rented.context.metrics.registry.get_sample_value("shopperd_unreadable_charges", labels) == 1
    await watch(rented, 100)
    assert usd(rented) == pytest.approx(0.44 - left_out), "and its machine is counted anew from the look before"
    twice = 0.1 - left_out
    assert spent(rented) == pytest.approx(0.44 + twice), (
        "what was counted stays counted, once where its machine is known"
    )


async def test_a_price_that_is_read_after_a_turn_counts_since_the_turn(rented: Desk) -> None:
    await watch(rented, 1000)
    running = rented.market.machines["7"]
    stopped = evolve(running, state=InstanceState.STOPPED)
    rented.market.machines["7"] = stopped
    rented.clock.advance(1980)
    await watch(rented, 20)
    told = evolve(stopped, billed_per_hour=0.036)
    rented.market.machines["7"] = told
    await count_turn(rented.context, rented.at, told)
    assert usd(rented) == pytest.approx(1.0 + 1.0 + 0.01), "half of the time that nobody looked it still ran"
    await watch(rented, 1000)
    assert usd(rented) == pytest.approx(2.02)
    await watch(rented, 200_000, every=1000)
    assert spent(rented) == pytest.approx(usd(rented)), "what was counted too much is taken off what comes"


def leaked(desk: Desk) -> float:
    value = desk.context.metrics.registry.get_sample_value("shopperd_leaked_usd_total", desk.at.labels)
    return value or 0.0


@pytest.fixture
async def forgotten(rented: Desk) -> Desk:
    """Beside the machine that is rented, one with our tag that nobody knows, for as much."""
    rented.market.machines["8"] = machine("8", tag_of(NOBODY), price_per_hour=3.6, started_at=rented.clock.now())
    await watch(rented, 20)
    return rented


async def test_an_orphan_that_stands_leaks_from_when_it_was_first_seen(forgotten: Desk) -> None:
    assert leaked(forgotten) == 0.0
    await watch(forgotten, 1000)
    assert leaked(forgotten) == pytest.approx(1.0)
    assert spent(forgotten) == pytest.approx(2.04)


async def test_a_machine_that_is_claimed_leaks_nothing(rented: Desk) -> None:
    await watch(rented, 1000)
    assert leaked(rented) == 0.0


async def test_an_orphan_leaks_what_it_is_billed_in_its_state(forgotten: Desk) -> None:
    await watch(forgotten, 1000)
    running = forgotten.market.machines["8"]
    forgotten.market.machines["8"] = evolve(running, state=InstanceState.STOPPED, billed_per_hour=0.36)
    await watch(forgotten, 1000)
    assert leaked(forgotten) == pytest.approx(1.1, abs=0.01)


async def test_what_an_orphan_leaked_before_it_was_adopted_stays_counted_and_nothing_comes_after(
    forgotten: Desk,
) -> None:
    await watch(forgotten, 1000)
    session = forgotten.session(2, SessionState.RUNNING, instance_id="8")
    forgotten.market.machines["8"] = evolve(
        forgotten.market.machines["8"], tag=session.tag, session_id=session.id, ownership=Ownership.OURS
    )
    await watch(forgotten, 1000)
    assert leaked(forgotten) == pytest.approx(1.0)


async def test_an_orphan_that_somebody_exempts_leaks_no_more_until_that_ends(forgotten: Desk) -> None:
    await watch(forgotten, 1000)
    forgotten.store.run_sync(instances.set_exempt, ACCOUNT, "8", True)
    await watch(forgotten, 1000)
    assert leaked(forgotten) == pytest.approx(1.0)
    forgotten.store.run_sync(instances.set_exempt, ACCOUNT, "8", False)
    await watch(forgotten, 1000)
    assert leaked(forgotten) == pytest.approx(2.0)


async def test_an_orphan_leaks_on_while_the_daemon_is_down(forgotten: Desk) -> None:
    await watch(forgotten, 1000)
    forgotten.clock.advance(8980)
    await watch(forgotten, 20)
    assert leaked(forgotten) == pytest.approx(10.0)


async def test_an_orphan_that_listings_miss_for_a_while_has_leaked_all_the_time(forgotten: Desk) -> None:
    await watch(forgotten, 1000)
    missed = forgotten.market.machines.pop("8")
    await watch(forgotten, 100)
    assert leaked(forgotten) == pytest.approx(1.0)
    forgotten.market.machines["8"] = missed
    await watch(forgotten, 20)
    assert leaked(forgotten) == pytest.approx(1.12)


async def test_an_orphan_that_is_gone_has_leaked_until_its_end_and_was_there_since_its_first_sight(
    forgotten: Desk,
) -> None:
    await watch(forgotten, 1000)
    forgotten.ask("8", origin=DestroyOrigin.VERDICT, kind=OrphanKind.UNKNOWN)
    del forgotten.market.machines["8"]
    job = StatusJob(forgotten.context, forgotten.at)
    for _ in range(5):
        forgotten.clock.advance(20)
        await job.run()
    assert leaked(forgotten) == pytest.approx(1.01), "half of the time until it was missed"
    labels = {**forgotten.at.labels, "kind": "unknown"}
    took = forgotten.context.metrics.registry.get_sample_value("shopperd_orphan_cleanup_duration_seconds_sum", labels)
    assert took == 1060.0


def _fail(_: sa.Connection) -> None:
    raise ValueError("what is kept of the store is forgotten after a failure")

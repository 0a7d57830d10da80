"""A listing is read and recorded, unless it may be of another account than the one that is known."""

import math
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from shopperd.control import Control
from shopperd.decisions import NotFound
from shopperd.jobs.knowledge import load
from shopperd.jobs.observer import look
from shopperd.model import SessionState
from shopperd.rest import NO_REST
from shopperd.store import Conflict, instances, memory, sessions
from tests.jobs.desk import ACCOUNT, Desk, machine


@pytest.fixture
def watched(desk: Desk) -> Desk:
    """A desk with a running session, on a machine that its first key shows."""
    use(desk, "first")
    session = desk.session(1, SessionState.RUNNING, instance_id="7")
    desk.market.machines["7"] = machine("7", session.tag)
    return desk


def use(desk: Desk, key: str) -> None:
    """Have other credentials in force, in a process that was just started."""
    desk.at.key = lambda: key
    desk.at.recognised = None


def known(desk: Desk) -> Any:
    return desk.store.run_sync(load, desk.at.settings, desk.context.settings, desk.clock.now())


async def test_credentials_that_show_another_account_prove_nothing(watched: Desk) -> None:
    assert await look(watched.context, watched.at)
    use(watched, "second")
    before = known(watched)
    for machines in ({}, {"8": machine("8")}):
        watched.market.machines = machines
        watched.clock.advance(60)
        for _ in range(9):
            assert await look(watched.context, watched.at) is None
    assert watched.at.problem == "another_account"
    assert "shopperd trust main" in watched.at.detail
    assert known(watched) == before


async def test_new_credentials_that_show_a_known_machine_are_the_account_s(watched: Desk) -> None:
    first = await look(watched.context, watched.at)
    assert first is not None
    use(watched, "second")
    watched.market.machines["8"] = machine("8")
    assert await look(watched.context, watched.at)
    assert watched.at.problem == ""
    assert [event.kind for event in watched.trail("account.recognised")] == ["account.recognised"]
    del watched.market.machines["7"]
    assert await look(watched.context, watched.at), "once recognised, they may show whatever there is"
    use(watched, "second")
    watched.market.machines.clear()
    assert await look(watched.context, watched.at), "after a restart, too"


async def test_a_person_can_say_that_they_are_right(watched: Desk) -> None:
    await look(watched.context, watched.at)
    use(watched, "second")
    watched.market.machines = {"8": machine("8")}
    assert await look(watched.context, watched.at) is None
    await Control(watched.context).trust(ACCOUNT, "the old team is gone")
    assert await look(watched.context, watched.at)
    assert known(watched).tracks["7"].absences == 1
    assert [event.message for event in watched.trail("account.trusted")] == ["the old team is gone"]
    with pytest.raises(NotFound):
        await Control(watched.context).trust("nobody", "why not")


async def test_where_no_machine_is_known_the_memory_of_the_account_begins_with_new_credentials(watched: Desk) -> None:
    desk = watched
    desk.market.machines.clear()
    desk.store.run_sync(memory.wake, desk.clock.now())
    await look(desk.context, desk.at)
    desk.clock.advance(3600)
    desk.store.run_sync(memory.beat, desk.clock.now(), 1e9)
    (span,) = known(desk).spans
    use(desk, "second")
    assert await look(desk.context, desk.at)
    assert known(desk).spans == [evolve(span, started_at=span.started_at + timedelta(hours=1))]


async def at_rest(desk: Desk, looks: int = 6) -> None:
    for _ in range(looks):
        desk.clock.advance(60)
        await look(desk.context, desk.at)
    assert known(desk).rest.machines.keys() == {"7"}


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, -0.5])
async def test_a_senseless_price_is_not_known_and_keeps_no_machine_from_being_seen(watched: Desk, price: float) -> None:
    watched.market.machines |= {"8": machine("8", price_per_hour=price), "9": machine("9", billed_per_hour=price)}
    with capture_logs() as logs:
        assert await look(watched.context, watched.at)
    assert [entry["count"] for entry in logs if entry["event"] == "price.senseless"] == [2]
    known = watched.store.run_sync(instances.tracks, ACCOUNT)
    assert (known["8"].instance.price_per_hour, known["9"].instance.rate_per_hour) == (None, 0.5)


async def test_a_machine_comes_to_rest_and_stays_so_from_one_look_to_the_next(watched: Desk) -> None:
    await at_rest(watched)
    before = known(watched).rest
    await at_rest(watched, looks=1)
    assert known(watched).rest.machines["7"] is before.machines["7"]


async def test_a_session_that_is_ended_does_not_rest(watched: Desk) -> None:
    await at_rest(watched)
    (session,) = known(watched).sessions.values()
    await Control(watched.context).end(session.id, "no longer needed")
    watched.clock.advance(60)
    await look(watched.context, watched.at)
    assert not known(watched).rest.machines


async def test_whatever_makes_the_store_forget_what_it_read_makes_it_forget_what_rests(watched: Desk) -> None:
    await at_rest(watched)
    (session,) = known(watched).sessions.values()
    with pytest.raises(Conflict):
        watched.store.run_sync(sessions.insert, session)
    assert known(watched).rest is NO_REST


async def test_another_session_disturbs_no_rest(watched: Desk) -> None:
    await at_rest(watched)
    before = known(watched).rest.machines["7"]
    watched.session(2)
    watched.clock.advance(60)
    await look(watched.context, watched.at)
    assert known(watched).rest.machines["7"] is before

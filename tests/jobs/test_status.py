"""What a listing does not tell is read machine by machine, and not more often than it helps."""

from attrs import evolve

from shopperd.jobs.status import StatusJob
from shopperd.model import InstanceState, SessionState, Snapshot
from shopperd.store import instances
from tests.jobs.desk import ACCOUNT, Desk, Marketplace, machine


class Terse(Marketplace):
    """Its listings tell no price, and a state in capitals."""

    async def list_all_instances(self) -> Snapshot:
        whole = await super().list_all_instances()
        told = [
            evolve(row, price_per_hour=None, billed_per_hour=None, provider_state=str(row.state).upper())
            for row in whole.instances
        ]
        return evolve(whole, instances=tuple(told))


async def test_a_machine_that_was_stopped_while_the_daemon_was_down_is_read_once_after_its_start(desk: Desk) -> None:
    market = Terse(desk.clock)
    desk.at.provider = market
    session = desk.session(1, SessionState.RUNNING, instance_id="7")
    running = machine("7", session.tag, price_per_hour=3.6, provider_state="RUNNING")
    market.machines["7"] = running
    await StatusJob(desk.context, desk.at).run()
    for billed in (0.036, 3.6):
        stopped = evolve(running, state=InstanceState.STOPPED, provider_state="STOPPED", billed_per_hour=billed)
        market.machines["7"] = stopped
        market.looks.clear()
        desk.clock.advance(3600)
        job = StatusJob(desk.context, desk.at)
        for _ in range(10):
            desk.clock.advance(20)
            await job.run()
        assert len(market.looks) == 1
        (track,) = desk.store.run_sync(instances.tracks, ACCOUNT).values()
        assert track.instance.rate_per_hour == billed
        market.machines["7"] = running
        await job.run()


async def test_a_machine_that_runs_as_before_is_not_read_again_after_a_start(desk: Desk) -> None:
    market = Terse(desk.clock)
    desk.at.provider = market
    session = desk.session(1, SessionState.RUNNING, instance_id="7")
    market.machines["7"] = machine("7", session.tag, price_per_hour=3.6, provider_state="RUNNING")
    for _ in range(3):
        desk.clock.advance(20)
        await StatusJob(desk.context, desk.at).run()
    assert len(market.looks) == 1


async def test_a_machine_whose_single_read_calls_its_state_otherwise_is_read_less_and_less(desk: Desk) -> None:
    market = Terse(desk.clock)
    desk.at.provider = market
    session = desk.session(1, SessionState.RUNNING, instance_id="7")
    running = machine("7", session.tag, price_per_hour=3.6, provider_state="running")
    market.machines["7"] = running
    job = StatusJob(desk.context, desk.at)
    for _ in range(3):
        desk.clock.advance(20)
        await job.run()
    assert len(market.looks) == 1, "then its price is known"
    market.machines["7"] = evolve(running, state=InstanceState.STOPPED, provider_state="stopped")
    for _ in range(100):
        desk.clock.advance(20)
        await job.run()
    assert len(market.looks) < 15

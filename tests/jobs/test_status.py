"""What a listing does not tell is read machine by machine, and not more often than it helps."""

from attrs import evolve

from shopperd.jobs.status import StatusJob
from shopperd.model import InstanceState, SessionState, Snapshot
from tests.jobs.desk import Desk, Marketplace, machine


class Terse(Marketplace):
    """Its listings tell no price, and a state in capitals."""

    async def list_all_instances(self) -> Snapshot:
        whole = await super().list_all_instances()
        told = [evolve(row, price_per_hour=None, provider_state=str(row.state).upper()) for row in whole.instances]
        return evolve(whole, instances=tuple(told))


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

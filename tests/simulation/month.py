"""A month of renting in virtual time: what shopperd counts, beside the bill that the marketplaces write from their own state.

`python -m tests.simulation.month --days 30 --seed 0` prints both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from datetime import UTC, datetime
from unittest import mock

from attrs import evolve, frozen

from shopperd import daemon
from shopperd.simulator import WorldSettings
from shopperd.simulator.instances import Instance, Phase
from shopperd.store import charges
from tests.simulation.hearing import silenced
from tests.simulation.house import House
from tests.simulation.loop import run
from tests.simulation.people import People
from tests.simulation.schedules import Step
from tests.simulation.shapes import DOCK, PROVIDERS, VAST, Shape

HOUR, DAY = 3600.0, 86_400.0
MACHINES_MAX = 8
"""So many are rented at a time, in each account."""
BEAT_SECONDS = 60.0
"""The heartbeats of a month, at their usual pace, would take longer than all the rest of it."""

_WEIGHTS = {
    "create": 30,
    "end": 18,
    "stop": 8,
    "start": 10,
    "price": 4,
    "orphan": 4,
    "host_lost": 1,
    "restart": 4,
    "crash": 3,
    "away": 1,
}
"""What happens how often, compared with one another; something does every hour and a half."""
_EVERY_SECONDS = 1.5 * HOUR


@frozen
class MonthShape(Shape):
    """Two accounts that are looked at every five minutes, with machines that take a few minutes to come up."""

    accounts: tuple[str, ...] = (VAST, DOCK)
    exclusive: tuple[str, ...] = (VAST, DOCK)
    sweep: float = 900.0
    boot: float = 180.0

    def world(self, seed: int) -> WorldSettings:
        """Rich enough that nobody runs out of money."""
        return evolve(super().world(seed), offers=60, nodes=12, credit=1e6)


@frozen
class Bill:
    """One account: what was counted, and what was billed.

    Attributes:
        estimated: the part of what was counted that nobody looked at.
        metric: what the counters of all processes add up to.
    """

    account: str
    counted: float
    billed: float
    estimated: float
    metric: float
    rows: int

    @property
    def error(self) -> float:
        """As a share of the bill."""
        return abs(self.counted - self.billed) / self.billed

    def __str__(self) -> str:
        return (
            f"{self.account}: counted {self.counted:.2f} USD ({self.estimated:.2f} of it estimated, {self.rows} rows), "
            f"billed {self.billed:.2f}, off by {self.error:.3%}; counters {self.metric:.2f}"
        )


@frozen
class Month:
    """How it went."""

    bills: tuple[Bill, ...]
    happened: dict[str, int]
    lives: int
    crashes: tuple[str, ...]


def live(days: float, seed: int = 0) -> Month:
    """Let that many days go by."""
    house = House.build(seed, MonthShape())
    happened: dict[str, int] = {}
    with silenced(house.ledger), mock.patch.object(daemon, "BEAT_SECONDS", BEAT_SECONDS):
        bills = run(lambda: _live(house, days, happened))
    house.store.close_sync()
    return Month(bills, happened, len(house.ledger.lives), tuple(house.ledger.crashes))


async def _live(house: House, days: float, happened: dict[str, int]) -> tuple[Bill, ...]:
    rng = random.Random(f"month {house.seed}")
    people = People(house, rng)
    await people.begin()
    end, number = days * DAY, 0
    metric = dict.fromkeys(house.shape.accounts, 0.0)
    while True:
        await asyncio.sleep(min(rng.expovariate(1 / _EVERY_SECONDS), end - _now()))
        if _now() >= end:
            break
        number += 1
        kind = rng.choices([*_WEIGHTS], [*_WEIGHTS.values()])[0]
        if kind in ("restart", "crash", "away"):
            _add_counters(house, metric)
        if await _happen(house, people, rng, kind, number):
            happened[kind] = happened.get(kind, 0) + 1
        house.ledger.sent.clear()
        house.ledger.runs.clear()
    people.leave()
    while house.life is None or not house.life.ready:
        await asyncio.sleep(60)
    await asyncio.sleep(house.settings.jobs.status.interval * 2)
    house.world.advance_to(house.epoch())
    _add_counters(house, metric)
    return tuple(_bill(house, account, metric[account]) for account in house.shape.accounts)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _happen(house: House, people: People, rng: random.Random, kind: str, number: int) -> bool:
    """Have one thing happen; False if there was nothing that it could happen to."""
    house.world.advance_to(house.epoch())
    account = rng.choice(house.shape.accounts)
    truth = house.world.truth
    there = truth.existing(PROVIDERS[account])
    alive = [key for key, one in people.asked.items() if one.session_id and one.ended_at is None]
    match kind:
        case "create" if len(there) < MACHINES_MAX:
            await people.do(
                Step(0, "create", {"key": str(number), "account": account, "lifetime": rng.uniform(2, 96) * HOUR})
            )
        case "end" if alive:
            await people.do(Step(0, "end", {"key": rng.choice(alive)}))
        case "stop" if found := _in(there, house, Phase.RUNNING):
            # Only TensorDock gives the GPU of a stopped machine to others.
            truth.stop(rng.choice(found), release=account == DOCK and rng.random() < 0.5)
        case "start" if found := _in(there, house, Phase.STOPPED, Phase.RELEASED):
            return truth.start(rng.choice(found))
        case "price" if truth.existing("vastai"):
            house.switch_on(name="machine_price_changes", provider="vastai", factor=rng.choice((0.5, 0.8, 1.3, 2.0)))
        case "orphan":
            await people.do(Step(0, "appear", {"account": account, "tag": "unknown", "age": 0.0}))
        case "host_lost" if _in(truth.existing("vastai"), house, Phase.RUNNING):
            fault = house.world.switch_on(name="host_lost", provider="vastai")
            asyncio.get_running_loop().call_later(rng.uniform(0.5, 6) * HOUR, _switch_off, house, fault.id)
        case "restart":
            await people.do(Step(0, "restart", {"down": rng.uniform(5, 60)}))
        case "crash":
            await people.do(Step(0, "crash", {"down": rng.uniform(30, 300), "boundaries": rng.randint(1, 50)}))
        case "away":
            await people.do(Step(0, "restart", {"down": rng.uniform(1, 4) * HOUR}))
        case _:
            return False
    return True


def _switch_off(house: House, fault_id: str) -> None:
    house.world.advance_to(house.epoch())
    house.world.switch_off(fault_id)


def _in(machines: list[Instance], house: House, *phases: Phase) -> list[Instance]:
    return [machine for machine in machines if machine.at(house.world.truth.now).phase in phases]


def _add_counters(house: House, metric: dict[str, float]) -> None:
    """Take what the process has counted so far, and begin anew."""
    if house.life is None:
        return
    for family in house.life.metrics.spent_usd_total.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                metric[sample.labels["account"]] += sample.value
    house.life.metrics.spent_usd_total.clear()


def _bill(house: House, account: str, metric: float) -> Bill:
    begin, now = datetime.min.replace(tzinfo=UTC), datetime.fromtimestamp(house.wall(), UTC)
    rows = house.store.run_sync(lambda conn: charges.between(conn, account, begin, now))
    return Bill(
        account,
        counted=sum(row.usd(begin, now) for row in rows),
        billed=house.world.truth.billed(PROVIDERS[account]),
        estimated=sum(row.usd(begin, now) for row in rows if row.estimated),
        metric=metric,
        rows=len(rows),
    )


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.month", description=__doc__)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    month = live(asked.days, asked.seed)
    told = {"days": asked.days, "lives": month.lives, "happened": month.happened, "crashes": month.crashes}
    sys.stdout.write(json.dumps(told) + "\n")
    for bill in month.bills:
        sys.stdout.write(f"{bill}\n")


if __name__ == "__main__":
    main()

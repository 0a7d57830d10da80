"""Plays a schedule: safety phase, healing, progress phase; and gives the ledger to be judged."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import Iterator

from shopperd.daemon import lease_seconds
from shopperd.reconcile import published_bound_seconds
from shopperd.settings import Settings
from tests.simulation.hearing import silenced
from tests.simulation.house import House
from tests.simulation.ledger import Ledger
from tests.simulation.loop import run
from tests.simulation.oracles import LASTING
from tests.simulation.people import People
from tests.simulation.schedules import Schedule

LISTING_SECONDS = 10.0
SPACING_SECONDS_USUAL = 6.0
CALLS_WHILE_SLOW = 200
"""As many as an account may have to make until two single reads have had their turn."""


def calm_seconds(settings: Settings) -> float:
    """So long it must have been right in the end: long enough for every job to have run."""
    return 2.2 * settings.jobs.sweep.interval + 2.0


def bound_seconds(settings: Settings, orphans: int, spacing: float, *, shared: bool) -> float:
    """By when all must be well after healing: the published bound, and what may come before its clock starts.

    An open create is looked for until its deadline, a fleet that jumped is held until it has settled, a destroy that
    failed is tried again after its longest pause. Who was refused for the frequency of its calls makes them with the
    `spacing` that it learned, in seconds, and a single read may then wait behind many listings. On a `shared` store a
    process waits for the right of one that died.
    """
    rules, sweep = settings.orphans, settings.jobs.sweep.interval
    jumped = rules.grace + rules.sightings * sweep
    total = published_bound_seconds(settings, place=max(1, orphans), listing=LISTING_SECONDS)
    total += settings.sessions.create_deadline + 2 * jumped + settings.destroys.retry_max + 3 * sweep + 30.0
    per_sweep = rules.max_destroys_per_sweep
    if shared:
        total += 3 * lease_seconds(settings)
    if spacing > SPACING_SECONDS_USUAL:
        total += CALLS_WHILE_SLOW * spacing
    return total + sweep * (orphans // per_sweep)


def play(schedule: Schedule) -> Ledger:
    """The ledger of a schedule, to be judged."""
    house = House.build(schedule.seed, schedule.shape)
    with silenced(house.ledger), _garbage_left():
        run(lambda: _play(house, schedule))
    return house.ledger


@contextlib.contextmanager
def _garbage_left() -> Iterator[None]:
    """Nobody looks for garbage meanwhile, which would take an eighth of the time: a few minutes leave little."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def _play(house: House, schedule: Schedule) -> None:
    people = People(house, random.Random(f"people {schedule.seed}"))
    house.cut_at = schedule.cut_at
    await people.begin()
    for step in schedule.steps:
        await _sleep_until(step.at)
        await people.do(step)
    await _sleep_until(schedule.safety_seconds)
    await heal(house, people)
    people.leave()
    house.close()


async def heal(house: House, people: People) -> None:
    """End every fault and wait until all is well and stays so, at the latest until the bound."""
    ledger, settings = house.ledger, house.settings
    house.world.advance_to(house.epoch())
    house.world.switch_off()
    house.healing = True
    await people.alone()
    await people.finish()
    ledger.healed_at = house.epoch()
    orphans = sum(machine["destroyed_at"] is None for machine in house.world.state()["instances"])
    latest = house.epoch() + bound_seconds(settings, orphans, house.spacing(), shared=house.shape.shared)
    well_since: float | None = None
    while (now := house.epoch()) < latest:
        house.take_stock()
        if any(True for oracle in LASTING for _ in oracle(ledger)):
            well_since = None
        else:
            well_since = well_since or now
            ledger.well_at = well_since
            if now - well_since >= calm_seconds(settings):
                return
        await asyncio.sleep(settings.jobs.sweep.interval / 2)


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))

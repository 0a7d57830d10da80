"""Plays a schedule: safety phase, healing, progress phase; and gives the ledger to be judged."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any
from uuid import UUID

from shopperd.control import RequestError, Wish
from shopperd.model import Spec, tag_of
from shopperd.reconcile import published_bound_seconds
from shopperd.settings import Settings
from tests.simulation.house import SSH_KEY, CutError, House, Life, asked_of, silenced
from tests.simulation.ledger import Asked, Ledger
from tests.simulation.loop import run
from tests.simulation.oracles import belief_is_truth, no_leak, one_per_intent
from tests.simulation.schedules import Schedule, Step

MARKET_PATIENCE_SECONDS = 600.0
SLACK_SECONDS = 300.0
"""Beyond the sum of the bounds: the rest of an interval, a backoff, a late effect."""
CALM_SECONDS = 150.0
"""So long it must have been right in the end: long enough for every job to have run, and for late effects."""
LOOK_SECONDS = 30.0
LASTING = (no_leak, one_per_intent, belief_is_truth)
"""The oracles that a healed world must satisfy, now and from then on."""


def bound_seconds(settings: Settings, orphans: int) -> float:
    """By when all must be well after healing: the published bound, and what may come before its clock starts.

    An open create is looked for until its deadline, a fleet that jumped is held until it has settled, a destroy that
    failed is tried again after its longest pause, and the limit of an hour lets so many pass.
    """
    rules = settings.orphans
    jumped = rules.grace + rules.sightings * settings.jobs.sweep.interval
    total = published_bound_seconds(settings, place=max(1, orphans), listing=30.0)
    total += settings.sessions.create_deadline + jumped + settings.destroys.retry_stuck + SLACK_SECONDS
    per_sweep = rules.max_destroys_per_sweep
    if rules.max_share_per_hour < 1.0:
        # What was carried out in the safety phase counts towards the first hour.
        total += 3600.0 * (1 + orphans // per_sweep)
    return total + settings.jobs.sweep.interval * (orphans // per_sweep)


def play(schedule: Schedule) -> Ledger:
    """The ledger of a schedule, to be judged."""
    house = House.build(schedule.seed, schedule.settings, schedule.world)
    with silenced(house.ledger.crashes):
        run(lambda: _play(house, schedule))
    return house.ledger


async def _play(house: House, schedule: Schedule) -> None:
    people = People(house, random.Random(f"people {schedule.seed}"))
    await house.begin(cut_in=schedule.first_cut)
    watch = asyncio.get_running_loop().create_task(people.restarts())
    for step in schedule.steps:
        await _sleep_until(step.at)
        await people.do(step)
    await _sleep_until(schedule.safety_seconds)
    await heal(house, people)
    watch.cancel()
    house.close()


async def heal(house: House, people: People) -> None:
    """End every fault and wait until all is well and stays so, at the latest until the bound."""
    house.world.advance_to(house.epoch())
    house.world.switch_off()
    people.crashing, house.healing = False, True
    if house.life is not None:
        house.cut(None)
    await people.finish()
    house.ledger.healed_at = house.epoch()
    orphans = sum(machine["destroyed_at"] is None for machine in house.world.state()["instances"])
    latest = house.epoch() + bound_seconds(house.settings, orphans)
    well_since: float | None = None
    while (now := house.epoch()) < latest:
        house.take_stock()
        if any(True for oracle in LASTING for _ in oracle(house.ledger)):
            well_since = None
        else:
            well_since = well_since or now
            house.ledger.well_at = well_since
            if now - well_since >= CALM_SECONDS:
                return
        await asyncio.sleep(LOOK_SECONDS)


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))


class People:
    """Everybody outside: they ask again until they are answered, as people do whose tool just died."""

    def __init__(self, house: House, rng: random.Random) -> None:
        self.house = house
        self.rng = rng
        self.crashing = True
        self.asked: dict[str, Asked] = {}
        self.waiting: list[asyncio.Task[None]] = []
        self.down = 30.0
        self.freezing: asyncio.Task[None] | None = None
        self.frozen_since: float | None = None

    async def restarts(self) -> None:
        """Begin a new process some time after the old one died."""
        house = self.house
        while True:
            assert house.life is not None
            await house.life.dead.wait()
            house.kill()
            await asyncio.sleep(self.down)
            await house.begin()

    async def do(self, step: Step) -> None:
        """Begin what a step says; what needs an answer goes on by itself."""
        values, house = step.values, self.house
        match step.kind:
            case "create" | "register" | "extend" | "end":
                task = asyncio.get_running_loop().create_task(getattr(self, f"_{step.kind}")(**values))
                self.waiting.append(task)
            case "freeze":
                self.freezing = asyncio.get_running_loop().create_task(self._freeze())
                self.waiting.append(self.freezing)
            case "unfreeze":
                self.waiting.append(asyncio.get_running_loop().create_task(self._unfreeze()))
            case "fault":
                house.world.advance_to(house.epoch())
                house.world.switch_on(**values)
            case "appear":
                self._appear(**values)
            case "arrive":
                self._arrive(**values)
            case "crash":
                self.down = values["down"]
                if house.life is not None and self.crashing:
                    house.cut(values["boundaries"])

    async def finish(self) -> None:
        """Have everybody be answered, and the kill switch off."""
        while any(not task.done() for task in self.waiting):
            await asyncio.sleep(1.0)
        for task in self.waiting:
            task.result()
        await self._unfreeze()

    # --- what they ask --------------------------------------------------------------------------------------

    async def _until_answered(self, what: Any) -> Any:
        while True:
            try:
                return await self.house.ask(what)
            except CutError:
                await asyncio.sleep(5.0)

    async def _create(self, key: str, account: str, lifetime: float | None) -> None:
        began = self.house.epoch()
        wish = Wish(Spec(ssh_key=SSH_KEY, max_price_per_hour=50.0), account, lifetime)
        while self.house.epoch() < began + MARKET_PATIENCE_SECONDS:
            asked_at = self.house.epoch()
            try:
                made = await self._until_answered(lambda life: life.control.create(wish, key, key))
            except RequestError:
                await asyncio.sleep(20.0)
                continue
            self._took_up(asked_of(made.session, key, asked_at))
            return

    async def _register(self, key: str, account: str, lifetime: float | None) -> None:
        id_ = UUID(int=self.rng.getrandbits(128), version=4)
        asked_at = self.house.epoch()

        async def register(life: Life) -> Any:
            known = self.house.told(id_)
            return known or await life.control.register(account, id_, lifetime)

        session = await self._until_answered(register)
        asked = asked_of(session, key, asked_at)
        asked.registered = True
        self._took_up(asked)

    async def _end(self, key: str) -> None:
        asked = self.asked.get(key)
        if asked is None or asked.session_id is None:
            return
        id_ = asked.session_id
        asked.ended_at = self.house.epoch()
        await self._until_answered(lambda life: life.control.end(id_, "test"))

    async def _extend(self, key: str, lifetime: float) -> None:
        asked = self.asked.get(key)
        if asked is None or asked.session_id is None:
            return
        id_ = asked.session_id
        with contextlib.suppress(RequestError):
            session = await self._until_answered(lambda life: life.control.extend(id_, lifetime_seconds=lifetime))
            deadline = session.expires_at.timestamp() if session.expires_at is not None else None
            asked.deadlines.append((self.house.epoch(), deadline))

    async def _freeze(self) -> None:
        await self._until_answered(lambda life: life.control.freeze("test"))
        self.frozen_since = self.house.epoch()

    async def _unfreeze(self) -> None:
        if self.freezing is not None:
            await self.freezing
        if self.frozen_since is not None:
            self.house.ledger.frozen.append((self.frozen_since, self.house.epoch()))
            self.frozen_since = None
        await self._until_answered(lambda life: life.control.unfreeze("test"))

    def _took_up(self, asked: Asked) -> None:
        self.asked[asked.key] = asked
        self.house.ledger.asked.append(asked)

    # --- what comes out of nowhere ----------------------------------------------------------------------------

    def _arrive(self, key: str) -> None:
        """The other tool rents the machine that a registered session expects."""
        asked = self.asked.get(key)
        if asked is not None and asked.session_id is not None and asked.over_since(self.house.epoch()) is None:
            self._conjure(asked.account, tag_of(asked.session_id, self.house.settings.deployment))

    def _appear(self, account: str, tag: str, age: float, pick: int) -> None:
        deployment = self.house.settings.deployment
        stranger = tag_of(UUID(int=self.rng.getrandbits(128), version=4), deployment)
        now = self.house.epoch()
        over = [one for one in self.asked.values() if one.session_id and one.over_since(now) is not None]
        live = [one for one in self.asked.values() if one.session_id and one.over_since(now) is None]
        chosen = over if tag == "over" else live if tag == "twin" else []
        match tag:
            case "foreign":
                self._conjure(account, "training-run", age)
            case "untagged":
                self._conjure(account, None, age)
            case "shouted":
                self._conjure(account, stranger.upper(), age)
            case "unknown":
                self._conjure(account, stranger, age)
            case _ if chosen:
                one = chosen[pick % len(chosen)]
                assert one.session_id is not None
                self._conjure(one.account, tag_of(one.session_id, deployment), age)

    def _conjure(self, account: str, tag: str | None, age: float = 0.0) -> None:
        house = self.house
        house.world.advance_to(house.epoch())
        provider = house.ledger.providers[account]
        house.world.conjure({"provider": provider, "tag": tag, "age_seconds": age})

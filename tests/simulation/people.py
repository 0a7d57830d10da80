"""Everybody outside: who asks, who starts the process again, and what comes out of nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from shopperd.control import Wish
from shopperd.decisions import RequestError
from shopperd.model import Session, Spec, tag_of
from tests.simulation.house import CutError, House, asked_of
from tests.simulation.ledger import FOREVER, Asked, Ordered, Protected
from tests.simulation.life import Life
from tests.simulation.schedules import Step

T = TypeVar("T")

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA test"
PRICE_MAX = 50.0


class People:
    """They ask again until they are answered, as people do whose tool just died.

    Attributes:
        crashing: whether the process may still be cut or stopped.
        change: what happens to the store or the clock before the next process starts.
    """

    def __init__(self, house: House, rng: random.Random) -> None:
        self.house = house
        self.rng = rng
        self.crashing = True
        self.down = house.shape.sweep / 2
        self.change: Callable[[], None] | None = None
        self.asked: dict[str, Asked] = {}
        self.waiting: list[asyncio.Task[None]] = []
        self.watching: list[asyncio.Task[None]] = []
        self.freezing: asyncio.Task[None] | None = None
        self.frozen_since: float | None = None

    # --- the process ------------------------------------------------------------------------------------------

    async def begin(self, *, beside: bool = False) -> Life:
        """Start a process, and watch it."""
        life = await self.house.begin(beside=beside)
        self.watching.append(asyncio.get_running_loop().create_task(self._watch(life)))
        return life

    async def _watch(self, life: Life) -> None:
        """When it has died, and no other one is left, start a new one some time later."""
        house = self.house
        await life.dead.wait()
        house.kill(life)
        if house.lives:
            return
        if self.change is not None:
            self.change()
            self.change = None
            self._told_by_the_store()
        house.take_stock()
        await asyncio.sleep(self.down)
        if not house.lives:
            await self.begin()

    def _down(self, down: float, change: Callable[[], None] | None = None) -> None:
        """Kill what runs, and let something happen before the next start."""
        if not self.crashing:
            return
        self.down, self.change = down, change
        if not self.house.lives and change is not None:
            change()
            self.change = None
            self._told_by_the_store()
        for life in list(self.house.lives):
            life.dead.set()

    def _restart(self, down: float) -> None:
        """A clean stop, and a start some time later."""
        life = self.house.life
        if life is None or not self.crashing:
            return
        self.down = down
        life.process.request_stop()

    async def _second(self, seconds: float) -> None:
        """Another process on the same store, for a while."""
        if self.house.life is None or not self.crashing:
            return
        life = await self.begin(beside=True)
        await asyncio.sleep(seconds)
        if self.crashing and len(self.house.lives) > 1:
            chosen = life if self.rng.random() < 0.5 else self.house.lives[0]
            chosen.dead.set()

    async def alone(self) -> None:
        """Leave one process, the newest, and have nothing cut it any more."""
        self.crashing = False
        for life in self.house.lives[:-1]:
            life.dead.set()
        self.house.cut_at = None
        for life in self.house.lives:
            self.house.cut(life, None)

    def _told_by_the_store(self) -> None:
        """People take note of a store that was put in place: it may not know any more that it was frozen."""
        if self.frozen_since is not None and not self.house.known([]).frozen:
            self.house.ledger.frozen.append((self.frozen_since, self.house.epoch()))
            self.frozen_since = None

    # --- steps ------------------------------------------------------------------------------------------------

    async def do(self, step: Step) -> None:
        """Begin what a step says; what needs an answer goes on by itself."""
        values, house = step.values, self.house
        match step.kind:
            case "create" | "register" | "extend" | "end" | "exempt" | "destroy" | "second":
                self._go(getattr(self, f"_{step.kind}")(**values))
            case "freeze":
                self.freezing = self._go(self._freeze())
            case "unfreeze":
                self._go(self._unfreeze())
            case "fault":
                house.switch_on(**values)
            case "appear":
                self._appear(**values)
            case "arrive":
                self._arrive(**values)
            case "crash":
                if house.life is not None and self.crashing:
                    self.down = values["down"]
                    house.cut(house.life, values["boundaries"])
            case "restart":
                self._restart(**values)
            case "copy":
                house.take_copy()
            case "empty":
                self._down(values["down"], house.empty)
            case "restore":
                if house.copy is not None:
                    self._down(values["down"], lambda: house.restore(same_file=values["same_file"]))
            case "move":
                self._down(values["down"], lambda: house.move(alone=values["alone"]))
            case "busy":
                house.busy_until = house.epoch() + values["seconds"]
            case "clock":
                house.wall_ahead += values["seconds"]
            case "clock_while_down":
                self._down(values["down"], lambda: self._set_clock(values["seconds"]))
            case _:
                raise ValueError(f"nobody knows how to {step.kind}")

    def _set_clock(self, seconds: float) -> None:
        self.house.wall_ahead += seconds

    def _go(self, what: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(what)
        self.waiting.append(task)
        return task

    def leave(self) -> None:
        """Start nothing any more."""
        for task in self.watching:
            task.cancel()

    async def finish(self) -> None:
        """Have everybody be answered, the kill switch off, and no exemption left that came back with a copy of the store."""
        while any(not task.done() for task in self.waiting):
            await asyncio.sleep(1.0)
        for task in self.waiting:
            task.result()
        await self._unfreeze()
        for account, tracks in self.house.known(()).tracks.items():
            for id_ in [id_ for id_, track in tracks.items() if track.exempt]:
                with contextlib.suppress(RequestError):
                    await self._until_answered(partial(self._unexempt, account, id_))

    @staticmethod
    async def _unexempt(account: str, id_: str, life: Life) -> None:
        await life.control.exempt(account, id_, "test", exempt=False)

    # --- what they ask ----------------------------------------------------------------------------------------

    async def _until_answered(
        self, what: Callable[[Life], Coroutine[Any, Any, T]], unanswered: Callable[[], None] = lambda: None
    ) -> T:
        """Ask again and again. `unanswered` is called each time that nobody lived to answer."""
        while True:
            lives = self.house.lives
            life = lives[0] if len(lives) == 1 else self.rng.choice(lives) if lives else None
            try:
                return await self.house.ask(life, what)
            except CutError:
                unanswered()
                await asyncio.sleep(min(5.0, self.house.shape.sweep / 4))

    async def _create(self, key: str, account: str, lifetime: float | None) -> None:
        sweep = self.house.shape.sweep
        began = self.house.epoch()
        wish = Wish(Spec(ssh_key=SSH_KEY, max_price_per_hour=PRICE_MAX), account, lifetime)
        while self.house.epoch() < began + 8 * sweep:
            asked_at = self.house.epoch()
            try:
                made = await self._until_answered(lambda life: life.control.create(wish, key, key))
            except RequestError:
                await asyncio.sleep(sweep / 3)
                continue
            self._took_up(asked_of(made.session, key, asked_at))
            return

    async def _register(self, key: str, account: str, lifetime: float | None) -> None:
        id_ = UUID(int=self.rng.getrandbits(128), version=4)
        asked_at = self.house.epoch()

        async def register(life: Life) -> Any:
            return self.house.told(id_) or await life.control.register(account, id_, lifetime)

        session = await self._until_answered(register)
        asked = asked_of(session, key, asked_at)
        asked.registered = True
        self._took_up(asked)

    async def _end(self, key: str) -> None:
        asked = self.asked.get(key)
        if asked is None or asked.session_id is None:
            return
        id_ = asked.session_id
        if asked.ended_at is None:
            asked.ended_at = self.house.epoch()
        with contextlib.suppress(RequestError):
            await self._until_answered(lambda life: life.control.end(id_, "test"))
            asked.end_forgotten = False

    async def _extend(self, key: str, lifetime: float) -> None:
        asked = self.asked.get(key)
        if asked is None or asked.session_id is None:
            return
        id_ = asked.session_id

        def note(session: Session | None) -> None:
            if session is not None:
                deadline = session.expires_at.timestamp() if session.expires_at is not None else None
                asked.deadlines.append((self.house.epoch(), deadline))

        with contextlib.suppress(RequestError):
            session = await self._until_answered(
                lambda life: life.control.extend(id_, lifetime_seconds=lifetime),
                # It may have been taken all the same, and what is asked for next can come too late.
                unanswered=lambda: note(self.house.told(id_)),
            )
            note(session)
            asked.deadline_unsure = False

    async def _exempt(self, pick: int, seconds: float) -> None:
        """Protect one machine that shopperd tells of, and end that some time later."""
        chosen = self._pick(pick)
        if chosen is None:
            return
        account, id_ = chosen
        one = Protected(account, id_, FOREVER)
        try:
            await self._until_answered(lambda life: life.control.exempt(account, id_, "test", exempt=True))
            one.start = self.house.epoch()
            self.house.ledger.exempt.append(one)
            await asyncio.sleep(seconds)
            one.end = min(one.end, self.house.epoch())
            await self._until_answered(partial(self._unexempt, account, id_))
        except RequestError:
            one.end = min(one.end, self.house.epoch())

    async def _destroy(self, pick: int) -> None:
        """Ask for one machine that shopperd tells of to go."""
        chosen = self._pick(pick)
        if chosen is None:
            return
        account, id_ = chosen
        ledger = self.house.ledger
        order, lives = Ordered(account, id_, self.house.epoch()), len(ledger.lives)
        ledger.ordered.append(order)
        try:
            await self._until_answered(lambda life: life.control.destroy(account, id_, "test"))
        except RequestError:
            # If a process died meanwhile, it may have taken the order before.
            if len(ledger.lives) == lives:
                ledger.ordered.remove(order)

    def _pick(self, pick: int) -> tuple[str, str] | None:
        found = [
            (account, id_)
            for account, tracks in self.house.known([]).tracks.items()
            for id_, track in tracks.items()
            if track.instance.session_id is not None
        ]
        return found[pick % len(found)] if found else None

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
            tag = tag_of(asked.session_id, self.house.shape.deployment)
            made = self._conjure(asked.account, tag)
            self.house.ledger.arrived.append((made["provider"], made["id"], made["created_at"], tag))

    def _appear(self, account: str, tag: str, age: float, pick: int = 0, number: int = 1) -> None:
        deployment = self.house.shape.deployment
        now = self.house.epoch()
        over = [one for one in self.asked.values() if one.session_id and one.over_since(now) is not None]
        live = [one for one in self.asked.values() if one.session_id and one.over_since(now) is None]
        chosen = over if tag == "over" else live if tag == "twin" else []
        for _ in range(number):
            stranger = tag_of(UUID(int=self.rng.getrandbits(128), version=4), deployment)
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

    def _conjure(self, account: str, tag: str | None, age: float = 0.0) -> dict[str, Any]:
        house = self.house
        house.world.advance_to(house.epoch())
        return house.world.conjure({"provider": house.ledger.providers[account], "tag": tag, "age_seconds": age})

"""What outlives every process: the world, the store and its place, the machine's clock, and the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from attrs import define, evolve, field, frozen

from shopperd.model import Ownership, Session, session_of
from shopperd.providers.pacing import Blocks, Endpoint
from shopperd.settings import Settings
from shopperd.simulator import World
from shopperd.simulator.faults import CATALOGUE
from shopperd.store import Binding, Store, memory
from tests.sealed import broken_seals
from tests.simulation.ledger import (
    FOREVER,
    Asked,
    Forgot,
    Held,
    Ledger,
    Lifetime,
    Run,
    Sent,
    Slow,
    Span,
    Stock,
    claim_of,
    machine_of,
    machines_of,
)
from tests.simulation.life import Life
from tests.simulation.loop import START_EPOCH, VirtualLoop
from tests.simulation.shapes import ENVIRON, PROVIDERS, PUBLISHED_OF, Shape
from tests.simulation.stores import Known, empty_image, image_of, known, open_image

T = TypeVar("T")

PLACE = Binding("host", "store", "1:1")
METRICS_EVERY = 10
"""In one run of so many the metrics are looked through for credentials, which takes a while."""


class CutError(Exception):
    """The process that was asked is gone; whether it did what was asked is open."""


@frozen
class Copy:
    """A copy of the store: what it held, and how often it had been opened by then."""

    image: bytes
    at: float
    opens: int


@define(eq=False)
class House:
    """See the module.

    Attributes:
        place: where the next process finds the store.
        wall_ahead: seconds by which the machine's clock is ahead of the true time.
        busy_until: until when the disk is busy.
        lives: the processes that are there, oldest first.
        copy: the newest copy of the store.
        cut_at: the boundary at which whoever crosses it is cut.
        opens, noted_opens: how often the store was opened, as it says itself and as the file beside it does.
        noted_beat: the newest heartbeat, as the file beside the store says.
        swapped: another file was put in the place of the store since it was last opened.
    """

    seed: int
    shape: Shape
    settings: Settings
    world: World
    store: Store
    ledger: Ledger
    place: Binding = PLACE
    wall_ahead: float = 0.0
    busy_until: float = 0.0
    lives: list[Life] = field(factory=list)
    copy: Copy | None = None
    cut_at: int | None = None
    opens: int = 0
    noted_opens: int = 0
    noted_beat: datetime | None = None
    created: bool = True
    swapped: bool = False
    healing: bool = False
    happened: dict[str, int] = field(factory=dict)
    died: asyncio.Event = field(factory=asyncio.Event)

    @classmethod
    def build(cls, seed: int, shape: Shape) -> House:
        """A new one: an empty store, full markets, no machine."""
        settings = shape.settings
        ledger = Ledger(
            settings.deployment,
            {name: PROVIDERS[name] for name in shape.accounts},
            frozenset(shape.exclusive),
            intervals={name: _intervals(name) for name in shape.accounts},
            blocks_all=frozenset(n for n in shape.accounts if PUBLISHED_OF[n].blocks is Blocks.ACCOUNT),
            sweep_seconds=shape.sweep,
            shared=shape.shared,
            per_sweep=settings.orphans.max_destroys_per_sweep,
            per_hour_share=settings.orphans.max_share_per_hour,
        )
        world = World.build(shape.world(seed), now=START_EPOCH)
        place = evolve(PLACE, shared=shape.shared)
        return cls(seed, shape, settings, world, open_image(empty_image()), ledger, place)

    @property
    def runs(self) -> list[Run]:
        """The ledger's."""
        return self.ledger.runs

    def epoch(self) -> float:
        """The true time, epoch seconds."""
        return START_EPOCH + asyncio.get_running_loop().time()

    def wall(self) -> float:
        """What the machine's clock says, epoch seconds."""
        return self.epoch() + self.wall_ahead

    def crossed(self, kind: str) -> int:
        """Count a boundary; how many there were."""
        self.ledger.steps += 1
        if not self.healing:
            self.ledger.crossings.append(kind)
        return self.ledger.steps

    def fault(self, text: str) -> None:
        """Note a failure of the pretend world."""
        self.ledger.crashes.append(f"the simulator failed: {text}")

    def spilled(self, where: str) -> None:
        """Note a credential where it must not be."""
        if where not in self.ledger.spilled:
            self.ledger.spilled.append(where)

    def note(self, sent: Sent) -> None:
        """Take a request into the ledger; to a destroy add what shopperd tells of the machine's session now."""
        if sent.operation == "destroy" and sent.existed:
            claim = claim_of(self.ledger.rented(), self.ledger.deployment, machine_of(self.ledger, sent))
            told = self.told(claim) if claim is not None else None
            if told is not None:
                sent.told_state, sent.told_instance = told.state.value, told.instance_id
        self.ledger.sent.append(sent)

    def known(self, ids: Sequence[UUID]) -> Known:
        """What shopperd tells now."""
        return self.store.run_sync(known, ids, self.shape.accounts)

    def told(self, session_id: UUID) -> Session | None:
        """What shopperd tells of a session now."""
        return self.known([session_id]).sessions.get(session_id)

    def switch_on(self, **values: Any) -> None:
        """Switch a fault on; one that happens at once counts as fired if it changed a machine."""
        self.world.advance_to(self.epoch())
        spec = CATALOGUE[values["name"]]
        before = self._machines() if spec.start is not None else None
        self.world.switch_on(**values)
        if before is not None and (self._machines() != before or spec.name == "limits_tightened"):
            self.happened[spec.name] = self.happened.get(spec.name, 0) + 1

    def _machines(self) -> list[tuple[Any, ...]]:
        rows = self.world.state()["instances"]
        return [(row["id"], row["tag"], row["phase"], row["destroyed_at"], row["price_per_hour"]) for row in rows]

    # --- lives ------------------------------------------------------------------------------------------------

    @property
    def life(self) -> Life | None:
        """The oldest process that is there."""
        return self.lives[0] if self.lives else None

    async def begin(self, *, beside: bool = False) -> Life:
        """Start a process; `beside` another one that has the store open already."""
        ledger = self.ledger
        number, now = len(ledger.lives) + 1, self.epoch()
        if not beside:
            self.place = evolve(self.place, continuous=self._is_continuous())
            self.opens += 1
            self.noted_opens = self.opens
            if (self.swapped or not self.place.continuous) and not self.created:
                for asked in ledger.asked:
                    asked.deadline_unsure = True
            self.swapped = False
        life = Life(self, number)
        self.created = False
        ledger.lives.append(Lifetime(number, now))
        self.lives.append(life)
        _loop().begin(number, life.run())
        await asyncio.sleep(0)
        return life

    def _is_continuous(self) -> bool:
        """`StoreFile.binding`."""
        beat = self.store.run_sync(memory.newest_beat)
        is_new = self.noted_beat is None or (beat is not None and beat >= self.noted_beat)
        return self.noted_opens == self.opens and is_new

    def beaten(self, beat: datetime) -> None:
        """`StoreFile.note_beat`."""
        self.noted_beat = beat

    def transacted(self, life: Life, name: str, result: object) -> None:
        """Note what a transaction of a process that matters to the ledger came to."""
        if name == "take_up":
            self.ledger.memory.append(Span(self.epoch(), known_from=self.epoch(), life=life.number))
            self.ledger.lives[life.number - 1].observing = result is True and not self.known([]).open_destroys
        elif name == "hold" and result is None:
            self.ledger.held.append(Held(life.number, self.epoch()))

    def stopping(self, life: Life) -> None:
        """Note that a process was asked to stop."""
        self.ledger.lives[life.number - 1].stopping = self.epoch()

    def slowed(self, life: Life, seconds: float) -> None:
        """Note that a transaction waits so long from now on."""
        self.ledger.slow.append(Slow(life.number, self.epoch(), self.epoch() + seconds))

    def cut(self, life: Life, boundaries: int | None) -> None:
        """Have a process cut at that many boundaries from now; None lets it live."""
        life.cut_at = None if boundaries is None else self.ledger.steps + max(1, boundaries)

    def kill(self, life: Life) -> None:
        """Cut it now, wherever it is, and clear away what is left of it."""
        if life.over:
            return
        life.over = True
        life.dead.set()
        life.schedule.end()
        self.lives.remove(life)
        now = self.epoch()
        self.ledger.lives[life.number - 1].ended = now
        for span in self.ledger.memory:
            if span.life == life.number:
                span.end = min(span.end, now)
        for task, owner in list(_loop().born.items()):
            if owner == life.number:
                task.cancel()

    async def ask(self, life: Life | None, what: Callable[[Life], Coroutine[Any, Any, T]]) -> T:
        """Ask a running process something, as a person does.

        Raises:
            CutError: there is no process, or it died before it answered.
        """
        if life is None or not life.ready:
            raise CutError
        asked = _loop().begin(life.number, what(life))
        died = _loop().create_task(life.dead.wait())
        await asyncio.wait((asked, died), return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if asked.done() and not asked.cancelled():
            return asked.result()
        asked.cancel()
        raise CutError

    # --- the store, while nobody has it open -------------------------------------------------------------------

    def take_copy(self) -> None:
        """Copy the store, as a backup does."""
        self.copy = Copy(image_of(self.store), self.epoch(), self.opens)

    def empty(self) -> None:
        """The store is gone: the next process begins with a new one in its place."""
        self._put(empty_image(), 0.0)
        self.opens, self.created = 0, True

    def restore(self, *, same_file: bool) -> None:
        """Put the newest copy in place, into the same file or as another one."""
        assert self.copy is not None
        self._put(self.copy.image, self.copy.at)
        self.opens = self.copy.opens
        if not same_file:
            self.swapped = True
            self.place = evolve(self.place, inode=f"{self.place.inode}1")

    def move(self, *, alone: bool) -> None:
        """The store is moved; alone, it leaves the file behind that lies beside it."""
        self.place = evolve(self.place, path=f"{self.place.path}+")
        if alone:
            self.noted_opens = -1

    def _put(self, image: bytes, since: float) -> None:
        """Put a store in place that ends at `since`, and note in the ledger what shopperd cannot know any more."""
        now, ledger = self.epoch(), self.ledger
        self.store.close_sync()
        self.store = open_image(image)
        ledger.forgot.append(Forgot(now, since))
        then = [span for span in ledger.memory if span.known_from <= since < span.forgotten_at and span.start < since]
        for span in ledger.memory:
            span.forgotten_at = min(span.forgotten_at, now)
        ledger.memory.extend(Span(span.start, min(span.end, since), known_from=now) for span in then)
        told = self.known([asked.session_id for asked in ledger.asked if asked.session_id is not None])
        for asked in ledger.asked:
            session = told.sessions.get(asked.session_id) if asked.session_id is not None else None
            if session is None and not asked.is_forgotten(now):
                asked.forgotten.append((now, FOREVER))
            elif session is not None:
                asked.forgotten = [(start, min(end, now)) for start, end in asked.forgotten]
                asked.end_forgotten = session.state.live and asked.ended_at is not None
        for one in ledger.exempt:
            track = told.tracks.get(one.account, {}).get(one.instance)
            if one.end == FOREVER and (track is None or not track.exempt):
                one.end = now

    def spacing(self) -> float:
        """The longest spacing of calls that the process has learned, or the longest wait that it was told, in seconds."""
        if self.life is None:
            return 0.0
        gauges = (self.life.metrics.ratelimit_interval_seconds, self.life.metrics.ratelimit_blocked_seconds)
        samples = (sample for gauge in gauges for metric in gauge.collect() for sample in metric.samples)
        return max((sample.value for sample in samples if sample.labels["endpoint"] != "offers"), default=0.0)

    # --- the end ----------------------------------------------------------------------------------------------

    def take_stock(self) -> None:
        """Take what is there now, and what shopperd tells of it, into the ledger."""
        ledger, now = self.ledger, self.epoch()
        self.world.advance_to(now)
        ledger.ended_at = now
        ledger.ended_ahead = self.life.ahead() if self.life is not None else self.wall_ahead
        ledger.machines = machines_of(self.world.state())
        fired = dict(self.world.faults.fired)
        ledger.faults_fired = {name: fired.get(name, 0) + self.happened.get(name, 0) for name in fired | self.happened}
        wanted = dict.fromkeys(asked.session_id for asked in ledger.asked if asked.session_id is not None)
        for tag in ledger.rented().values():
            claim = session_of(tag, ledger.deployment)
            if claim is not None:
                wanted[claim] = None
        told = self.known(list(wanted))
        for asked in ledger.asked:
            session = told.sessions.get(asked.session_id) if asked.session_id is not None else None
            asked.told_state = session.state.value if session is not None else ""
            asked.told_instance = session.instance_id if session is not None else None
        ledger.stocks.append(
            Stock(
                now,
                tuple(str(id_) for id_ in told.sessions),
                tuple((account, id_) for account, tracks in told.tracks.items() for id_ in tracks),
            )
        )
        ledger.shown = _shown(self.life) if self.life is not None else {}

    def close(self) -> None:
        """Take the end of the run into the ledger, and end it."""
        self.take_stock()
        for life in list(self.lives):
            if self.seed % METRICS_EVERY == 0:
                self._look_for_secrets(life)
            self.kill(life)
        image = image_of(self.store)
        for name, value in ENVIRON.items():
            if value.encode() in image:
                self.spilled(f"the store holds the credential {name}")
        self.ledger.unsealed += self.store.run_sync(broken_seals)
        self.store.close_sync()

    def _look_for_secrets(self, life: Life) -> None:
        """In what the metrics of a process tell."""
        for metric in life.metrics.registry.collect():
            for sample in metric.samples:
                for name, value in ENVIRON.items():
                    if any(value in text for text in sample.labels.values()):
                        self.spilled(f"the metric {sample.name} holds the credential {name}")


def asked_of(session: Session, key: str, asked_at: float) -> Asked:
    """The record of a session that was taken up."""
    deadline = session.expires_at.timestamp() if session.expires_at is not None else None
    return Asked(key, session.account, asked_at, session.id, [(asked_at, deadline)])


def _intervals(account: str) -> dict[str, float]:
    published = PUBLISHED_OF[account]
    words = {Endpoint.OFFERS: "search"}
    found = {words.get(kind, kind.value): seconds for kind, seconds in published.intervals.items()}
    return found | {"shared": published.shared}


def _shown(life: Life) -> dict[str, float]:
    """The gauges of a process that can be compared with the truth, summed up to what the truth can tell."""
    shown: dict[str, float] = {}
    for account in life.context.accounts:
        for ownership in Ownership:
            shown[f"{ownership} {account}"] = 0.0
        shown[f"orphans {account}"] = 0.0
    metrics = life.metrics
    for gauge, words in ((metrics.instances, "ownership"), (metrics.orphans, ""), (metrics.sessions, "state")):
        for sample in (sample for metric in gauge.collect() for sample in metric.samples):
            name = sample.labels.get(words, "orphans") if words else "orphans"
            name = f"{'session ' if words == 'state' else ''}{name} {sample.labels['account']}"
            shown[name] = shown.get(name, 0.0) + sample.value
    return shown


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop

"""What a walk walks over: the truth at the provider, what the store knows, what the process holds, and what the judge remembers.

All of it is frozen. Two states with one `key` differ only in what no rule can ever ask for: times are kept as ages in whole
ticks, no finer and no older than the rules look, and the makes of machines by whether they are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import TypeVar

from attrs import field, frozen

from shopperd.lifecycle import REASON_EXPIRED, knows_deadline
from shopperd.model import (
    CreateOutcome,
    DestroyJob,
    Fleet,
    Instance,
    MemorySpan,
    Session,
    SessionState,
    Track,
    session_of,
)
from shopperd.settings import OrphanSettings, SessionSettings, Settings
from tests.nouns import NOW, instance, sid

TICK = timedelta(seconds=100_000)
"""The grace, the life of a create and the others are whole numbers of these."""

STEP = timedelta(seconds=100)
"""Every action takes so long: more than two reports of one start may differ by, and a walk's steps are far less than a tick."""

UNKNOWN_SESSION = 9
"""The number of a session that no store ever heard of."""

NUMBER = {sid(number): number for number in (1, 2, 3, UNKNOWN_SESSION)}
PRICES = {"a": 0.3, "b": 0.5, "c": 0.4, "d": 0.2}


T = TypeVar("T")


def changed(value: T, **parts: object) -> T:
    """`attrs.evolve` for the values of this page, which have no slots: a walk does little else, and this is ten times as fast."""
    new = object.__new__(type(value))
    new.__dict__.update(value.__dict__)
    new.__dict__.update(parts)
    return new


def in_ticks(number: float) -> float:
    """Seconds of so many ticks."""
    return number * TICK.total_seconds()


SMALL = Settings(
    orphans=OrphanSettings(
        sightings=2,
        grace=in_ticks(1),
        max_destroys_per_sweep=1,
        max_share_per_sweep=0.0,
        max_share_per_hour=0.0,
        observe_sweeps=1,
    ),
    sessions=SessionSettings(create_deadline=in_ticks(1), resurrection_window=in_ticks(2)),
)
"""The smallest constants that still tell "once" from "often enough" and "now" from "later"."""


@frozen(slots=False)
class Rules:
    """The constants of a walk, and what may happen in it.

    Attributes:
        hour: the window of the hourly limit.
        life: of a session that is extended.
        tells_start: whether the provider tells when a machine was made.
        strangers: the kinds of machines that may turn up out of nowhere: ``foreign``, ``unknown``, ``twin``, ``bare``.
        tags: how a machine that we rent may come out: ``exact``, ``bare``.
        reuse: whether an id may name another machine after its first is gone.
        lies: whether a listing that looks complete may leave things out.
        slow: whether listings, reads and last looks take time, so that other things happen meanwhile.
        acts: the actions that may happen at all, by their first word; None for every one.
    """

    settings: Settings = SMALL
    exclusive: bool = False
    hour: timedelta = 2 * TICK
    life: timedelta = 2 * TICK
    ids: tuple[str, ...] = ("a", "b", "c")
    tells_start: bool = True
    strangers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ("exact",)
    reuse: bool = False
    lies: bool = False
    slow: bool = False
    acts: frozenset[str] | None = None

    @cached_property
    def grace_ticks(self) -> int:
        """The grace, in ticks."""
        return int(self.settings.orphans.grace // TICK.total_seconds())

    @cached_property
    def window_ticks(self) -> int:
        """The time in which a lost session takes its machine back, in ticks."""
        return int(self.settings.sessions.resurrection_window // TICK.total_seconds())

    @cached_property
    def hour_ticks(self) -> int:
        """The window of the hourly limit, in ticks."""
        return self.hour // TICK

    @cached_property
    def limit(self) -> int:
        """How many verdicts may be carried out in a sweep, and in an hour: the shares are nothing in so small a world."""
        return self.settings.orphans.max_destroys_per_sweep


@frozen(slots=False)
class Machine:
    """A rented machine as it truly is.

    Attributes:
        made: a number that no other machine has.
        owner: the session whose create rented it, or whose tag it carried before somebody edited that.
    """

    id: str
    made: int
    born: datetime
    tag: str | None
    owner: int | None = None

    @property
    def session(self) -> int | None:
        """The number of the session that it is of, None for a stranger's."""
        if self.owner is not None:
            return self.owner
        claimed = session_of(self.tag)
        return None if claimed is None else NUMBER[claimed]


@lru_cache(maxsize=100_000)
def reported(machine: Machine, *, tells_start: bool) -> Instance:
    """The machine as a listing reports it."""
    return instance(
        machine.id,
        tag=machine.tag,
        started_at=machine.born if tells_start else None,
        price_per_hour=PRICES[machine.id],
    )


@frozen(slots=False)
class Truth:
    """What the provider has.

    Attributes:
        away: machines that nobody sees any more, and that come back.
        used: ids that were ever given out.
        requests: by session, a create that the provider was asked for: "" while it may yet have its effect, then the id.
    """

    machines: Mapping[str, Machine] = field(factory=dict)
    away: Mapping[str, Machine] = field(factory=dict)
    used: frozenset[str] = frozenset()
    requests: Mapping[int, str] = field(factory=dict)
    made: int = 0


@frozen(slots=False)
class Store:
    """What survives the process: one account's rows.

    Attributes:
        jobs: the open destroy jobs by instance.
        verdicts: when each verdict was recorded, closed ones too.
        begun: when each verdict was carried out first.
        complete_at: when the newest complete listings were asked for, oldest first, as many as must agree.
        observing: sweeps that still only look.
    """

    sessions: Mapping[int, Session] = field(factory=dict)
    tracks: Mapping[str, Track] = field(factory=dict)
    jobs: Mapping[str, DestroyJob] = field(factory=dict)
    verdicts: tuple[datetime, ...] = ()
    begun: tuple[datetime, ...] = ()
    fleet: Fleet = field(factory=Fleet)
    spans: tuple[MemorySpan, ...] = ()
    restored_at: datetime | None = None
    complete_at: tuple[datetime, ...] = ()
    observing: int = 0
    frozen: bool = False


@frozen(slots=False)
class Listing:
    """A listing that was asked for: when, and what the provider had then."""

    asked_at: datetime
    machines: tuple[Machine, ...]


@frozen(slots=False)
class Process:
    """What dies with the process.

    Attributes:
        fresh: the newest listing was complete.
        recent: there was a complete listing lately.
        waiting: sessions whose create has not been answered yet.
        asked: a listing on its way.
        denied: ids that a single read did not find, not recorded yet.
        looked: destroys that have passed their last look and are about to be sent.
    """

    up: bool = True
    fresh: bool = False
    recent: bool = False
    waiting: frozenset[int] = frozenset()
    asked: Listing | None = None
    denied: frozenset[str] = frozenset()
    looked: frozenset[str] = frozenset()


@frozen(slots=False)
class Asked:
    """What a person knows of a session: what was asked for, and what they were told."""

    ended: bool = False
    deadline: datetime | None = None
    failed: bool = False
    lost_at: datetime | None = None


@frozen(slots=False)
class Seen:
    """The history of one machine.

    Attributes:
        run: complete listings in a row that held it.
        first_at: when it was first seen.
        named: a command asked for this very machine to go.
        exempt: a person said so.
        awake: it was made while the store's memory was awake, and that memory is still the store's.
        sent: a verdict on it was carried out.
        back: it has come back, and no listing has held it since.
    """

    run: int = 0
    first_at: datetime | None = None
    named: bool = False
    exempt: bool = False
    awake: bool = True
    sent: bool = False
    back: bool = False


@frozen(slots=False)
class Missed:
    """The history of an id.

    Attributes:
        run: complete listings in a row without it since it was last seen.
        denied: a single read denied it since.
        shown: the machine that a listing showed last under it.
    """

    run: int = 0
    denied: bool = False
    shown: Machine | None = None
    since: datetime = NOW


@frozen(slots=False)
class History:
    """What truly happened, as far as the judge needs it. Nothing of the code under test ever reads this.

    Attributes:
        listed, listed_at: what the newest complete listing held, and when it was asked for.
        recorded, sent: when verdicts were recorded, and first carried out, within the last hour.
    """

    asked: Mapping[int, Asked] = field(factory=dict)
    seen: Mapping[int, Seen] = field(factory=dict)
    missed: Mapping[str, Missed] = field(factory=dict)
    listed: frozenset[Machine] = frozenset()
    listed_at: datetime | None = None
    frozen: bool = False
    recorded: tuple[datetime, ...] = ()
    sent: tuple[datetime, ...] = ()


@frozen(slots=False)
class Left:
    """How often things may still happen that could go on for ever."""

    appearances: int = 0
    vanishings: int = 2
    returns: int = 0
    crashes: int = 0
    restores: int = 0
    extensions: int = 0
    edits: int = 0
    registrations: int = 0


@frozen(slots=False)
class State:
    """One moment of the whole."""

    now: datetime = NOW
    truth: Truth = Truth()
    store: Store = Store()
    process: Process = Process()
    history: History = History()
    left: Left = Left()
    backup: Store | None = None


def beaten(store: Store, now: datetime) -> Store:
    """The store with one more heartbeat."""
    newest = store.spans[-1]
    return changed(store, spans=(*store.spans[:-1], MemorySpan(newest.started_at, now)))


# --- keys -------------------------------------------------------------------------------------------------------------

Labels = dict[str, dict[datetime | None, int]]


def key_of(state: State, rules: Rules) -> int:
    """A number that all states share which have the same future, and, but for a chance in 10^19, no other."""
    parts = repr(parts_of(state, rules)).encode()
    return int.from_bytes(hashlib.blake2b(parts, digest_size=8).digest())


def parts_of(state: State, rules: Rules) -> tuple[object, ...]:
    """What a key is made of."""
    now, truth, process = state.now, state.truth, state.process
    label = _Labeller()
    machines = tuple(
        (
            *_machine(machine, label),
            _seen(state.history.seen[machine.made], now, rules),
            _covered(machine.born, state.store.spans),
            state.backup is not None and _covered(machine.born, state.backup.spans),
        )
        for _, machine in sorted(truth.machines.items())
    )
    asked = process.asked
    pending = None
    if asked is not None:
        pending = (
            tuple(_machine(machine, label) for machine in asked.machines),
            _age(now, asked.asked_at, 1),
            tuple(sorted(id_ for id_, track in state.store.tracks.items() if track.last_seen_at > asked.asked_at)),
            tuple(
                sorted(
                    number
                    for number, one in state.store.sessions.items()
                    if one.create_deadline_at is not None and asked.asked_at >= one.create_deadline_at
                )
            ),
            tuple(sorted(id_ for id_, missed in state.history.missed.items() if missed.since > asked.asked_at)),
        )
    return (
        machines,
        tuple(
            (*_machine(one, label), _seen(state.history.seen[one.made], now, rules))
            for _, one in sorted(truth.away.items())
        )
        if state.left.returns
        else (),
        tuple(sorted(truth.used)) if rules.reuse else len(truth.used),
        tuple(sorted(truth.requests.items())),
        _store(state.store, now, rules, label),
        process.up,
        process.fresh,
        process.recent,
        tuple(sorted(process.waiting)),
        pending,
        tuple(sorted(process.denied)),
        tuple(sorted(process.looked)),
        _history(state.history, now, rules, label),
        tuple(state.left.__dict__.values()),
        None if state.backup is None or not state.left.restores else _store(state.backup, now, rules, label),
    )


def store_parts(store: Store, now: datetime, rules: Rules) -> tuple[object, ...]:
    """What a store adds to a key."""
    return _store(store, now, rules, _Labeller())


class _Labeller:
    """Numbers the makes of each id in the order in which they are met: which is which does not matter, only which are the same."""

    def __init__(self) -> None:
        self._labels: Labels = {}

    def __call__(self, id_: str, born: datetime | None) -> int:
        labels = self._labels.setdefault(id_, {None: -1})
        return labels.setdefault(born, len(labels))


def _age(now: datetime, moment: datetime | None, most: int) -> int | None:
    return None if moment is None else min((now - moment) // TICK, most)


def _ages(now: datetime, moments: Iterable[datetime], most: int) -> tuple[int, ...]:
    return tuple((now - moment) // TICK for moment in moments if (now - moment) // TICK < most)


def _covered(moment: datetime | None, spans: Iterable[MemorySpan]) -> bool:
    return moment is not None and any(span.covers(moment) for span in spans)


def _machine(machine: Machine, label: _Labeller) -> tuple[str, int, str | None, int | None]:
    return (machine.id, label(machine.id, machine.born), machine.tag, machine.owner)


def _seen(seen: Seen, now: datetime, rules: Rules) -> tuple[object, ...]:
    return (
        seen.run,
        _age(now, seen.first_at, rules.grace_ticks),
        seen.named,
        seen.exempt,
        seen.awake,
        seen.sent,
        seen.back,
    )


def _store(store: Store, now: datetime, rules: Rules, label: _Labeller) -> tuple[object, ...]:
    orphans = rules.settings.orphans
    newest = store.spans[-1] if store.spans else None
    return (
        tuple(_session(one, store, now, rules) for _, one in sorted(store.sessions.items())),
        tuple(_track(one, store, now, rules, label) for _, one in sorted(store.tracks.items())),
        tuple(
            (
                id_,
                job.origin.value,
                job.kind,
                None if job.session_id is None else NUMBER[job.session_id],
                job.tag,
                label(id_, job.instance_started_at),
                job.accepted_at is not None,
                job.attempts > 0,
                store.restored_at is not None and job.requested_at < store.restored_at,
            )
            for id_, job in sorted(store.jobs.items())
        ),
        _ages(now, store.verdicts, rules.hour_ticks),
        _ages(now, store.begun, rules.hour_ticks),
        None
        if store.fleet.jump_at is None
        else (_age(now, store.fleet.jump_at, rules.grace_ticks), min(store.fleet.snapshots_since, orphans.sightings)),
        store.observing,
        store.frozen,
        tuple(newest is not None and newest.covers(moment) for moment in store.complete_at),
    )


def _session(session: Session, store: Store, now: datetime, rules: Rules) -> tuple[object, ...]:
    may_live = session.state.live or session.state is SessionState.LOST
    older: tuple[str, ...] = ()
    if session.create_outcome is CreateOutcome.SENT:
        older = tuple(
            sorted(id_ for id_, t in store.tracks.items() if t.ever_seen and t.first_seen_at < session.created_at)
        )
    return (
        session.state.value,
        session.instance_id,
        _age(now, session.expires_at, 0) if may_live else None,
        may_live and knows_deadline(session, store.restored_at),
        session.reason == REASON_EXPIRED,
        session.create_outcome.value,
        _age(now, session.create_deadline_at, 0),
        _age(now, _lost_since(session, store), rules.window_ticks) if session.state is SessionState.LOST else None,
        older,
    )


def _lost_since(session: Session, store: Store) -> datetime | None:
    """A restored store gives a lost session its time anew."""
    if session.ended_at is None or store.restored_at is None:
        return session.ended_at
    return max(session.ended_at, store.restored_at)


def _track(track: Track, store: Store, now: datetime, rules: Rules, label: _Labeller) -> tuple[object, ...]:
    orphans, instance_ = rules.settings.orphans, track.instance
    awake = (
        any(
            track.missed_at is not None and span.covers(track.missed_at) and span.covers(track.first_seen_at)
            for span in store.spans
        )
        if instance_.started_at is None
        else _covered(instance_.started_at, store.spans)
    )
    return (
        instance_.id,
        label(instance_.id, instance_.started_at),
        instance_.tag,
        _age(now, track.first_seen_at, rules.grace_ticks),
        min(track.absences, orphans.sightings),
        track.kind,
        min(track.kind_sightings, orphans.sightings),
        track.ever_seen,
        track.exempt,
        awake,
        track.gone_at is not None,
    )


def _history(history: History, now: datetime, rules: Rules, label: _Labeller) -> tuple[object, ...]:
    return (
        tuple(
            (number, one.ended, _age(now, one.deadline, 0), one.failed, _age(now, one.lost_at, rules.window_ticks))
            for number, one in sorted(history.asked.items())
        ),
        tuple(
            (id_, one.run, one.denied, None if one.shown is None else _machine(one.shown, label))
            for id_, one in sorted(history.missed.items())
        ),
        tuple(sorted(_machine(machine, label) for machine in history.listed)),
        history.frozen,
        _ages(now, history.recorded, rules.hour_ticks),
        _ages(now, history.sent, rules.hour_ticks),
    )

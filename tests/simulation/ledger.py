"""What reached the marketplaces, what people asked for, and what shopperd told: all that oracles judge from.

Times are epoch seconds of the true time, unless it is said that they are a process's own.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from attrs import define, field, frozen

from shopperd.model import session_of

MIGRATED = "machine_migrates"
"""How a machine ended that goes on under another id."""
FOREVER = float("inf")


@define
class Sent:
    """One request that reached a marketplace.

    Attributes:
        life: the number of the process that sent it, from 1.
        tag: of a create, what it asked for.
        machine_tag, machine_created_at: of the machine that a destroy names, as they truly were when it arrived; None and 0
            where there was none.
        told_state, told_instance: of a destroy, what shopperd told at that moment of the session that the machine belongs to.
        sent_at: when it left.
        waited: seconds before that, for its turn.
        ahead: seconds by which the clock of its process was ahead of the true time.
        made: the machines that it rented, each with its moment.
        answered_at, retry_after: when the answer came and the seconds that its header of that name told; None: neither.
    """

    n: int
    at: float
    account: str
    life: int
    operation: str
    instance: str | None
    status: int | None
    effect: str | None
    faults: tuple[str, ...]
    tag: str | None = None
    machine_tag: str | None = None
    machine_created_at: float = 0.0
    told_state: str | None = None
    told_instance: str | None = None
    sent_at: float = 0.0
    waited: float = 0.0
    ahead: float = 0.0
    made: tuple[tuple[str, float], ...] = ()
    answered_at: float | None = None
    retry_after: float | None = None

    @property
    def existed(self) -> bool:
        """A destroy that named a machine which was there."""
        return self.machine_created_at > 0


@define
class Asked:
    """A session that somebody asked for.

    Attributes:
        session_id: None if shopperd never took it up.
        deadlines: from when on which deadline held (None: none), oldest first. The deadlines are by the process's own clock.
        ended_at: when its end was first asked for.
        forgotten: from when to when a store was in place that does not know it.
        end_forgotten: a store was put in place that does not know its end.
        deadline_unsure: its deadline is older than a store that was put back, which therefore does not go by it.
        told_state, told_instance: what shopperd tells of it at the end; "" if it knows nothing.
    """

    key: str
    account: str
    asked_at: float
    session_id: UUID | None = None
    deadlines: list[tuple[float, float | None]] = field(factory=list)
    ended_at: float | None = None
    registered: bool = False
    told_state: str = ""
    told_instance: str | None = None
    forgotten: list[tuple[float, float]] = field(factory=list)
    end_forgotten: bool = False
    deadline_unsure: bool = False

    def is_forgotten(self, at: float) -> bool:
        """Whether the store that was in place at that moment did not know it."""
        return any(start <= at < end for start, end in self.forgotten)

    def over_since(self, at: float, ahead: float = 0.0) -> float | None:
        """Since when it was over at that moment by what was asked; None if it was live.

        `ahead`: by how many seconds the clock that counts was ahead of the true time.
        """
        return _first_end(at, self.ended_at, self._deadline(at, ahead))

    def must_be_over_since(self, at: float, ahead: float = 0.0) -> float | None:
        """As `over_since`, by what the store that is in place can know of it."""
        ended = None if self.end_forgotten else self.ended_at
        return _first_end(at, ended, None if self.deadline_unsure else self._deadline(at, ahead))

    def _deadline(self, at: float, ahead: float) -> float | None:
        known = [deadline for since, deadline in self.deadlines if since <= at]
        return known[-1] - ahead if known and known[-1] is not None else None


def _first_end(at: float, *ends: float | None) -> float | None:
    return min((end for end in ends if end is not None and end <= at), default=None)


@frozen
class Machine:
    """A machine that truly was: one row of the world's state."""

    provider: str
    id: str
    tag: str | None
    created_at: float
    destroyed_at: float | None
    ended_by: str | None = None

    def existed_at(self, at: float) -> bool:
        """Whether it was there at that moment."""
        return self.created_at <= at and (self.destroyed_at is None or self.destroyed_at > at)


@define
class Lifetime:
    """One process: from its start until nothing of it can act any more.

    Attributes:
        stopping: when it was asked to stop.
        observing: it began on a store that is new or was put in place, with no destroy of an earlier one to go on with.
    """

    number: int
    began: float
    ended: float = FOREVER
    stopping: float = FOREVER
    observing: bool = False


@define
class Span:
    """When a process was awake, as the store remembers it between `known_from` and `forgotten_at`."""

    start: float
    end: float = FOREVER
    known_from: float = 0.0
    forgotten_at: float = FOREVER
    life: int = 0


@frozen
class Held:
    """A process took the right to act on a shared store, or renewed it."""

    life: int
    at: float


@define
class Run:
    """One run of one account's job. `deadline` seconds are the most that it may take; `ended` None: it never did."""

    life: int
    job: str
    account: str
    interval: float
    deadline: float
    began: float
    ended: float | None = None


@frozen
class Slow:
    """From when to when a transaction of a process waited for its disk."""

    life: int
    start: float
    end: float


@frozen
class Stock:
    """What the store named at one moment: the sessions, and of each account the machines that are not proven gone."""

    at: float
    sessions: tuple[str, ...]
    machines: tuple[tuple[str, str], ...]


@define
class Protected:
    """From when to when a machine was exempt, as confirmed."""

    account: str
    instance: str
    start: float
    end: float = FOREVER


SAME_MOMENT = 1e-3
"""Seconds. What leaves in the very moment of a confirmation may have been decided right before it."""


@frozen
class Ordered:
    """Somebody asked by hand for one machine to go."""

    account: str
    instance: str
    at: float


@frozen
class Forgot:
    """At `at` a store was put in place that ends at `since`; `since` 0: an empty one."""

    at: float
    since: float


@define
class Ledger:
    """A run, as it is judged.

    Attributes:
        exclusive: the accounts that nobody else uses.
        providers: of each account.
        intervals: of each account the published spacing of each kind of call in seconds; ``shared`` is that of any two.
        blocks_all: the accounts where a refusal for frequency shuts every kind of call.
        sweep_seconds: from sweep to sweep.
        shared: several processes can open the store, and a lease says which one acts.
        frozen: from a freeze that was confirmed to the moment at which its end was asked for.
        per_sweep, per_hour_share: the most verdicts of a sweep, and the share of an account's machines in an hour (1: no limit).
        healed_at, well_at, ended_at: when the faults ended, since when all was well after that, and when the run ended.
        ended_ahead: by how much the last process's clock was ahead of the true time at the end.
        crossings: the boundaries that were crossed before the healing, such as ``commit accept`` or ``effect create``.
        steps: how many boundaries were crossed in all.
        shown: the gauges at the end, such as ``{"orphans vast": 0}``.
        spilled: where a credential was found that must not be there.
        crashes: what shopperd itself called its own fault.
        arrived: the machines that another tool rented for a registered session: provider, id, moment, tag.
        unsealed: the rows of a store that its process left without their seals.
    """

    deployment: str
    providers: Mapping[str, str]
    exclusive: frozenset[str] = frozenset()
    intervals: Mapping[str, Mapping[str, float]] = field(factory=dict)
    blocks_all: frozenset[str] = frozenset()
    sweep_seconds: float = 60.0
    shared: bool = False
    sent: list[Sent] = field(factory=list)
    asked: list[Asked] = field(factory=list)
    ordered: list[Ordered] = field(factory=list)
    exempt: list[Protected] = field(factory=list)
    arrived: list[tuple[str, str, float, str]] = field(factory=list)
    machines: list[Machine] = field(factory=list)
    lives: list[Lifetime] = field(factory=list)
    held: list[Held] = field(factory=list)
    memory: list[Span] = field(factory=list)
    forgot: list[Forgot] = field(factory=list)
    frozen: list[tuple[float, float]] = field(factory=list)
    runs: list[Run] = field(factory=list)
    slow: list[Slow] = field(factory=list)
    stocks: list[Stock] = field(factory=list)
    per_sweep: int | None = None
    per_hour_share: float = 1.0
    healed_at: float = 0.0
    ended_at: float = 0.0
    ended_ahead: float = 0.0
    well_at: float = 0.0
    crossings: list[str] = field(factory=list)
    steps: int = 0
    shown: Mapping[str, float] = field(factory=dict)
    faults_fired: Mapping[str, int] = field(factory=dict)
    spilled: list[str] = field(factory=list)
    crashes: list[str] = field(factory=list)
    unsealed: list[str] = field(factory=list)

    def told_tag(self, machine: Machine) -> str | None:
        """The tag that a listing tells: a machine of Vast.ai has it a second time, for a label that is missing."""
        if machine.tag or machine.provider != "vastai":
            return machine.tag
        return self._created().get((machine.provider, machine.id, machine.created_at))

    def rented(self) -> dict[tuple[str, str, float], str]:
        """The tag that a machine was rented for, by provider, id and moment: it holds whatever became of the tag."""
        rented = self._created() | {(provider, id_, at): tag for provider, id_, at, tag in self.arrived}
        for old in sorted(self.machines, key=lambda machine: machine.created_at):
            tag = rented.get((old.provider, old.id, old.created_at))
            if tag is not None and old.ended_by == MIGRATED:
                rented |= {
                    (new.provider, new.id, new.created_at): tag
                    for new in self.machines
                    if new.provider == old.provider and new.created_at == old.destroyed_at
                }
        return rented

    def _created(self) -> dict[tuple[str, str, float], str]:
        return {
            (self.providers[sent.account], id_, at): sent.tag
            for sent in self.sent
            if sent.tag is not None
            for id_, at in sent.made
        }

    def sessions(self, at: float | None = None) -> dict[UUID, Asked]:
        """What was asked and is not forgotten at that moment (None: at the end), by the session that it became."""
        moment = self.ended_at if at is None else at
        return {
            asked.session_id: asked
            for asked in self.asked
            if asked.session_id is not None and not asked.is_forgotten(moment)
        }

    def left(self) -> list[Machine]:
        """The machines that are there at the end."""
        return [machine for machine in self.machines if machine.existed_at(self.ended_at)]

    def is_exempt(self, account: str, instance: str, at: float) -> bool:
        """Whether somebody had protected that machine, and had been told so, before that moment."""
        return any(
            (one.account, one.instance) == (account, instance) and one.start + SAME_MOMENT < at < one.end
            for one in self.exempt
        )


def claim_of(rented: Mapping[tuple[str, str, float], str], deployment: str, machine: Machine) -> UUID | None:
    """The session that a machine belongs to: the one it was rented for, else the one that its tag names exactly."""
    tag = rented.get((machine.provider, machine.id, machine.created_at), machine.tag)
    return session_of(tag, deployment)


def machine_of(ledger: Ledger, sent: Sent) -> Machine:
    """The machine that a destroy named, as it was when the destroy arrived."""
    provider = ledger.providers[sent.account]
    return Machine(provider, sent.instance or "", sent.machine_tag, sent.machine_created_at, None)


def machines_of(state: Mapping[str, Any]) -> list[Machine]:
    """The machines of the world's state, in an order that does not depend on how they ended."""
    rows = [
        Machine(row["provider"], row["id"], row["tag"], row["created_at"], row["destroyed_at"], row["ended_by"])
        for row in state["instances"]
    ]
    return sorted(rows, key=lambda machine: (machine.created_at, machine.provider, machine.id))


def most_in(seconds: float, moments: Sequence[float]) -> int:
    """The most of these moments that lie within any window of that length."""
    ordered = sorted(moments)
    return max((bisect.bisect_left(ordered, at + seconds) - place for place, at in enumerate(ordered)), default=0)

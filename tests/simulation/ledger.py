"""What reached the marketplaces, and what people asked for: the two things that oracles judge from."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from attrs import define, field, frozen

from shopperd.model import session_of


@frozen
class Sent:
    """One request that reached a marketplace. Times are epoch seconds.

    Attributes:
        life: the number of the process that sent it, from 1.
        tag: of a create, what it asked for.
        machine_tag, machine_created_at: of the machine that a destroy names, as they truly were when it arrived; None and 0
            where there was none.
        told_state, told_instance: of a destroy, what shopperd told at that moment of the session that the machine belongs to.
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

    @property
    def existed(self) -> bool:
        """A destroy that named a machine which was there."""
        return self.machine_created_at > 0


@define
class Asked:
    """A session that somebody asked for.

    Attributes:
        session_id: None if shopperd never took it up.
        deadlines: from when on which deadline held (None: none), epoch seconds, oldest first.
        ended_at: when its end was first asked for.
        told_state, told_instance: what shopperd tells of it at the end.
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

    def over_since(self, at: float) -> float | None:
        """Since when it was over at that moment by what was asked; None if it was live."""
        known = [deadline for since, deadline in self.deadlines if since <= at]
        deadline = known[-1] if known else None
        ends = [end for end in (self.ended_at, deadline) if end is not None and end <= at]
        return min(ends) if ends else None


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
class Ledger:
    """A run, as it is judged.

    Attributes:
        exclusive: the accounts that nobody else uses.
        providers: of each account.
        memory: when shopperd was awake, as (start, end); while a life runs its end is infinite.
        frozen: from a freeze that was confirmed to the moment at which its end was asked for.
        caps: the most verdicts that one account may carry out in an hour; None where there is no such limit.
        healed_at, well_at, ended_at: when the faults ended, since when all was well after that, and when the run ended.
        crossings: the boundaries that were crossed before the healing, such as ``commit accept`` or ``effect create``.
        crashes: what shopperd itself called its own fault.
    """

    deployment: str
    providers: Mapping[str, str]
    exclusive: frozenset[str] = frozenset()
    sent: list[Sent] = field(factory=list)
    asked: list[Asked] = field(factory=list)
    machines: list[Machine] = field(factory=list)
    memory: list[tuple[float, float]] = field(factory=list)
    frozen: list[tuple[float, float]] = field(factory=list)
    cap_per_hour: int | None = None
    healed_at: float = 0.0
    ended_at: float = 0.0
    well_at: float = 0.0
    crossings: list[str] = field(factory=list)
    faults_fired: Mapping[str, int] = field(factory=dict)
    crashes: list[str] = field(factory=list)

    def rented(self) -> dict[tuple[str, str, float], str]:
        """The tag that a machine was rented for, by provider, id and moment: it holds whatever became of the tag."""
        found = {}
        for sent in self.sent:
            if sent.operation == "create" and sent.tag is not None and sent.effect:
                for effect in sent.effect.split(","):
                    kind, _, id_ = effect.partition(":")
                    if kind == "created":
                        found[self.providers[sent.account], id_, sent.at] = sent.tag
        return found

    def sessions(self) -> dict[UUID, Asked]:
        """What was asked, by the session that it became."""
        return {asked.session_id: asked for asked in self.asked if asked.session_id is not None}


def claim_of(rented: Mapping[tuple[str, str, float], str], deployment: str, machine: Machine) -> UUID | None:
    """The session that a machine belongs to: the one it was rented for, else the one that its tag names exactly."""
    tag = rented.get((machine.provider, machine.id, machine.created_at), machine.tag)
    return session_of(tag, deployment)


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

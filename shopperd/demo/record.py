"""What the demo itself asked for and did: the yardstick that neither the daemon nor the simulator can bend."""

from __future__ import annotations

import enum

from attrs import define, field, frozen


class Role(enum.StrEnum):
    """What a machine out of nowhere is there for."""

    FOREIGN = "foreign"
    """Somebody else's: it must never be touched."""
    UNKNOWN = "unknown"
    """With a tag of our form that no memory knows, in an account that others may use: to be held and reported."""
    ORPHAN = "orphan"
    """With the tag of a session that is over: to be found and destroyed."""


@define
class Asked:
    """A session that the demo asked for. Times are epoch seconds.

    Attributes:
        keep: it is meant to run on to the end.
        expires_at: when its lifetime is over.
        end_asked_at: just before its end was asked for.
        machine_lost_at: when the demo took its machine away.
    """

    id: str
    account: str
    tag: str
    purpose: str
    keep: bool = False
    expires_at: float | None = None
    end_asked_at: float | None = None
    machine_lost_at: float | None = None

    @property
    def over_at(self) -> float | None:
        """From when on nobody claims its machine; None while somebody does."""
        ends = [at for at in (self.expires_at, self.end_asked_at) if at is not None]
        return min(ends, default=None)

    def is_over(self, at: float) -> bool:
        """Whether its machine was no longer claimed at that time."""
        over_at = self.over_at
        return over_at is not None and at >= over_at


@frozen
class Conjured:
    """A machine that the demo put into an account behind the daemon's back. `at`: epoch seconds."""

    account: str
    instance_id: str
    tag: str
    role: Role
    at: float


@define
class Record:
    """Everything that the demo did.

    Attributes:
        asked: sessions by id, in the order in which they were asked for.
        heard: the numbers of the events that the daemon's hook told.
        kills: how often the daemon was killed; `revivals`, how often it was ready again.
    """

    asked: dict[str, Asked] = field(factory=dict)
    conjured: list[Conjured] = field(factory=list)
    heard: frozenset[int] = frozenset()
    kills: int = 0
    revivals: int = 0

    def by_tag(self, tag: str | None) -> Asked | None:
        """The session whose tag it is."""
        return next((asked for asked in self.asked.values() if asked.tag == tag), None)

    def conjured_as(self, role: Role) -> list[Conjured]:
        """The machines out of nowhere in that role."""
        return [machine for machine in self.conjured if machine.role is role]

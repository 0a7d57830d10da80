"""What the daemon believes, as its API tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

STATE_RUNNING = "running"
STATE_LOST = "lost"
STATES_OVER = frozenset({"ended", "failed"})
"""A session in one of these claims nothing, and nothing more will come of it."""


@frozen
class BelievedSession:
    """A session as the daemon has it."""

    id: str
    account: str
    state: str
    tag: str
    instance_id: str | None
    reason: str | None = None


@frozen
class BelievedInstance:
    """A machine that the daemon believes to exist."""

    account: str
    id: str
    ownership: str
    tag: str | None = None


@frozen
class BelievedOrphan:
    """A machine that the daemon believes should not exist, and what holds it."""

    account: str
    instance_id: str
    kind: str
    phase: str
    hold_reason: str | None = None


@frozen
class Happening:
    """A row of the audit trail."""

    id: int
    at: str
    kind: str
    message: str
    account: str | None = None
    session_id: str | None = None
    instance_id: str | None = None


@frozen
class Belief:
    """All that the daemon believes at one moment, and its audit trail so far."""

    sessions: tuple[BelievedSession, ...] = ()
    instances: tuple[BelievedInstance, ...] = ()
    orphans: tuple[BelievedOrphan, ...] = ()
    trail: tuple[Happening, ...] = ()

    def session(self, id_: str) -> BelievedSession | None:
        """A session by its id."""
        return next((session for session in self.sessions if session.id == id_), None)

    def instance_ids(self, account: str) -> frozenset[str]:
        """The machines that it believes to exist in an account."""
        return frozenset(instance.id for instance in self.instances if instance.account == account)

    def happened(self, kind: str) -> frozenset[tuple[str, str]]:
        """Account and id of the machines that an event of that kind was about."""
        return frozenset(
            (row.account, row.instance_id)
            for row in self.trail
            if row.kind == kind and row.account is not None and row.instance_id is not None
        )


def sessions_of(rows: Iterable[Mapping[str, Any]]) -> tuple[BelievedSession, ...]:
    """Sessions from `GET /api/v1/sessions`."""
    return tuple(
        BelievedSession(
            id=row["id"],
            account=row["account"],
            state=row["state"],
            tag=row["tag"],
            instance_id=row["instance_id"],
            reason=row["reason"],
        )
        for row in rows
    )


def instances_of(rows: Iterable[Mapping[str, Any]]) -> tuple[BelievedInstance, ...]:
    """Machines from `GET /api/v1/instances`."""
    return tuple(
        BelievedInstance(account=row["account"], id=row["id"], ownership=row["ownership"], tag=row["tag"])
        for row in rows
    )


def orphans_of(rows: Iterable[Mapping[str, Any]]) -> tuple[BelievedOrphan, ...]:
    """Orphans from `GET /api/v1/orphans`."""
    return tuple(
        BelievedOrphan(
            account=row["account"],
            instance_id=row["instance_id"],
            kind=row["kind"],
            phase=row["phase"],
            hold_reason=row["hold_reason"],
        )
        for row in rows
    )


def trail_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Happening, ...]:
    """Rows of the audit trail from `GET /api/v1/events`."""
    return tuple(
        Happening(
            id=int(row["id"]),
            at=row["at"],
            kind=row["kind"],
            message=row["message"],
            account=row.get("account"),
            session_id=row.get("session_id"),
            instance_id=row.get("instance_id"),
        )
        for row in rows
    )

"""Destroy jobs: what must go, how often it was asked for, and whether it is proven gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from attrs import evolve, fields
from sqlalchemy import Connection

from shopperd.model import DestroyJob, DestroyOrigin
from shopperd.store import dialect, memo
from shopperd.store.columns import is_storable
from shopperd.store.errors import Conflict
from shopperd.store.schema import destroys
from shopperd.store.seals import Sealed

_COLUMNS = tuple(attribute.name for attribute in fields(DestroyJob))
_ROWS = Sealed(destroys, _COLUMNS)
"""Read in the order of the noun's own fields, so that a row's values are its arguments."""

_GET = sa.select(*_ROWS.columns).where(destroys.c.id == sa.bindparam("wanted"))
_OPEN = (
    sa.select(*_ROWS.columns)
    .where(destroys.c.account == sa.bindparam("wanted"), destroys.c.gone_at.is_(None))
    .order_by(destroys.c.next_attempt_at, destroys.c.id)
)
_OF_INSTANCE = (
    sa.select(*_ROWS.columns)
    .where(destroys.c.account == sa.bindparam("wanted"), destroys.c.instance_id == sa.bindparam("machine"))
    .order_by(destroys.c.id.desc())
    .limit(1)
)
_VERDICTS = (
    sa.select(sa.func.count())
    .select_from(destroys)
    .where(
        destroys.c.account == sa.bindparam("wanted"),
        destroys.c.requested_at >= sa.bindparam("since"),
        # A verdict that a command took over counts on (it keeps its kind): it may have been carried out before.
        (destroys.c.origin == DestroyOrigin.VERDICT) | destroys.c.kind.is_not(None),
    )
)
_AHEAD = sa.select(*_ROWS.columns).where(
    destroys.c.account == sa.bindparam("wanted"), destroys.c.requested_at > sa.bindparam("now")
)
_UPDATE = sa.update(destroys).where(destroys.c.id == sa.bindparam("same_id")).values(_ROWS.values)


def add(conn: Connection, job: DestroyJob) -> DestroyJob:
    """Record a destroy, and answer the one that now stands: a machine has at most one open job.

    If one is open already, it is the answer. A command takes over an open verdict: its origin and reason count from then
    on, it is due at the earlier of the two times, and the hold that a guard put on the verdict is lifted. The job keeps
    its kind, since the machine was an orphan of that kind.
    """
    values = _row(evolve(job, gone_at=None))
    del values["id"]
    number = conn.scalar(_add(conn.dialect.name), values)
    if number is not None:
        return _write(conn, evolve(job, id=number, gone_at=None))  # once more, as its number is under the seal too
    standing = for_instance(conn, job.account, job.instance_id)
    if standing is None or standing.gone_at is not None:
        raise Conflict(f"the destroy of {job.instance_id} changed while another was added")
    if not (job.origin is DestroyOrigin.COMMAND and standing.origin is DestroyOrigin.VERDICT):
        return standing
    return _write(
        conn,
        evolve(
            standing,
            origin=job.origin,
            reason=job.reason,
            next_attempt_at=min(standing.next_attempt_at, job.next_attempt_at),
            session_id=standing.session_id or job.session_id,
            hold=None,
        ),
    )


def get(conn: Connection, job_id: int) -> DestroyJob | None:
    """One job, open or closed."""
    kept = memo.room(conn, "destroys")
    if job_id not in kept:
        kept[job_id] = next(_jobs(conn, _GET, wanted=job_id), None)
    found: DestroyJob | None = kept[job_id]
    return found


def open_jobs(conn: Connection, account: str) -> list[DestroyJob]:
    """The jobs of an account whose machine is not proven gone, the one due first at the front."""
    kept = memo.room(conn, "open destroys")
    if account not in kept:
        kept[account] = tuple(_jobs(conn, _OPEN, wanted=account))
    return list(kept[account])


def for_instance(conn: Connection, account: str, instance_id: str) -> DestroyJob | None:
    """The newest job of a machine, open or closed."""
    return next(_jobs(conn, _OF_INSTANCE, wanted=account, machine=instance_id), None)


def update(conn: Connection, job: DestroyJob) -> DestroyJob:
    """Write a job's progress, and answer what now stands.

    A command that took the job over while the writer was at work is kept: the answer then has its origin and reason, no
    hold, and is due at the earlier time.

    Raises:
        Conflict: there is no such job, or it is closed and this would open it again.
    """
    standing = get(conn, job.id)
    if standing is None:
        raise Conflict(f"there is no destroy job {job.id}")
    if standing.gone_at is not None and job.gone_at is None:
        raise Conflict(f"destroy job {job.id} is closed: {job.instance_id} is proven gone")
    if standing.origin is DestroyOrigin.COMMAND and job.origin is DestroyOrigin.VERDICT:
        due = min(standing.next_attempt_at, job.next_attempt_at)
        job = evolve(job, origin=standing.origin, reason=standing.reason, next_attempt_at=due, hold=None)
    return _write(conn, job)


def verdicts_since(conn: Connection, account: str, since: datetime) -> int:
    """How many jobs of an account began as a verdict at that moment or later, closed ones too; for the hourly limit."""
    return conn.scalar(_VERDICTS, {"wanted": account, "since": since}) or 0


def correct_future(conn: Connection, account: str, now: datetime) -> None:
    """A clock that was ahead has noted the future: those jobs would count in every limit until then. They are of now."""
    for job in list(_jobs(conn, _AHEAD, wanted=account, now=now)):
        _write(conn, evolve(job, requested_at=now))


def forget_gone(conn: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` jobs closed before that moment; the answer is how many."""
    memo.room(conn, "destroys").clear()
    old = sa.select(destroys.c.id).where(destroys.c.gone_at < before).order_by(destroys.c.id).limit(limit)
    return conn.execute(sa.delete(destroys).where(destroys.c.id.in_(old))).rowcount


@cache
def _add(database: str) -> sa.Executable:
    is_open = sa.text("gone_at IS NULL")
    statement = dialect.insert(database, destroys)
    statement = statement.on_conflict_do_nothing(index_elements=["account", "instance_id"], index_where=is_open)
    return statement.returning(destroys.c.id)


def _jobs(conn: Connection, query: sa.Select[Any], **wanted: Any) -> Iterator[DestroyJob]:
    return (DestroyJob(*values) for values in _ROWS.read(conn, query, wanted))


def _row(job: DestroyJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in _COLUMNS}


def _write(conn: Connection, job: DestroyJob) -> DestroyJob:
    conn.execute(_UPDATE, _ROWS.sealed(conn, _row(job)) | {"same_id": job.id})
    _keep(conn, job)
    return job


def _keep(conn: Connection, job: DestroyJob) -> None:
    """Bring what is kept up to date with a job that was just written."""
    kept = memo.room(conn, "destroys")
    kept.pop(job.id, None)
    if is_storable(job.reason, job.tag, job.last_error):
        kept[job.id] = job
    memo.room(conn, "open destroys").pop(job.account, None)

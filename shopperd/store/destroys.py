"""Destroy jobs: what must go, how often it was asked for, and whether it is proven gone."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from attrs import asdict, evolve
from sqlalchemy import Connection

from shopperd.model import DestroyJob, DestroyOrigin
from shopperd.store import dialect
from shopperd.store.errors import Conflict
from shopperd.store.schema import destroys


def add(conn: Connection, job: DestroyJob) -> DestroyJob:
    """Record a destroy, and answer the one that now stands: a machine has at most one open job.

    If one is open already, it is the answer. A command takes over an open verdict: its origin and reason count from then
    on, it is due at the earlier of the two times, and the hold that a guard put on the verdict is lifted. The job keeps
    its kind, since the machine was an orphan of that kind.
    """
    opened = sa.text("gone_at IS NULL")
    values = asdict(evolve(job, gone_at=None), recurse=False)
    del values["id"]
    statement = dialect.insert(conn, destroys).values(values)
    number = conn.scalar(
        statement.on_conflict_do_nothing(index_elements=["account", "instance_id"], index_where=opened).returning(
            destroys.c.id
        )
    )
    if number is not None:
        return evolve(job, id=number, gone_at=None)
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
    row = conn.execute(sa.select(destroys).where(destroys.c.id == job_id)).mappings().one_or_none()
    return None if row is None else DestroyJob(**row)


def open_jobs(conn: Connection, account: str) -> list[DestroyJob]:
    """The jobs of an account whose machine is not proven gone, the one due first at the front."""
    query = sa.select(destroys).where(destroys.c.account == account, destroys.c.gone_at.is_(None))
    query = query.order_by(destroys.c.next_attempt_at, destroys.c.id)
    return [DestroyJob(**row) for row in conn.execute(query).mappings()]


def for_instance(conn: Connection, account: str, instance_id: str) -> DestroyJob | None:
    """The newest job of a machine, open or closed."""
    query = sa.select(destroys).where(destroys.c.account == account, destroys.c.instance_id == instance_id)
    row = conn.execute(query.order_by(destroys.c.id.desc()).limit(1)).mappings().one_or_none()
    return None if row is None else DestroyJob(**row)


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
    # A verdict that a command took over counts on (it keeps its kind): it may have been carried out before.
    verdict = (destroys.c.origin == DestroyOrigin.VERDICT) | destroys.c.kind.is_not(None)
    query = sa.select(sa.func.count()).where(destroys.c.account == account, destroys.c.requested_at >= since, verdict)
    return conn.scalar(query.select_from(destroys)) or 0


def forget_gone(conn: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` jobs closed before that moment; the answer is how many."""
    old = sa.select(destroys.c.id).where(destroys.c.gone_at < before).order_by(destroys.c.id).limit(limit)
    return conn.execute(sa.delete(destroys).where(destroys.c.id.in_(old))).rowcount


def _write(conn: Connection, job: DestroyJob) -> DestroyJob:
    values = asdict(job, recurse=False)
    conn.execute(sa.update(destroys).where(destroys.c.id == values.pop("id")).values(values))
    return job

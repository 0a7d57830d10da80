"""Sessions, the tombstones of forgotten ones, and the idempotency keys that made them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from attrs import asdict, evolve
from sqlalchemy import Connection, RowMapping

from shopperd.model import Session, SessionState, Spec
from shopperd.store import dialect
from shopperd.store.errors import BadCursor, Conflict
from shopperd.store.paging import Page, read_cursor, write_cursor
from shopperd.store.schema import destroys, idempotency_keys, instances, sessions, tombstones

K = TypeVar("K", UUID, str)

OVER = (SessionState.ENDED, SessionState.FAILED, SessionState.LOST)
"""States in which a session claims no machine."""

IDS_PER_QUERY = 500
"""Well under the number of parameters that either database takes in one statement."""

_over_since = sa.func.coalesce(sessions.c.ended_at, sessions.c.state_since, sessions.c.created_at)
_lost_since = sa.func.coalesce(sessions.c.state_since, sessions.c.ended_at, sessions.c.created_at)


def insert(conn: Connection, session: Session) -> None:
    """Write a new session.

    Raises:
        Conflict: the id is taken, be it by a forgotten session.
    """
    forgotten = conn.scalar(sa.select(tombstones.c.id).where(tombstones.c.id == session.id))
    statement = dialect.insert(conn, sessions).values(_row(session)).on_conflict_do_nothing()
    if forgotten is not None or conn.scalar(statement.returning(sessions.c.id)) is None:
        raise Conflict(f"session {session.id} exists already")


def get(conn: Connection, session_id: UUID) -> Session | None:
    """One session, unless it is unknown or forgotten."""
    row = conn.execute(sa.select(sessions).where(sessions.c.id == session_id)).mappings().one_or_none()
    return None if row is None else Session(**row)


def update(conn: Connection, session: Session) -> Session:
    """Write a changed session if nobody changed it since this version was read; the answer carries the next version.

    Raises:
        Conflict: somebody has, or it is not there any more.
    """
    following = evolve(session, version=session.version + 1)
    same = (sessions.c.id == session.id) & (sessions.c.version == session.version)
    if conn.execute(sa.update(sessions).where(same).values(_row(following))).rowcount != 1:
        raise Conflict(f"session {session.id} was changed since its version {session.version} was read")
    return following


def page(
    conn: Connection,
    *,
    states: Collection[SessionState] | None = None,
    account: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Session]:
    """Sessions, newest first; `states` None for all of them.

    Raises:
        BadCursor: the cursor is not from a page of sessions.
    """
    place = sa.tuple_(sessions.c.created_at, sessions.c.id)
    query = sa.select(sessions).order_by(sessions.c.created_at.desc(), sessions.c.id.desc()).limit(limit + 1)
    if states is not None:
        query = query.where(sessions.c.state.in_(list(states)))
    if account is not None:
        query = query.where(sessions.c.account == account)
    if cursor is not None:
        created_at, session_id = _place_in(cursor)
        query = query.where(
            place
            < sa.tuple_(sa.literal(created_at, sessions.c.created_at.type), sa.literal(session_id, sessions.c.id.type))
        )
    found = [Session(**row) for row in conn.execute(query).mappings()]
    items = tuple(found[:limit])
    if len(found) <= limit or not items:
        return Page(items)
    return Page(items, write_cursor(items[-1].created_at.isoformat(), str(items[-1].id)))


def open_sessions(conn: Connection, account: str) -> list[Session]:
    """The sessions of an account that claim a machine or are being rid of it, oldest first."""
    return _of_account(conn, account, sessions.c.state.not_in(OVER))


def creating(conn: Connection, account: str) -> list[Session]:
    """The create intents of an account whose fate is open, oldest first."""
    return _of_account(conn, account, sessions.c.state == SessionState.CREATING)


def lost_since(conn: Connection, account: str, since: datetime) -> list[Session]:
    """The sessions of an account that were lost at that moment or later, oldest first."""
    lost = sessions.c.state == SessionState.LOST
    return _of_account(conn, account, lost & (_lost_since >= sa.literal(since, sessions.c.created_at.type)))


def known(conn: Connection, ids: Collection[UUID]) -> dict[UUID, Session]:
    """Those of the ids that were ever ours, in any state.

    A forgotten session is reported from its tombstone: ENDED, with an empty spec.
    """
    found: dict[UUID, Session] = {}
    for some in _pieces(ids):
        for row in conn.execute(sa.select(tombstones).where(tombstones.c.id.in_(some))).mappings():
            found[row["id"]] = _forgotten(row)
        for row in conn.execute(sa.select(sessions).where(sessions.c.id.in_(some))).mappings():
            found[row["id"]] = Session(**row)
    return found


def bound(conn: Connection, account: str, instance_ids: Collection[str]) -> dict[str, Session]:
    """The newest session that each of these machines was ever bound to, whatever its tag says now; as `known` tells them."""
    found: dict[str, Session] = {}
    for some in _pieces(instance_ids):
        for table, read in ((tombstones, _forgotten), (sessions, _whole)):
            mine = (table.c.account == account) & table.c.instance_id.in_(some)
            query = sa.select(table).where(mine).order_by(table.c.created_at, table.c.id)
            for row in conn.execute(query).mappings():
                found[row["instance_id"]] = read(row)
    return found


def forget_ended(conn: Connection, before: datetime, limit: int) -> int:
    """Turn up to `limit` sessions that were over before that moment into tombstones; the answer is how many.

    A session stays as long as a machine that is bound to it or carries its tag is not proven gone, or a destroy of it is open.
    """
    moment = sa.literal(before, sessions.c.created_at.type)
    query = sa.select(*(sessions.c[column.name] for column in tombstones.c)).where(
        sessions.c.state.in_(OVER),
        sessions.c.created_at < moment,  # follows from the next, and has an index
        _over_since < moment,
        *(~still for still in _still_there()),
    )
    query = query.order_by(sessions.c.created_at, sessions.c.id).limit(limit)
    rows = [dict(row) for row in conn.execute(query).mappings()]
    if rows:
        conn.execute(dialect.insert(conn, tombstones).on_conflict_do_nothing(), rows)
        for some in _pieces([row["id"] for row in rows]):
            conn.execute(sa.delete(sessions).where(sessions.c.id.in_(some)))
    return len(rows)


def remember_key(conn: Connection, key: str, fingerprint: str, session_id: UUID, now: datetime) -> None:
    """Remember which session a request with this idempotency key made; write the session first, in the same transaction.

    The key is forgotten together with the session.

    Raises:
        Conflict: the key is taken, or there is no such session.
    """
    values = {"key": key, "fingerprint": fingerprint, "session_id": session_id, "created_at": now}
    statement = dialect.insert(conn, idempotency_keys).values(values).on_conflict_do_nothing()
    if conn.scalar(statement.returning(idempotency_keys.c.key)) is None:
        raise Conflict("this idempotency key was used already")


def by_key(conn: Connection, key: str) -> tuple[UUID, str] | None:
    """The session that this idempotency key made, and the fingerprint of the request that came with it."""
    columns = idempotency_keys.c
    row = conn.execute(sa.select(columns.session_id, columns.fingerprint).where(columns.key == key)).one_or_none()
    return None if row is None else (row.session_id, row.fingerprint)


def _still_there() -> Iterator[sa.Exists]:
    """What keeps a session from being forgotten; one question at a time, since an OR would make no use of the indexes."""
    for table, machine in ((instances, instances.c.id), (destroys, destroys.c.instance_id)):
        for same in (machine == sessions.c.instance_id, table.c.session_id == sessions.c.id):
            yield sa.exists().where(table.c.account == sessions.c.account, same, table.c.gone_at.is_(None))


def _row(session: Session) -> dict[str, Any]:
    return asdict(session, recurse=False)


def _whole(row: RowMapping) -> Session:
    return Session(**row)


def _forgotten(row: RowMapping) -> Session:
    return Session(**row, state=SessionState.ENDED, spec=Spec())


def _of_account(conn: Connection, account: str, condition: sa.ColumnElement[bool]) -> list[Session]:
    query = (
        sa.select(sessions)
        .where(sessions.c.account == account, condition)
        .order_by(sessions.c.created_at, sessions.c.id)
    )
    return [Session(**row) for row in conn.execute(query).mappings()]


def _place_in(cursor: str) -> tuple[datetime, UUID]:
    created_at, session_id = read_cursor(cursor, 2)
    try:
        moment = datetime.fromisoformat(created_at)
        identity = UUID(session_id)
    except ValueError:
        raise BadCursor("this cursor belongs to another list") from None
    if moment.tzinfo is None:
        raise BadCursor("this cursor belongs to another list")
    return moment, identity


def _pieces(values: Iterable[K]) -> Iterator[list[K]]:
    left = iter(dict.fromkeys(values))
    while piece := list(islice(left, IDS_PER_QUERY)):
        yield piece

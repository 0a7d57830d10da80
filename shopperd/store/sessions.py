"""Sessions, the tombstones of forgotten ones, and the idempotency keys that made them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from attrs import evolve, fields
from sqlalchemy import Connection

from shopperd.model import Session, SessionState, Spec
from shopperd.store import dialect, memo
from shopperd.store.columns import is_storable
from shopperd.store.errors import BadCursor, Conflict
from shopperd.store.paging import Page, read_cursor, write_cursor
from shopperd.store.schema import destroys, idempotency_keys, instances, sessions, tombstones
from shopperd.store.seals import SEAL, Sealed

K = TypeVar("K", UUID, str)

OVER = (SessionState.ENDED, SessionState.FAILED, SessionState.LOST)
"""States in which a session claims no machine."""

IDS_PER_QUERY = 500
"""Well under the number of parameters that either database takes in one statement."""

_COLUMNS = tuple(attribute.name for attribute in fields(Session))
_ROWS = Sealed(sessions, _COLUMNS)
"""Read in the order of the noun's own fields, so that a row's values are its arguments."""

_LEFT = tuple(column.name for column in tombstones.columns if column.name != SEAL)
"""What a tombstone keeps of a session."""

_GRAVES = Sealed(tombstones, _LEFT)


def _query(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    mine = sessions.c.account == sa.bindparam("wanted")
    return sa.select(*_ROWS.columns).where(mine, condition).order_by(sessions.c.created_at, sessions.c.id)


_GET = sa.select(*_ROWS.columns).where(sessions.c.id == sa.bindparam("wanted"))
_OPEN = _query(sessions.c.state.not_in(OVER))
_LOST = _query(sessions.c.state == SessionState.LOST)
_UPDATE = (
    sa.update(sessions)
    .where(sessions.c.id == sa.bindparam("same_id"), sessions.c.version == sa.bindparam("same_version"))
    .values(_ROWS.values)
)
_over_since = sa.func.coalesce(sessions.c.ended_at, sessions.c.state_since, sessions.c.created_at)


def insert(conn: Connection, session: Session) -> None:
    """Write a new session.

    Raises:
        Conflict: the id is taken, be it by a forgotten session.
    """
    forgotten = conn.scalar(sa.select(tombstones.c.id).where(tombstones.c.id == session.id))
    if forgotten is not None or conn.scalar(_insert(conn.dialect.name), _row(conn, session)) is None:
        raise Conflict(f"session {session.id} exists already")
    _keep(conn, session, instead_of=session)


def get(conn: Connection, session_id: UUID) -> Session | None:
    """One session, unless it is unknown or forgotten."""
    kept = memo.room(conn, "sessions")
    if session_id not in kept:
        session = next(_sessions(conn, _GET, wanted=session_id), None)
        if session is None:
            return None  # and not kept: anybody may ask for any id
        kept[session_id] = session
    found: Session | None = kept[session_id]
    return found


def update(conn: Connection, session: Session) -> Session:
    """Write a changed session if nobody changed it since this version was read; the answer carries the next version.

    Raises:
        Conflict: somebody has, or it is not there any more.
    """
    following = evolve(session, version=session.version + 1)
    if (
        conn.execute(_UPDATE, _row(conn, following) | {"same_id": session.id, "same_version": session.version}).rowcount
        != 1
    ):
        raise Conflict(f"session {session.id} was changed since its version {session.version} was read")
    _keep(conn, following, instead_of=memo.room(conn, "sessions").get(session.id))
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
    query = sa.select(*_ROWS.columns).order_by(sessions.c.created_at.desc(), sessions.c.id.desc()).limit(limit + 1)
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
    found = list(_sessions(conn, query))
    items = tuple(found[:limit])
    if len(found) <= limit or not items:
        return Page(items)
    return Page(items, write_cursor(items[-1].created_at.isoformat(), str(items[-1].id)))


def open_sessions(conn: Connection, account: str) -> list[Session]:
    """The sessions of an account that claim a machine or are being rid of it, oldest first."""
    return _of_account(conn, account, "open", _OPEN)


def creating(conn: Connection, account: str) -> list[Session]:
    """The create intents of an account whose fate is open, oldest first."""
    return [session for session in open_sessions(conn, account) if session.state is SessionState.CREATING]


def lost_since(conn: Connection, account: str, since: datetime) -> list[Session]:
    """The sessions of an account that were lost at that moment or later, oldest first."""
    return [session for session in _of_account(conn, account, "lost", _LOST) if lost_at(session) >= since]


def lost_at(session: Session) -> datetime:
    """When a lost session was found to be lost."""
    return session.state_since or session.ended_at or session.created_at


def known(conn: Connection, ids: Collection[UUID]) -> dict[UUID, Session]:
    """Those of the ids that were ever ours, in any state.

    A forgotten session is reported from its tombstone: ENDED, with an empty spec.
    """
    here, forgotten = memo.room(conn, "sessions"), memo.room(conn, "tombstones")
    found: dict[UUID, Session] = {}
    unread = []
    for id_ in dict.fromkeys(ids):
        session = here.get(id_) or forgotten.get(id_)
        if session is not None:
            found[id_] = session
        elif id_ not in here or id_ not in forgotten:
            unread.append(id_)
    for some in _pieces(unread):
        there = {one.id: one for one in _sessions(conn, sa.select(*_ROWS.columns).where(sessions.c.id.in_(some)))}
        graves = {one.id: one for one in _forgotten(conn, sa.select(*_GRAVES.columns).where(tombstones.c.id.in_(some)))}
        for id_ in some:
            here[id_] = there.get(id_)
            forgotten[id_] = graves.get(id_)
            session = here[id_] or forgotten[id_]
            if session is not None:
                found[id_] = session
    return found


def bound(conn: Connection, account: str, instance_ids: Collection[str]) -> dict[str, Session]:
    """The newest session that each of these machines was ever bound to, whatever its tag says now; as `known` tells them."""
    kept = memo.room(conn, f"bound {account}")
    unread = [id_ for id_ in dict.fromkeys(instance_ids) if id_ not in kept]
    for some in _pieces(unread):
        kept.update(dict.fromkeys(some))
        for table, rows, read in ((tombstones, _GRAVES, _forgotten), (sessions, _ROWS, _sessions)):
            mine = (table.c.account == account) & table.c.instance_id.in_(some)
            query = sa.select(*rows.columns).where(mine).order_by(table.c.created_at, table.c.id)
            kept.update((session.instance_id, session) for session in read(conn, query))
    return {id_: kept[id_] for id_ in instance_ids if kept[id_] is not None}


def forget_ended(conn: Connection, before: datetime, limit: int) -> int:
    """Turn up to `limit` sessions that were over before that moment into tombstones; the answer is how many.

    A session stays as long as a machine that is bound to it or carries its tag is not proven gone, or a destroy of it is open.
    """
    moment = sa.literal(before, sessions.c.created_at.type)
    query = sa.select(*_ROWS.columns).where(
        sessions.c.state.in_(OVER),
        sessions.c.created_at < moment,  # follows from the next, and has an index
        _over_since < moment,
        *(~still for still in _still_there()),
    )
    query = query.order_by(sessions.c.created_at, sessions.c.id).limit(limit)
    over = list(_sessions(conn, query))
    if over:
        graves = [_GRAVES.sealed(conn, {name: getattr(session, name) for name in _LEFT}) for session in over]
        conn.execute(
            dialect.insert(conn.dialect.name, tombstones).values(_GRAVES.values).on_conflict_do_nothing(), graves
        )
        for some in _pieces([session.id for session in over]):
            conn.execute(sa.delete(sessions).where(sessions.c.id.in_(some)))
        _forget_kept(conn, {session.account for session in over})
    return len(over)


def remember_key(conn: Connection, key: str, fingerprint: str, session_id: UUID, now: datetime) -> None:
    """Remember which session a request with this idempotency key made; write the session first, in the same transaction.

    The key is forgotten together with the session.

    Raises:
        Conflict: the key is taken, or there is no such session.
    """
    values = {"key": key, "fingerprint": fingerprint, "session_id": session_id, "created_at": now}
    statement = dialect.insert(conn.dialect.name, idempotency_keys).values(values).on_conflict_do_nothing()
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


@cache
def _insert(database: str) -> sa.Executable:
    return dialect.insert(database, sessions).values(_ROWS.values).on_conflict_do_nothing().returning(sessions.c.id)


def _row(conn: Connection, session: Session) -> dict[str, Any]:
    return _ROWS.sealed(conn, {name: getattr(session, name) for name in _COLUMNS})


def _sessions(conn: Connection, query: sa.Select[Any], **wanted: Any) -> Iterator[Session]:
    return (Session(*values) for values in _ROWS.read(conn, query, wanted))


def _forgotten(conn: Connection, query: sa.Select[Any]) -> Iterator[Session]:
    for values in _GRAVES.read(conn, query, {}):
        yield Session(**dict(zip(_LEFT, values, strict=True)), state=SessionState.ENDED, spec=Spec())


def _of_account(conn: Connection, account: str, which: str, query: sa.Select[Any]) -> list[Session]:
    kept = memo.room(conn, f"{which} sessions")
    if account not in kept:
        kept[account] = {session.id: session for session in _sessions(conn, query, wanted=account)}
    return list(kept[account].values())


def _keep(conn: Connection, session: Session, *, instead_of: Session | None) -> None:
    """Bring what is kept up to date with a session that was just written; `instead_of` is None if that is not known."""
    account = session.account
    here = memo.room(conn, "sessions")
    here.pop(session.id, None)
    is_as_written = is_storable(session.reason, session.offer_id, session.gpu)
    if is_as_written:
        here[session.id] = session
    for which, belongs in (("open", session.state not in OVER), ("lost", session.state is SessionState.LOST)):
        kept = memo.room(conn, f"{which} sessions")
        if not is_as_written:
            kept.pop(account, None)
        elif account in kept:
            _bring_up_to_date(kept[account], session, belongs=belongs)
    machines = memo.room(conn, f"bound {account}")
    if instead_of is None:
        machines.clear()
    else:
        machines.pop(instead_of.instance_id, None)
    machines.pop(session.instance_id, None)


def _bring_up_to_date(kept: dict[UUID, Session], session: Session, *, belongs: bool) -> None:
    """The same sessions, oldest first, with this one as it is now; the others are not read again.

    In place, since readers are given lists of their own: a copy for each of many changes would take the square of their number.
    """
    if not belongs:
        kept.pop(session.id, None)
        return
    before = kept.get(session.id)
    if before is not None and before.created_at != session.created_at:
        del kept[session.id]
        before = None
    newest = next(reversed(kept.values()), None)
    kept[session.id] = session
    if before is None and newest is not None and _age(newest) > _age(session):
        ordered = sorted(kept.values(), key=_age)
        kept.clear()
        kept.update((one.id, one) for one in ordered)


def _age(session: Session) -> tuple[datetime, UUID]:
    return session.created_at, session.id


def _forget_kept(conn: Connection, accounts: Iterable[str]) -> None:
    for name in ("sessions", "tombstones", "open sessions", "lost sessions", *(f"bound {name}" for name in accounts)):
        memo.room(conn, name).clear()


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

"""What is remembered of every machine that any listing ever held, or any create was answered with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from attrs import evolve, fields
from sqlalchemy import Connection

from shopperd.model import Instance, InstanceState, Ownership, Track
from shopperd.store import dialect, memo
from shopperd.store.columns import is_storable
from shopperd.store.paging import Page, read_cursor, write_cursor
from shopperd.store.schema import destroys, instances
from shopperd.store.seals import SEAL, Sealed

_OF_INSTANCE = tuple(attribute.name for attribute in fields(Instance))
_OF_TRACK = tuple(attribute.name for attribute in fields(Track) if attribute.name != "instance")
_REWRITTEN = tuple(name for name in (*_OF_INSTANCE, *_OF_TRACK, SEAL) if name not in ("account", "id"))

IDS_PER_QUERY = 500
"""Well under the number of parameters that either database takes in one statement."""

_ROWS = Sealed(instances, (*_OF_INSTANCE, *_OF_TRACK))
"""Read in the order of the nouns' own fields, so that a row's values are their arguments."""

_THERE = (
    sa.select(*_ROWS.columns)
    .where(instances.c.account == sa.bindparam("wanted"), instances.c.gone_at.is_(None))
    .order_by(instances.c.id)
)


def tracks(conn: Connection, account: str) -> Mapping[str, Track]:
    """The machines of an account that are not proven gone, by their id, in the order of the ids."""
    kept = memo.room(conn, "instances")
    if account not in kept:
        kept[account] = {track.instance.id: track for track in _tracks(conn, _THERE, wanted=account)}
    found: Mapping[str, Track] = kept[account]
    return found


def some(conn: Connection, account: str, instance_ids: Collection[str]) -> dict[str, Track]:
    """Those of these machines that were ever heard of and are not forgotten, be they gone or not."""
    return _found(conn, account, instance_ids, tracks(conn, account))


def get(conn: Connection, account: str, instance_id: str) -> Track | None:
    """One machine, be it gone or not; None if it was never heard of, or is forgotten."""
    kept: Mapping[str, Track] = memo.room(conn, "instances").get(account, {})
    if instance_id in kept:
        return kept[instance_id]
    return next(_tracks(conn, sa.select(*_ROWS.columns).where(_is(account, instance_id))), None)


def save(conn: Connection, account: str, tracks: Iterable[Track]) -> None:
    """Write these machines, new or known, in one go.

    `exempt` is taken for new ones only: for known ones `set_exempt` alone changes it. (A sweep reads tracks, waits for a
    listing and saves them; an exemption given meanwhile must survive that.)

    Raises:
        ValueError: one of them belongs to another account.
    """
    changed = tuple(tracks)
    if any(track.instance.account != account for track in changed):
        raise ValueError(f"a machine of another account among those of {account}")
    if not changed:
        return
    before = _found(
        conn, account, [track.instance.id for track in changed], memo.room(conn, "instances").get(account, {})
    )
    told = []
    for track in changed:
        known = before.get(track.instance.id, track)
        told.append(track if track.exempt == known.exempt else evolve(track, exempt=known.exempt))
        before[track.instance.id] = told[-1]
    _write(conn, told)
    _keep(conn, account, told)


def set_exempt(conn: Connection, account: str, instance_id: str, exempt: bool) -> bool:
    """Exempt a machine from every verdict, or no longer; False if there is no such machine."""
    track = get(conn, account, instance_id)
    if track is None:
        return False
    _write(conn, [evolve(track, exempt=exempt)])
    _forget_kept(conn, account)
    return True


def page(
    conn: Connection,
    *,
    account: str | None = None,
    ownership: Ownership | None = None,
    state: InstanceState | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Track]:
    """Machines that are not gone, by account and id.

    Raises:
        BadCursor: the cursor is not from a page of instances.
    """
    query = sa.select(*_ROWS.columns).where(instances.c.gone_at.is_(None))
    query = query.order_by(instances.c.account, instances.c.id).limit(limit + 1)
    for column, value in (
        (instances.c.account, account),
        (instances.c.ownership, ownership),
        (instances.c.state, state),
    ):
        if value is not None:
            query = query.where(column == value)
    if cursor is not None:
        last = read_cursor(cursor, 2)
        query = query.where(sa.tuple_(instances.c.account, instances.c.id) > sa.tuple_(*last))
    found = list(_tracks(conn, query))
    items = tuple(found[:limit])
    if len(found) <= limit or not items:
        return Page(items)
    return Page(items, write_cursor(items[-1].instance.account, items[-1].instance.id))


def forget_gone(conn: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` machines proven gone before that moment that no open destroy names; the answer is how many."""
    work = sa.exists().where(
        destroys.c.account == instances.c.account,
        destroys.c.instance_id == instances.c.id,
        destroys.c.gone_at.is_(None),
    )
    old = sa.select(instances.c.account, instances.c.id).where(instances.c.gone_at < before, ~work)
    chosen = conn.execute(old.order_by(instances.c.gone_at).limit(limit)).all()
    for account, instance_id in chosen:
        conn.execute(sa.delete(instances).where(_is(account, instance_id)))
        memo.room(conn, f"gone {account}").pop(instance_id, None)
    return len(chosen)


def _is(account: str, instance_id: str) -> sa.ColumnElement[bool]:
    return (instances.c.account == account) & (instances.c.id == instance_id)


@cache
def _save(database: str) -> sa.Insert:
    statement = dialect.insert(database, instances).values(_ROWS.values)
    following = {name: statement.excluded[name] for name in _REWRITTEN}
    return statement.on_conflict_do_update(index_elements=["account", "id"], set_=following)


def _found(conn: Connection, account: str, instance_ids: Iterable[str], there: Mapping[str, Track]) -> dict[str, Track]:
    """Those of these machines that were ever heard of; what is `there` is not read again."""
    gone = memo.room(conn, f"gone {account}")
    found: dict[str, Track] = {}
    unread = []
    for id_ in dict.fromkeys(instance_ids):
        track = there.get(id_) or gone.get(id_)
        if track is not None:
            found[id_] = track
        elif id_ not in gone:
            unread.append(id_)
    for start in range(0, len(unread), IDS_PER_QUERY):
        piece = unread[start : start + IDS_PER_QUERY]
        gone.update(dict.fromkeys(piece))
        query = sa.select(*_ROWS.columns).where(instances.c.account == account, instances.c.id.in_(piece))
        for track in _tracks(conn, query):
            found[track.instance.id] = gone[track.instance.id] = track
    return found


def _write(conn: Connection, changed: Iterable[Track]) -> None:
    conn.execute(_save(conn.dialect.name), [_row(conn, track) for track in changed])


def _keep(conn: Connection, account: str, changed: Iterable[Track]) -> None:
    """Bring what is kept up to date with machines that were just written."""
    kept, gone = memo.room(conn, "instances"), memo.room(conn, f"gone {account}")
    if account not in kept or not all(_is_read_as_written(track) for track in changed):
        return _forget_kept(conn, account)
    after, in_order = dict(kept[account]), True
    for track in changed:
        id_ = track.instance.id
        gone.pop(id_, None)
        if track.gone_at is not None:
            after.pop(id_, None)
            gone[id_] = track
        else:
            in_order = in_order and id_ in after
            after[id_] = track
    kept[account] = after if in_order else dict(sorted(after.items()))
    return None


def _is_read_as_written(track: Track) -> bool:
    machine = track.instance
    return is_storable(machine.tag, machine.provider_state, machine.gpu, machine.address)


def _forget_kept(conn: Connection, account: str) -> None:
    memo.room(conn, "instances").pop(account, None)
    memo.room(conn, f"gone {account}").clear()


def _row(conn: Connection, track: Track) -> dict[str, Any]:
    instance = track.instance
    row = {name: getattr(instance, name) for name in _OF_INSTANCE}
    row.update((name, getattr(track, name)) for name in _OF_TRACK)
    return _ROWS.sealed(conn, row)


def _tracks(conn: Connection, query: sa.Select[Any], **wanted: Any) -> Iterator[Track]:
    for values in _ROWS.read(conn, query, wanted):
        yield Track(Instance(*values[: len(_OF_INSTANCE)]), *values[len(_OF_INSTANCE) :])

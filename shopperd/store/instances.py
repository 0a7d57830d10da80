"""What is remembered of every machine that any listing ever held, or any create was answered with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from attrs import asdict, fields
from sqlalchemy import Connection, RowMapping

from shopperd.model import Instance, InstanceState, Ownership, Track
from shopperd.store import dialect
from shopperd.store.paging import Page, read_cursor, write_cursor
from shopperd.store.schema import destroys, instances

_OF_INSTANCE = tuple(attribute.name for attribute in fields(Instance))
_OF_TRACK = tuple(attribute.name for attribute in fields(Track) if attribute.name != "instance")
_REWRITTEN = tuple(name for name in (*_OF_INSTANCE, *_OF_TRACK) if name not in ("account", "id", "exempt"))
"""A sweep reads tracks, waits for a listing and saves them; an exemption given meanwhile must survive that."""


def tracks(conn: Connection, account: str, *, gone: bool = False) -> dict[str, Track]:
    """The machines of an account by their id, in the order of the ids; with `gone`, those proven gone too."""
    query = sa.select(instances).where(instances.c.account == account).order_by(instances.c.id)
    if not gone:
        query = query.where(instances.c.gone_at.is_(None))
    return {row["id"]: _track(row) for row in conn.execute(query).mappings()}


def get(conn: Connection, account: str, instance_id: str) -> Track | None:
    """One machine, be it gone or not; None if it was never heard of, or is forgotten."""
    query = sa.select(instances).where(_is(account, instance_id))
    row = conn.execute(query).mappings().one_or_none()
    return None if row is None else _track(row)


def save(conn: Connection, account: str, tracks: Iterable[Track]) -> None:
    """Write these machines, new or known, in one go.

    `exempt` is taken for new ones only: for known ones `set_exempt` alone changes it.

    Raises:
        ValueError: one of them belongs to another account.
    """
    rows = [_row(track) for track in tracks]
    if any(row["account"] != account for row in rows):
        raise ValueError(f"a machine of another account among those of {account}")
    if not rows:
        return
    statement = dialect.insert(conn, instances)
    following = {name: statement.excluded[name] for name in _REWRITTEN}
    conn.execute(statement.on_conflict_do_update(index_elements=["account", "id"], set_=following), rows)


def set_exempt(conn: Connection, account: str, instance_id: str, exempt: bool) -> bool:
    """Exempt a machine from every verdict, or no longer; False if there is no such machine."""
    statement = sa.update(instances).where(_is(account, instance_id)).values(exempt=exempt)
    return conn.execute(statement).rowcount == 1


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
    query = sa.select(instances).where(instances.c.gone_at.is_(None))
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
    found = [_track(row) for row in conn.execute(query).mappings()]
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
    return len(chosen)


def _is(account: str, instance_id: str) -> sa.ColumnElement[bool]:
    return (instances.c.account == account) & (instances.c.id == instance_id)


def _row(track: Track) -> dict[str, Any]:
    row = asdict(track, recurse=False)
    return asdict(row.pop("instance"), recurse=False) | row


def _track(row: RowMapping) -> Track:
    instance = Instance(**{name: row[name] for name in _OF_INSTANCE})
    return Track(instance, **{name: row[name] for name in _OF_TRACK})

"""What machines cost: the open charge of each, kept at hand, and those that are over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from attrs import evolve, fields
from sqlalchemy import Connection

from shopperd.model import Charge
from shopperd.store import dialect, memo
from shopperd.store.columns import UnreadableValueError
from shopperd.store.schema import charges

IDS_PER_QUERY = 500
"""Well under the number of parameters that either database takes in one statement."""

UNREADABLE_MAX = 100
"""A piece of charges may hold so many that cannot be read; with more, those that follow in it are left out too."""

_UNREADABLE = "shopperd.unreadable_charges"
_NAMES = tuple(attribute.name for attribute in fields(Charge))
_COLUMNS = tuple(charges.c[name] for name in _NAMES)
_KEY = ("account", "instance_id", "started_at")
_OPEN = sa.select(*_COLUMNS).where(charges.c.account == sa.bindparam("wanted"), charges.c.ended_at.is_(None))


def unreadable(conn: Connection, account: str) -> frozenset[str]:
    """What is wrong with those charges of an account that could not be read over this connection. Each costs itself and nothing else."""
    return frozenset(conn.info.get(_UNREADABLE, {}).get(account, ()))


def unreadable_machines(conn: Connection, account: str) -> set[str]:
    """The machines of an account whose charge goes on and cannot be read."""
    if not unreadable(conn, account):
        return set()
    ids = sa.select(charges.c.instance_id).where(charges.c.account == account, charges.c.ended_at.is_(None))
    return {row[0] for row in _rows(conn, account, conn.execute(ids))} - going_on(conn, account).keys()


def going_on(conn: Connection, account: str) -> Mapping[str, Charge]:
    """The charges of an account that are not over, by instance id: one a machine."""
    kept = memo.room(conn, "charges")
    if account not in kept:
        read = _readable(conn, account, conn.execute(_OPEN, {"wanted": account}))
        kept[account] = {charge.instance_id: charge for charge in read}
    found: Mapping[str, Charge] = kept[account]
    return found


def newest_ends(conn: Connection, account: str, wanted: Collection[str]) -> dict[str, datetime]:
    """When the newest charges of these machines were over, where they had one that is."""
    found: dict[str, datetime] = {}
    ids = list(wanted)
    for start in range(0, len(ids), IDS_PER_QUERY):
        of_these = (charges.c.account == account) & charges.c.instance_id.in_(ids[start : start + IDS_PER_QUERY])
        # Grouped, so that the rows of these machines are read: for one alone SQLite would go through those of all, newest first.
        query = sa.select(charges.c.instance_id, sa.func.max(charges.c.ended_at)).where(of_these)
        rows = _rows(conn, account, conn.execute(query.group_by(charges.c.instance_id)))
        found.update((row[0], row[1]) for row in rows if row[1] is not None)
    return found


def save(conn: Connection, account: str, changed: Iterable[Charge]) -> None:
    """Write these charges of one account, new or known by machine and start. One that is over as it begins is none."""
    rows, nothing = [], []
    after = dict(going_on(conn, account))
    for charge in changed:
        known = after.get(charge.instance_id)
        if known is not None and known.started_at == charge.started_at:
            del after[charge.instance_id]
        if charge.ended_at is not None and charge.ended_at <= charge.started_at:
            nothing.append(charge)
            continue
        if charge.ended_at is None:
            after[charge.instance_id] = charge
        rows.append(_row(charge))
    for charge in nothing:
        conn.execute(sa.delete(charges).where(*(charges.c[name] == getattr(charge, name) for name in _KEY)))
    if rows:
        statement = dialect.insert(conn.dialect.name, charges)
        following = {name: statement.excluded[name] for name in rows[0] if name not in _KEY}
        conn.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=following), rows)
    memo.room(conn, "charges")[account] = after


def price(conn: Connection, account: str, instance_id: str, usd_per_hour: float) -> list[Charge]:
    """Give those charges of a machine a price whose price was not known yet; the answer is these, as they are now."""
    unpriced = sa.select(*_COLUMNS).where(
        charges.c.account == account, charges.c.instance_id == instance_id, charges.c.usd_per_hour.is_(None)
    )
    found = [evolve(charge, usd_per_hour=usd_per_hour) for charge in _readable(conn, account, conn.execute(unpriced))]
    save(conn, account, found)
    return found


def accounts(conn: Connection) -> list[str]:
    """The accounts that ever had a charge which is kept, also those that are configured no more."""
    found: list[str] = []
    while True:  # from one to the next by the key, past all of their rows
        later = sa.select(sa.func.min(charges.c.account))
        try:
            name = conn.scalar(later.where(charges.c.account > found[-1]) if found else later)
        except UnreadableValueError:  # there is no way past a name that cannot be told, but through all rows
            every = _rows(conn, "", conn.execute(sa.select(charges.c.account).distinct()))
            return sorted(row[0] for row in every)
        if name is None:
            return found
        found.append(name)


def between(
    conn: Connection,
    account: str,
    since: datetime,
    until: datetime,
    *,
    session: UUID | None = None,
    after: Charge | None = None,
    limit: int = -1,
) -> list[Charge]:
    """The charges of an account that have a share in that time: those that are over by their end, then those that go on.

    Args:
        after: those up to this one are left out. One that goes on is never last of a piece that others follow.
        limit: of those that are over, so many at most; if there are as many, another piece follows. Below zero: all.
    """
    query = sa.select(*_COLUMNS).where(
        charges.c.account == account, charges.c.ended_at > since, charges.c.started_at < until
    )
    if session is not None:
        query = query.where(charges.c.session_id == session)
    order = (charges.c.ended_at, charges.c.instance_id, charges.c.started_at)
    if after is not None:
        last = (after.ended_at, after.instance_id, after.started_at)
        query = query.where(sa.tuple_(*order) > sa.tuple_(*last, types=[column.type for column in order]))
    query = query.order_by(*order)
    rows = conn.execute(query.limit(limit + UNREADABLE_MAX) if limit >= 0 else query)
    found = list(islice(_readable(conn, account, rows), limit if limit >= 0 else None))
    if len(found) == limit:
        return found
    return found + [
        charge
        for charge in going_on(conn, account).values()
        if charge.started_at < until and session in (None, charge.session_id)
    ]


def settled_since(conn: Connection, account: str, since: datetime) -> float:
    """USD of an account's charges that are over, from that moment on."""
    later = (charges.c.account == account) & (charges.c.ended_at > since)
    whole = conn.scalar(sa.select(sa.func.sum(charges.c.usd)).where(later, charges.c.started_at >= since))
    cut = _readable(conn, account, conn.execute(sa.select(*_COLUMNS).where(later, charges.c.started_at < since)))
    return float(whole or 0.0) + sum(charge.usd(since, charge.ended_at or since) for charge in cut)


def settled_of_sessions(conn: Connection, wanted: Collection[UUID]) -> dict[UUID, float]:
    """USD of the charges of these sessions that are over."""
    found: dict[UUID, float] = {}
    ids = list(wanted)
    for start in range(0, len(ids), IDS_PER_QUERY):
        of_these = charges.c.session_id.in_(ids[start : start + IDS_PER_QUERY])
        query = sa.select(charges.c.session_id, sa.func.sum(charges.c.usd)).where(of_these, charges.c.usd.is_not(None))
        found.update((row[0], row[1]) for row in conn.execute(query.group_by(charges.c.session_id)))
    return found


def settled_of_instances(conn: Connection, account: str, wanted: Collection[str]) -> dict[str, float]:
    """USD of the charges of these machines that are over."""
    found: dict[str, float] = defaultdict(float)
    ids = list(wanted)
    for start in range(0, len(ids), IDS_PER_QUERY):
        of_these = (charges.c.account == account) & charges.c.instance_id.in_(ids[start : start + IDS_PER_QUERY])
        query = sa.select(charges.c.instance_id, sa.func.sum(charges.c.usd)).where(of_these, charges.c.usd.is_not(None))
        found.update((row[0], row[1]) for row in conn.execute(query.group_by(charges.c.instance_id)))
    return found


def over_of_instances(conn: Connection, account: str, wanted: Collection[str], since: datetime) -> list[Charge]:
    """The charges of these machines that were over after that moment, oldest first."""
    found: list[Charge] = []
    ids = list(wanted)
    for start in range(0, len(ids), IDS_PER_QUERY):
        of_these = (charges.c.account == account) & charges.c.instance_id.in_(ids[start : start + IDS_PER_QUERY])
        query = sa.select(*_COLUMNS).where(of_these, charges.c.ended_at > since).order_by(charges.c.ended_at)
        found += _readable(conn, account, conn.execute(query))
    return found


def prune(conn: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` charges that were over before that moment; the answer is how many."""
    key = sa.tuple_(*(charges.c[name] for name in _KEY))
    old = sa.select(*(charges.c[name] for name in _KEY)).where(charges.c.ended_at < before).limit(limit)
    return conn.execute(sa.delete(charges).where(key.in_(old))).rowcount


def _readable(conn: Connection, account: str, result: sa.CursorResult[Any]) -> Iterator[Charge]:
    return (Charge(*row) for row in _rows(conn, account, result))


def _rows(conn: Connection, account: str, result: sa.CursorResult[Any]) -> Iterator[Any]:
    """The rows that can be read. One that cannot is noted, and the next one is read all the same."""
    while True:
        try:
            row = result.fetchone()
        except UnreadableValueError as error:
            conn.info.setdefault(_UNREADABLE, {}).setdefault(account, set()).add(str(error))
            continue
        if row is None:
            return
        yield row


def _row(charge: Charge) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(charge, name) for name in _NAMES}
    over = charge.ended_at is not None and charge.usd_per_hour is not None
    row["usd"] = charge.usd(charge.started_at, charge.ended_at) if over and charge.ended_at is not None else None
    return row

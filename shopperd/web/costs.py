"""``/costs``, and what sessions, instances and accounts have cost.

Counted up to the newest complete snapshot, so that an answer stays as it is while nothing is new.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from aiohttp import web
from attrs import frozen
from sqlalchemy import Connection

from shopperd.costs import counted_until
from shopperd.jobs.knowledge import last_complete_at
from shopperd.model import Charge, Session
from shopperd.store import charges, instances
from shopperd.web.answers import Cost, CostAnswer, ListAnswer, answer
from shopperd.web.door import API, DOOR
from shopperd.web.paging import piece
from shopperd.web.reading import Cursor, Limit, Word, read_query

routes = web.RouteTableDef()

EVER = datetime.min.replace(tzinfo=UTC)
DIGITS = 6
"""Of a dollar; what is beyond is noise of adding up."""


class By(StrEnum):
    """What to add up by."""

    ACCOUNT = "account"
    SESSION = "session"
    INSTANCE = "instance"


@frozen
class CostsQuery:
    """Which costs to add up, and by what.

    Attributes:
        since: the beginning of this month (UTC) if it is not given; `until`: now.
    """

    by: By = By.ACCOUNT
    account: Word | None = None
    session: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


@routes.get(f"{API}/costs")
async def list_costs(request: web.Request) -> web.Response:
    """What was spent in a time, by account, session or instance; traffic is not counted."""
    asked = read_query(request, CostsQuery)
    context = request.app[DOOR].context
    now = context.clock.now()
    since = start_of_month(now) if asked.since is None else asked.since
    rows = await context.store.run(_rows, asked, since, now if asked.until is None else asked.until)
    page = piece(rows, _key, f"costs:{asked.by}", asked.limit, asked.cursor)
    return answer(ListAnswer[CostAnswer](page.items, page.next))


def start_of_day(now: datetime) -> datetime:
    """When this day began, in UTC."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def start_of_month(now: datetime) -> datetime:
    """When this month began, in UTC."""
    return start_of_day(now).replace(day=1)


def of_account(conn: Connection, account: str, since: datetime) -> float:
    """USD that an account has cost from that moment on."""
    going_on = sum(charge.usd(since, until) for charge, until in _going_on(conn, account))
    return round(charges.settled_since(conn, account, since) + going_on, DIGITS)


def of_instances(conn: Connection, account: str, wanted: Collection[str]) -> Mapping[str, Cost]:
    """What these machines have cost, and are billed now."""
    usd, rates = (
        defaultdict[str, float](float, charges.settled_of_instances(conn, account, wanted)),
        defaultdict[str, float](float),
    )
    for charge, until in _going_on(conn, account):
        if charge.instance_id in wanted:
            usd[charge.instance_id] += charge.usd(EVER, until)
            rates[charge.instance_id] += charge.usd_per_hour or 0.0
    return {id_: Cost(round(usd[id_], DIGITS), rates[id_]) for id_ in wanted}


def of_sessions(conn: Connection, wanted: Sequence[Session]) -> Mapping[UUID, Cost]:
    """What these sessions have cost, and are billed now."""
    ids = {session.id for session in wanted}
    usd, rates = (
        defaultdict[UUID, float](float, charges.settled_of_sessions(conn, ids)),
        defaultdict[UUID, float](float),
    )
    for account in dict.fromkeys(session.account for session in wanted):
        for charge, until in _going_on(conn, account):
            if charge.session_id in ids:
                usd[charge.session_id] += charge.usd(EVER, until)
                rates[charge.session_id] += charge.usd_per_hour or 0.0
    return {id_: Cost(round(usd[id_], DIGITS), rates[id_]) for id_ in ids}


def _going_on(conn: Connection, account: str) -> Iterator[tuple[Charge, datetime]]:
    """The charges that go on, and until when they are counted."""
    looked_at = last_complete_at(conn, account)
    if looked_at is None:
        return
    tracks = instances.tracks(conn, account)
    for charge in charges.going_on(conn, account).values():
        yield charge, counted_until(charge, tracks, looked_at)


def _rows(conn: Connection, asked: CostsQuery, since: datetime, until: datetime) -> list[CostAnswer]:
    found = charges.between(conn, since, until, account=asked.account, session=asked.session)
    ends: dict[tuple[str, str], datetime] = {}
    for account in dict.fromkeys(charge.account for charge in found):
        ends.update(((account, charge.instance_id), end) for charge, end in _going_on(conn, account))
    sums: dict[tuple[str, str, str], CostAnswer] = {}
    for charge in found:
        end = (
            until if charge.ended_at is not None else min(until, ends.get((charge.account, charge.instance_id), since))
        )
        session = charge.session_id if asked.by is not By.ACCOUNT else None
        instance = charge.instance_id if asked.by is By.INSTANCE else None
        key = (charge.account, str(session or ""), instance or "")
        usd = charge.usd(since, end)
        before = sums.get(key)
        sums[key] = CostAnswer(
            account=charge.account,
            provider=charge.provider,
            session_id=session,
            instance_id=instance,
            since=since,
            until=asked.until,
            cost_usd=usd + (before.cost_usd if before else 0.0),
            estimated_usd=(usd if charge.estimated else 0.0) + (before.estimated_usd if before else 0.0),
            machine_seconds=charge.seconds(since, end) + (before.machine_seconds if before else 0.0),
            unpriced=charge.usd_per_hour is None or (before.unpriced if before else False),
        )
    return list(sums.values())


def _key(row: CostAnswer) -> tuple[str, str, str]:
    return row.account, str(row.session_id or ""), row.instance_id or ""

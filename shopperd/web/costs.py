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
from shopperd.model import Charge, Session, Track
from shopperd.store import Store, charges, instances
from shopperd.web.answers import Cost, CostAnswer, ListAnswer, answer
from shopperd.web.door import API, DOOR
from shopperd.web.paging import piece
from shopperd.web.reading import Cursor, Limit, Word, check_range, read_query

routes = web.RouteTableDef()

EVER, FOR_EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
PIECE = 1000
"""Charges that are added up in one transaction: some hundredths of a second."""
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
        since: the beginning of the month of `until` (UTC) if it is not given; `until`: now.
    """

    by: By = By.ACCOUNT
    account: Word | None = None
    session: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


Key = tuple[str, UUID | None, str | None]
"""Account, session and instance; None for what is not asked for."""


@frozen
class Sum:
    """What charges of one key come to."""

    provider: str
    usd: float
    estimated_usd: float
    seconds: float
    unpriced: bool

    def __add__(self, other: Sum) -> Sum:
        """Both together."""
        return Sum(
            self.provider,
            self.usd + other.usd,
            self.estimated_usd + other.estimated_usd,
            self.seconds + other.seconds,
            self.unpriced or other.unpriced,
        )


@frozen
class Part:
    """What one piece of an account's charges comes to; `last`: where the next one begins, None if there is none."""

    sums: Mapping[Key, Sum]
    last: Charge | None


@routes.get(f"{API}/costs")
async def list_costs(request: web.Request) -> web.Response:
    """What was spent in a time, by account, session or instance; traffic is not counted."""
    asked = read_query(request, CostsQuery)
    context = request.app[DOOR].context
    check_range(asked.since, asked.until)
    until = context.clock.now() if asked.until is None else asked.until
    since = start_of_month(until) if asked.since is None else asked.since
    rows = await _rows(context.store, asked, since, until)
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


def of_orphans(conn: Connection, account: str, wanted: Sequence[Track]) -> Mapping[str, float]:
    """USD that these orphans have cost since they were first seen to be some, by instance id."""
    since = {track.instance.id: track.orphan_since for track in wanted if track.orphan_since is not None}
    usd = dict.fromkeys((track.instance.id for track in wanted), 0.0)
    if not since:
        return usd
    over = charges.over_of_instances(conn, account, since, min(since.values()))
    for charge, until in (*((charge, FOR_EVER) for charge in over), *_going_on(conn, account)):
        if charge.instance_id in since:
            usd[charge.instance_id] += charge.usd(since[charge.instance_id], until)
    return {id_: round(value, DIGITS) for id_, value in usd.items()}


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


async def _rows(store: Store, asked: CostsQuery, since: datetime, until: datetime) -> list[CostAnswer]:
    """Added up piece by piece, so that a long time holds the store up no longer than a short one."""
    sums: dict[Key, Sum] = {}
    for account in [asked.account] if asked.account is not None else await store.run(charges.accounts):
        after: Charge | None = None
        while True:
            part = await store.run(_part, asked, account, since, until, after)
            for key, one in part.sums.items():
                sums[key] = sums[key] + one if key in sums else one
            after = part.last
            if after is None:
                break
    return [
        CostAnswer(
            account=account,
            provider=one.provider,
            session_id=session,
            instance_id=instance,
            since=since,
            until=asked.until,
            cost_usd=one.usd,
            estimated_usd=one.estimated_usd,
            machine_seconds=one.seconds,
            unpriced=one.unpriced,
        )
        for (account, session, instance), one in sums.items()
    ]


def _part(
    conn: Connection, asked: CostsQuery, account: str, since: datetime, until: datetime, after: Charge | None
) -> Part:
    found = charges.between(conn, account, since, until, session=asked.session, after=after, limit=PIECE)
    more = len(found) == PIECE and found[-1].ended_at is not None
    ends = {} if more else {charge.instance_id: end for charge, end in _going_on(conn, account)}
    sums: dict[Key, Sum] = {}
    for charge in found:
        end = until if charge.ended_at is not None else min(until, ends.get(charge.instance_id, since))
        if end <= since:
            continue  # nobody has seen it since
        session = charge.session_id if asked.by is not By.ACCOUNT else None
        key = (account, session, charge.instance_id if asked.by is By.INSTANCE else None)
        usd = charge.usd(since, end)
        one = Sum(
            charge.provider,
            usd,
            usd if charge.estimated else 0.0,
            charge.seconds(since, end),
            charge.usd_per_hour is None,
        )
        sums[key] = sums[key] + one if key in sums else one
    return Part(sums, found[-1] if more else None)


def _key(row: CostAnswer) -> tuple[str, str, str]:
    return row.account, str(row.session_id or ""), row.instance_id or ""

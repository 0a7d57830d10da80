"""``/orphans`` and ``/plan``: what should not be there, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from aiohttp import web
from attrs import frozen

from shopperd.jobs.context import AccountAtWork, Context
from shopperd.jobs.sweep import sentence_of
from shopperd.model import OrphanKind
from shopperd.web.answers import ListAnswer, OrphanAnswer, answer
from shopperd.web.door import API, DOOR, Door
from shopperd.web.paging import Key, piece
from shopperd.web.reading import Cursor, Limit, Word, read_query
from shopperd.web.standing import standing

routes = web.RouteTableDef()


@frozen
class OrphansQuery:
    """Which orphans to list."""

    account: Word | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


@frozen
class PlanQuery:
    """Whose plan; left out, that of every account."""

    account: Word | None = None


@frozen(slots=False)
class PlannedDestroy:
    """A destroy that a sweep would record now."""

    instance_id: str
    session_id: UUID | None
    kind: OrphanKind | None
    reason: str


@frozen(slots=False)
class PlanAnswer:
    """What a sweep of one account would do now, and why not more.

    Attributes:
        fresh: the newest snapshot is complete; without it nothing new is begun.
        allowed: destroys that the blast limits let pass.
        observing_sweeps: sweeps that still only look.
        destroys: costliest first.
    """

    account: str
    summary: str
    fresh: bool
    allowed: int
    observing_sweeps: int
    destroys: Sequence[PlannedDestroy]
    orphans: Sequence[OrphanAnswer]
    notes: Sequence[str]


@routes.get(f"{API}/orphans")
async def list_orphans(request: web.Request) -> web.Response:
    """The orphans as a sweep would judge them now, costliest first in each account."""
    door = request.app[DOOR]
    asked = read_query(request, OrphansQuery)
    found = [
        orphan for account in _chosen(door, asked.account) for orphan in (await standing(door.context, account)).orphans
    ]
    page = piece(found, _order, "orphans", asked.limit, asked.cursor)
    return answer(ListAnswer(page.items, page.next))


@routes.get(f"{API}/plan")
async def plan(request: web.Request) -> web.Response:
    """What a sweep would do now, for each account. Nothing is recorded."""
    door = request.app[DOOR]
    asked = read_query(request, PlanQuery)
    return answer(ListAnswer([await _plan(door.context, account) for account in _chosen(door, asked.account)]))


def _chosen(door: Door, name: str | None) -> Sequence[AccountAtWork]:
    return tuple(door.context.accounts.values()) if name is None else (door.control.account(name),)


def _order(orphan: OrphanAnswer) -> Key:
    return (orphan.account, -(orphan.price_per_hour or 0.0), orphan.instance_id)


async def _plan(context: Context, account: AccountAtWork) -> PlanAnswer:
    now = await standing(context, account)
    fresh = account.problem == ""
    return PlanAnswer(
        account=account.name,
        summary=sentence_of(now.plan, fresh=fresh),
        fresh=fresh,
        allowed=now.plan.allowed,
        observing_sweeps=now.observing,
        destroys=[PlannedDestroy(job.instance_id, job.session_id, job.kind, job.reason) for job in now.plan.destroys],
        orphans=now.orphans,
        notes=now.plan.notes,
    )

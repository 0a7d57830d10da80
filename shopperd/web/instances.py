"""``/instances``: what the marketplaces bill, ours or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from aiohttp import web
from attrs import frozen
from sqlalchemy import Connection

from shopperd.attempts import is_stuck
from shopperd.decisions import NotFound
from shopperd.explanation import Explanation
from shopperd.jobs.knowledge import last_complete_at
from shopperd.model import InstanceState, Ownership, Track
from shopperd.reconcile import holds_binding
from shopperd.settings import Duration
from shopperd.sightings import last_seen
from shopperd.store import instances, sessions
from shopperd.web.answers import (
    Cost,
    ExplainAnswer,
    InstanceAnswer,
    ListAnswer,
    answer,
    destroy_answer,
    explain_answer,
    instance_answer,
)
from shopperd.web.costs import of_instances, of_sessions
from shopperd.web.door import API, DOOR, Door
from shopperd.web.reading import Cursor, Limit, NoQuery, ReasonBody, Sentence, Word, read_body, read_query

routes = web.RouteTableDef()


@frozen
class InstancesQuery:
    """Which instances to list."""

    account: Word | None = None
    ownership: Ownership | None = None
    state: InstanceState | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


@routes.get(f"{API}/instances")
async def list_instances(request: web.Request) -> web.Response:
    """The instances that are not proven gone, foreign ones too."""
    asked = read_query(request, InstancesQuery)
    return answer(await request.app[DOOR].context.store.run(_page, asked))


@frozen
class AdoptBody:
    """Which session takes the machine: left out, the one that its tag names, or a new one."""

    reason: Sentence
    session_id: UUID | None = None
    lifetime: Duration | None = None


@routes.get(f"{API}/instances/{{account}}/{{id}}/explain")
async def explain(request: web.Request) -> web.Response:
    """Which rule condemns or spares an instance, what holds its destroy, and what would change that."""
    read_query(request, NoQuery)
    door = request.app[DOOR]
    told = await door.control.explain(request.match_info["account"], request.match_info["id"])
    return answer(await explained(door, told))


@routes.post(f"{API}/instances/{{account}}/{{id}}/adopt")
async def adopt(request: web.Request) -> web.Response:
    """Give an instance with our tag to a session, which then claims it."""
    door = request.app[DOOR]
    read_query(request, NoQuery)
    asked = await read_body(request, AdoptBody)
    account, instance_id = request.match_info["account"], request.match_info["id"]
    await door.control.adopt(
        account, instance_id, asked.reason, session_id=asked.session_id, lifetime_seconds=asked.lifetime
    )
    return await _answer_of(door, account, instance_id)


@routes.post(f"{API}/instances/{{account}}/{{id}}/destroy")
async def destroy(request: web.Request) -> web.Response:
    """Destroy one instance of ours by command."""
    read_query(request, NoQuery)
    asked = await read_body(request, ReasonBody)
    account, instance_id = request.match_info["account"], request.match_info["id"]
    door = request.app[DOOR]
    job = await door.control.destroy(account, instance_id, asked.reason)
    stuck = is_stuck(job, door.context.settings.destroys, door.context.clock.now())
    return answer(destroy_answer(job, stuck=stuck), status=202)


@routes.post(f"{API}/instances/{{account}}/{{id}}/exempt")
async def exempt(request: web.Request) -> web.Response:
    """Protect an instance from every destroy."""
    return await _set_exempt(request, exempt=True)


@routes.post(f"{API}/instances/{{account}}/{{id}}/unexempt")
async def unexempt(request: web.Request) -> web.Response:
    """Protect it no longer."""
    return await _set_exempt(request, exempt=False)


async def explained(door: Door, told: Explanation) -> ExplainAnswer:
    """An explanation as it is told, with what the machine and its session have cost."""
    cost, session_cost = await door.context.store.run(_costs_of, told)
    return explain_answer(told, door.context.settings.orphans.sightings, cost, session_cost)


async def _set_exempt(request: web.Request, *, exempt: bool) -> web.Response:
    door = request.app[DOOR]
    read_query(request, NoQuery)
    asked = await read_body(request, ReasonBody)
    account, instance_id = request.match_info["account"], request.match_info["id"]
    await door.control.exempt(account, instance_id, asked.reason, exempt=exempt)
    return await _answer_of(door, account, instance_id)


async def _answer_of(door: Door, account: str, instance_id: str) -> web.Response:
    found = await door.context.store.run(_one, account, instance_id)
    if found is None:
        raise NotFound(f"account {account} has no instance {instance_id!r} any more")
    return answer(found)


def _page(conn: Connection, asked: InstancesQuery) -> ListAnswer[InstanceAnswer]:
    page = instances.page(
        conn,
        account=asked.account,
        ownership=asked.ownership,
        state=asked.state,
        limit=asked.limit,
        cursor=asked.cursor,
    )
    return ListAnswer(told_of(conn, page.items), page.next)


def _costs_of(conn: Connection, told: Explanation) -> tuple[Cost, Cost]:
    machine, session = told.track.instance, told.session
    of_session = Cost() if session is None else of_sessions(conn, [session])[session.id]
    return of_instances(conn, machine.account, [machine.id])[machine.id], of_session


def _one(conn: Connection, account: str, instance_id: str) -> InstanceAnswer | None:
    track = instances.get(conn, account, instance_id)
    return None if track is None else told_of(conn, [track])[0]


def told_of(conn: Connection, tracks: Sequence[Track]) -> list[InstanceAnswer]:
    """Instances as they are told, each with the session that it belongs to."""
    by_account: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        by_account[track.instance.account].append(track)
    bound: dict[tuple[str, str], UUID] = {}
    costs: dict[str, Mapping[str, Cost]] = {}
    for account, own in by_account.items():
        costs[account] = of_instances(conn, account, {track.instance.id for track in own})
        owners = sessions.bound(conn, account, [track.instance.id for track in own])
        for track in own:
            owner = owners.get(track.instance.id)
            # A session that is over names the machine only where no tag does.
            if owner is not None and (track.instance.session_id is None or holds_binding(owner)):
                bound[account, track.instance.id] = owner.id
    return [
        instance_answer(
            track,
            bound.get((track.instance.account, track.instance.id)),
            last_seen(track, last_complete_at(conn, track.instance.account)),
            costs[track.instance.account][track.instance.id],
        )
        for track in tracks
    ]

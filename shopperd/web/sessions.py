"""``/sessions``: what somebody asked for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import web
from attrs import field, frozen
from sqlalchemy import Connection

from shopperd.control import Wish
from shopperd.decisions import Invalid, NotFound
from shopperd.model import Session, SessionState, Spec, Track
from shopperd.settings import Bounds, Duration
from shopperd.store import StoreError, events, instances, sessions
from shopperd.web.answers import (
    Cost,
    ListAnswer,
    SessionAnswer,
    SessionWithEvents,
    answer,
    session_answer,
    session_with_events,
)
from shopperd.web.costs import of_sessions
from shopperd.web.door import API, DOOR, Door, next_change
from shopperd.web.problems import Fault, Malformed
from shopperd.web.reading import (
    Cursor,
    Environment,
    Limit,
    NoQuery,
    Script,
    Sentence,
    Word,
    read_body,
    read_json,
    read_query,
    structure_body,
    uuid_of,
)

WAIT_SECONDS_MAX = 300.0
"""Longer than proxies and clients keep a silent connection; whoever wants to wait longer asks again."""

EVENTS_MAX = 1000
"""Of one session; a life has a few dozen."""

KEY_CHARS_MAX = 255

routes = web.RouteTableDef()


@frozen
class SessionsQuery:
    """`state`: one or several, with commas between."""

    state: tuple[SessionState, ...] | None = None
    account: Word | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


@frozen
class CreateQuery:
    """`wait`: seconds that the answer may wait for the provider's."""

    wait: Annotated[float, Bounds(0.0, WAIT_SECONDS_MAX, seconds=True)] = 0.0


@frozen
class CreateBody:
    """What to rent: one offer, or the cheapest that fits the wishes."""

    account: Word | None = None
    offer_id: Word | None = None
    gpu: Word | None = None
    gpu_count: Annotated[int, Bounds(1, 1024)] | None = None
    min_vram_gb: Annotated[int, Bounds(1, 65536)] | None = None
    max_price_per_hour: Annotated[float, Bounds(0.0, 1_000_000.0)] | None = None
    interruptible: bool = False
    image: Sentence | None = None
    disk_gb: Annotated[float, Bounds(1.0, 1_000_000.0)] | None = None
    env: Environment = field(factory=dict)
    ssh_key: Script | None = None
    onstart: Script | None = None
    lifetime: Duration | None = None


@frozen
class RegisterBody:
    """`id`: of the session; left out, one is made."""

    account: Word
    id: UUID | None = None
    lifetime: Duration | None = None


@frozen
class EndBody:
    """Why, for the audit trail."""

    reason: Sentence | None = None


@frozen
class ExtendBody:
    """Either how long from now, or until when."""

    lifetime: Duration | None = None
    expires_at: datetime | None = None


@routes.get(f"{API}/sessions")
async def list_sessions(request: web.Request) -> web.Response:
    """Sessions, newest first."""
    asked = read_query(request, SessionsQuery)
    return answer(await request.app[DOOR].context.store.run(_page, asked))


@routes.post(f"{API}/sessions")
async def create(request: web.Request) -> web.Response:
    """Rent a machine. The intent is durable before the answer."""
    door = request.app[DOOR]
    asked = read_query(request, CreateQuery)
    key = _idempotency_key(request)
    raw = await read_json(request)
    wish = _wish(structure_body(raw, CreateBody))
    made = await door.control.create(wish, key, _fingerprint(raw))
    session = await _settled(door, made.session, asked.wait)
    headers = {"Location": f"{API}/sessions/{session.id}"}
    if made.again:
        headers["Idempotency-Replayed"] = "true"
    return await _told(door, session, HTTPStatus.CREATED, headers)


@routes.post(f"{API}/sessions/register")
async def register(request: web.Request) -> web.Response:
    """Claim a machine that another tool rents under the tag in the answer."""
    door = request.app[DOOR]
    read_query(request, NoQuery)
    asked = await read_body(request, RegisterBody)
    session = await door.control.register(asked.account, asked.id, asked.lifetime)
    return await _told(door, session, HTTPStatus.CREATED, {"Location": f"{API}/sessions/{session.id}"})


@routes.get(f"{API}/sessions/{{id:(?!register$)[^/]+}}")
async def show(request: web.Request) -> web.Response:
    """One session with its events."""
    read_query(request, NoQuery)
    session_id = _id_in(request)
    found = await request.app[DOOR].context.store.run(_with_events, session_id)
    if found is None:
        raise _unknown(session_id)
    return answer(found)


@routes.post(f"{API}/sessions/{{id}}/end")
async def end(request: web.Request) -> web.Response:
    """End a session; its machine goes until it is proven gone."""
    door = request.app[DOOR]
    read_query(request, NoQuery)
    asked = await read_body(request, EndBody)
    session = await door.control.end(_id_in(request), asked.reason)
    return await _told(door, session, HTTPStatus.ACCEPTED)


@routes.post(f"{API}/sessions/{{id}}/extend")
async def extend(request: web.Request) -> web.Response:
    """Move a session's deadline."""
    door = request.app[DOOR]
    read_query(request, NoQuery)
    asked = await read_body(request, ExtendBody)
    session = await door.control.extend(_id_in(request), lifetime_seconds=asked.lifetime, expires_at=asked.expires_at)
    return await _told(door, session, HTTPStatus.OK)


def _id_in(request: web.Request) -> UUID:
    text = request.match_info["id"]
    found = uuid_of(text)
    if found is None:
        raise _unknown(text)
    return found


def _unknown(session_id: object) -> NotFound:
    return NotFound(f"there is no session {str(session_id)[:64]!r}; see `shopperd sessions list`")


def _idempotency_key(request: web.Request) -> str | None:
    given = request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    key = given[0]
    if len(given) > 1 or not 1 <= len(key) <= KEY_CHARS_MAX or not all(" " <= character <= "~" for character in key):
        what = f"must be given once, as 1 to {KEY_CHARS_MAX} printable ASCII characters"
        raise Malformed([Fault("header.Idempotency-Key", what)])
    return key


def _fingerprint(raw: Mapping[str, object]) -> str:
    """Of the body as it was sent, whatever the order of its keys: a later version may read more out of it, not less."""
    return hashlib.sha256(msgspec.json.encode(raw, order="deterministic")).hexdigest()


def _wish(asked: CreateBody) -> Wish:
    # Beside an offer only a price makes sense: the offer may have become dearer since it was looked at.
    wishes = [name for name in ("gpu", "gpu_count", "min_vram_gb") if _given(asked, name)]
    if asked.offer_id is not None and wishes:
        raise Malformed(
            [Fault(f"body.{name}", "must be left out beside `offer_id`, which names the machine") for name in wishes]
        )
    if asked.offer_id is None and not wishes and asked.max_price_per_hour is None:
        raise Invalid("say what to rent: `offer_id`, or one of `gpu`, `gpu_count`, `min_vram_gb`, `max_price_per_hour`")
    spec = Spec(
        offer_id=asked.offer_id,
        gpu=asked.gpu,
        gpu_count=1 if asked.gpu_count is None else asked.gpu_count,
        min_vram_gb=asked.min_vram_gb,
        max_price_per_hour=asked.max_price_per_hour,
        interruptible=asked.interruptible,
        image=asked.image,
        disk_gb=asked.disk_gb,
        env=asked.env,
        ssh_key=asked.ssh_key,
        onstart=asked.onstart,
    )
    return Wish(spec=spec, account=asked.account, lifetime_seconds=asked.lifetime)


def _given(asked: CreateBody, name: str) -> bool:
    return getattr(asked, name) is not None


async def _settled(door: Door, session: Session, seconds: float) -> Session:
    """The session as it is when its create has an outcome, or after that many seconds."""
    context = door.context
    try:
        async with asyncio.timeout(seconds):
            while seconds > 0 and session.state is SessionState.CREATING:
                async with next_change(context.changes) as change:
                    session = await context.store.run(_newest, session)
                    if door.closing.is_set():
                        break
                    if session.state is SessionState.CREATING:
                        await change
    except (TimeoutError, StoreError):
        # The intent is on disk: whoever asked must hear of it, be it late or with an old state.
        return session
    return session


async def _told(
    door: Door, session: Session, status: HTTPStatus, headers: Mapping[str, str] | None = None
) -> web.Response:
    try:
        told = await door.context.store.run(_with_track, session)
    except StoreError:
        told = session_answer(session, None, Cost())
    return answer(told, status=status.value, headers=headers)


def _newest(conn: Connection, session: Session) -> Session:
    return sessions.get(conn, session.id) or session


def _track(conn: Connection, session: Session) -> Track | None:
    return None if session.instance_id is None else instances.get(conn, session.account, session.instance_id)


def _with_track(conn: Connection, session: Session) -> SessionAnswer:
    return _with_tracks(conn, [session])[0]


def _with_tracks(conn: Connection, found: Sequence[Session]) -> list[SessionAnswer]:
    costs = of_sessions(conn, found)
    return [session_answer(session, _track(conn, session), costs[session.id]) for session in found]


def _page(conn: Connection, asked: SessionsQuery) -> ListAnswer[SessionAnswer]:
    page = sessions.page(conn, states=asked.state, account=asked.account, limit=asked.limit, cursor=asked.cursor)
    return ListAnswer(_with_tracks(conn, page.items), page.next)


def _with_events(conn: Connection, session_id: UUID) -> SessionWithEvents | None:
    session = sessions.get(conn, session_id)
    if session is None:
        return None
    trail = events.page(conn, session=session_id, limit=EVENTS_MAX)
    return session_with_events(session, _track(conn, session), of_sessions(conn, [session])[session.id], trail)

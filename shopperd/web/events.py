"""``/events``: the audit trail, in pages or as a stream that follows it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import hdrs, web
from attrs import frozen
from sqlalchemy import Connection

from shopperd.model import Event
from shopperd.settings import Bounds
from shopperd.store import StoreError, events
from shopperd.web.answers import EventAnswer, ListAnswer, answer, event_answer
from shopperd.web.door import API, DOOR, Door, next_change
from shopperd.web.problems import Fault, Malformed, Refusal
from shopperd.web.reading import LIMIT_MAX, Form, Limit, Word, read_query

HEARTBEAT_SECONDS = 15.0
"""A stream says this often that it is still there; proxies close silent ones after 30 to 60 seconds."""

STREAMS_MAX = 100
"""Each holds a connection for as long as somebody listens."""

FROM_NOW = "now"

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)

routes = web.RouteTableDef()


Place = Annotated[str, Form(f"[0-9]{{1,18}}|{FROM_NOW}", f"the number of an event, or {FROM_NOW!r}", 18)]
"""Where in the trail."""


@frozen
class EventsQuery:
    """Which events.

    Attributes:
        after: only those with a greater number; ``now``: only those to come.
        last: instead of the first ones after `after`, the newest so many.
    """

    after: Place = "0"
    last: Annotated[int, Bounds(1, LIMIT_MAX)] | None = None
    limit: Limit = 100
    cursor: Place | None = None
    account: Word | None = None
    session: UUID | None = None
    instance: Word | None = None


@routes.get(f"{API}/events")
async def list_events(request: web.Request) -> web.StreamResponse:
    """The audit trail in the order of its numbers; with ``Accept: text/event-stream``, and whatever comes."""
    door = request.app[DOOR]
    asked = read_query(request, EventsQuery)
    after = await _start(request, door, asked)
    if _wants_stream(request):
        return await _follow(request, door, asked, after)
    found = await door.context.store.run(_read, asked, after, asked.limit + 1, last=asked.last)
    if asked.last is not None or len(found) <= asked.limit:
        return answer(ListAnswer[EventAnswer]([event_answer(event) for event in found]))
    items = found[: asked.limit]
    # A plain number, so that it goes into `after` as well as into `cursor`.
    return answer(ListAnswer[EventAnswer]([event_answer(event) for event in items], str(items[-1].id)))


def _wants_stream(request: web.Request) -> bool:
    accepted = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    return any(part.partition(";")[0].strip().lower() == "text/event-stream" for part in accepted.split(","))


async def _start(request: web.Request, door: Door, asked: EventsQuery) -> int:
    """The number after which to begin. A stream that was broken tells the last one it saw in a header."""
    text = asked.after if asked.cursor is None else asked.cursor
    if hdrs.LAST_EVENT_ID in request.headers and _wants_stream(request):
        text = request.headers[hdrs.LAST_EVENT_ID]
        if text != FROM_NOW and not _NUMBER.fullmatch(text):
            raise Malformed([Fault("header.Last-Event-ID", f"must be the number of an event, or {FROM_NOW!r}")])
    return await door.context.store.run(events.last_id) if text == FROM_NOW else int(text)


def _read(conn: Connection, asked: EventsQuery, after: int, limit: int, *, last: int | None = None) -> Sequence[Event]:
    found = events.page(
        conn,
        after=after,
        limit=limit if last is None else last,
        session=asked.session,
        instance=asked.instance,
        account=asked.account,
        newest_first=last is not None,
    )
    return found if last is None else found[::-1]


async def _follow(request: web.Request, door: Door, asked: EventsQuery, after: int) -> web.StreamResponse:
    if len(door.streams) >= STREAMS_MAX:
        raise Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{STREAMS_MAX} streams are open, which is as many as there may be",
            {hdrs.RETRY_AFTER: "30"},
        )
    response = web.StreamResponse(headers={"X-Accel-Buffering": "no"})
    response.content_type = "text/event-stream"
    response.charset = "utf-8"
    door.streams.add(response)
    try:
        await response.prepare(request)
        # Whoever listens goes away without a word; the next write tells.
        with contextlib.suppress(ConnectionError):
            await _send_all(response, door, asked, after)
    finally:
        door.streams.discard(response)
    return response


async def _send_all(response: web.StreamResponse, door: Door, asked: EventsQuery, after: int) -> None:
    """Send what there is, then whatever comes, until the server closes."""
    await response.write(b": the audit trail follows\n\n")
    last = asked.last
    while True:
        async with next_change(door.context.changes) as change:
            try:
                found = await door.context.store.run(_read, asked, after, LIMIT_MAX, last=last)
            except StoreError:
                # What was committed is not lost: it is sent when the store answers again.
                found = ()
                await response.write(b": the store does not answer\n\n")
            last = None
            if found:
                after = found[-1].id
                await response.write(b"".join(_message(event) for event in found))
            if door.closing.is_set():
                return
            if len(found) == LIMIT_MAX:
                continue
            done, _ = await asyncio.wait([change], timeout=HEARTBEAT_SECONDS)
            if not done:
                await response.write(b": still here\n\n")


def _message(event: Event) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (event.id, msgspec.json.encode(event_answer(event)))

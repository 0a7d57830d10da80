"""The application: routes, and what stands before all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import hdrs, web

from shopperd.control import Control
from shopperd.jobs.context import Context
from shopperd.schedule import Schedule
from shopperd.secrets import Secret
from shopperd.web import (
    costs,
    events,
    exposition,
    health,
    instances,
    offers,
    openapi,
    operations,
    orphans,
    overview,
    sessions,
)
from shopperd.web.access import guarded
from shopperd.web.door import DOOR, Door, Health
from shopperd.web.exposition import measured
from shopperd.web.page import routes as page_routes
from shopperd.web.problems import answered
from shopperd.web.reading import BODY_BYTES_MAX
from shopperd.web.revalidation import tagged

_TABLES = (
    page_routes,
    overview.routes,
    costs.routes,
    sessions.routes,
    instances.routes,
    offers.routes,
    orphans.routes,
    events.routes,
    operations.routes,
)


def make_app(
    context: Context,
    control: Control,
    schedule: Schedule,
    token: Secret | None,
    *,
    loopback: bool,
    health: Callable[[], Health],
    notices: Callable[[], Sequence[str]],
) -> web.Application:
    """The HTTP interface of one daemon.

    Args:
        token: what changes must carry; None: they are taken on loopback only.
        loopback: only this machine can reach the listener.
        health: whether the daemon's loops turn.
        notices: what is not as it was set up, such as a reload that was refused.
    """
    door = Door(context, control, schedule, token, loopback, health, notices)
    # In this order: what is refused or goes wrong is counted too.
    app = web.Application(middlewares=[measured, answered, guarded, tagged], client_max_size=BODY_BYTES_MAX)
    app[DOOR] = door
    _add_routes(app, door)
    app.on_response_prepare.append(_with_headers)
    app.on_shutdown.append(_close)
    return app


def _add_routes(app: web.Application, door: Door) -> None:
    exposition.add_routes(app, door)
    health.add_routes(app, door)
    for table in _TABLES:
        app.add_routes(table)
    openapi.add_routes(app)


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = "shopperd"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


async def _close(app: web.Application) -> None:
    """Have those who wait for a change or follow the trail finish."""
    door = app[DOOR]
    door.closing.set()
    door.context.changes.tell()

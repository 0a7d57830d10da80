"""What every route works with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from aiohttp import web
from attrs import field, frozen

from shopperd.control import Control
from shopperd.jobs.context import Changes, Context
from shopperd.schedule import Schedule
from shopperd.secrets import Secret
from shopperd.web.failures import Failures

API = "/api/v1"
"""Where the routes begin."""


@frozen(slots=False)
class Health:
    """Whether the process turns at all, whatever providers and the store do; `reasons` say why not."""

    alive: bool
    reasons: tuple[str, ...] = ()


@frozen(eq=False)
class Door:
    """The daemon as the routes see it.

    Attributes:
        token: what changes must carry; None if none is set.
        loopback: only this machine can reach the listener.
        notices: what is not as it was set up, each in words.
        closing: the server is being shut down; whoever waits or streams is to finish.
        streams: the event streams that are open.
        failures: who gave wrong tokens lately.
    """

    context: Context
    control: Control
    schedule: Schedule
    token: Secret | None
    loopback: bool
    health: Callable[[], Health]
    notices: Callable[[], Sequence[str]]
    closing: asyncio.Event = field(factory=asyncio.Event)
    streams: set[object] = field(factory=set)
    failures: Failures = field(factory=Failures)


DOOR = web.AppKey("door", Door)


@contextlib.asynccontextmanager
async def next_change(changes: Changes) -> AsyncIterator[asyncio.Future[None]]:
    """The next change, waited for from now on. Read the store inside of the block, so that no change falls in between."""
    waiter = asyncio.ensure_future(changes.wait())
    try:
        # A task begins at the next turn of the loop; until then a change would go by unheard.
        await asyncio.sleep(0)
        yield waiter
    finally:
        waiter.cancel()

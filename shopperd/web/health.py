"""``/healthz``: do the loops turn. ``/readyz``: is everything there that a decision needs."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from aiohttp import web
from attrs import frozen

from shopperd.jobs.context import AccountAtWork, Context
from shopperd.jobs.knowledge import FROZEN_KEY
from shopperd.settings import Settings
from shopperd.store import StoreError, meta
from shopperd.web.answers import answer
from shopperd.web.door import Door

STORE_SECONDS_MAX = 5.0
"""A store that has not answered a trivial question by then does not answer."""

LATE_INTERVALS = 3
LATE_SECONDS = 30.0
"""A snapshot may be this many intervals old, and this much older for a listing under way, before it is called late."""


@frozen(slots=False)
class Readiness:
    """Whether every account is seen and the store answers; `missing` says what is not there."""

    ready: bool
    missing: tuple[str, ...]


def snapshot_age_seconds(account: AccountAtWork, now: datetime) -> float | None:
    """The age of the newest complete snapshot; None before the first."""
    if account.last_complete_at is None:
        return None
    return max(0.0, (now - account.last_complete_at).total_seconds())


def late_seconds(settings: Settings) -> float:
    """The age from which the newest complete snapshot is late."""
    jobs = settings.jobs
    interval = jobs.status.interval if jobs.status.enabled else jobs.sweep.interval
    return LATE_INTERVALS * interval + LATE_SECONDS


def trouble_of(context: Context, account: AccountAtWork) -> str | None:
    """What is wrong with the view of an account, None if it is whole and fresh."""
    age = snapshot_age_seconds(account, context.clock.now())
    why = f"{account.problem}: {account.detail}" if account.detail else account.problem
    if age is None:
        return why or "no complete snapshot yet"
    if age > late_seconds(context.settings):
        late = f"its newest complete snapshot is {age:.0f} s old"
        return f"{late} ({why})" if why else late
    return why or None


async def readiness(context: Context) -> Readiness:
    """Whether every account has a fresh complete snapshot and the store answers."""
    late = timedelta(seconds=late_seconds(context.settings))
    now = context.clock.now()
    # One failed listing is not yet a reason to be taken out of service: the age alone decides.
    missing = [
        f"account {account.name}: {trouble_of(context, account)}"
        for account in context.accounts.values()
        if account.last_complete_at is None or now - account.last_complete_at > late
    ]
    try:
        async with asyncio.timeout(STORE_SECONDS_MAX):
            await context.store.run(meta.get, FROZEN_KEY)
    except TimeoutError:
        missing.append(f"store: no answer within {STORE_SECONDS_MAX:.0f} s")
    except StoreError as error:
        missing.append(f"store: {error}")
    else:
        if context.store.problem is not None:
            missing.append(f"store: {context.store.problem}")
    return Readiness(ready=not missing, missing=tuple(missing))


def add_routes(app: web.Application, door: Door) -> None:
    """Serve both. Neither looks at the Host header: probes come under any name."""

    async def healthz(_: web.Request) -> web.Response:
        """Whether the loops turn."""
        health = door.health()
        return answer(health, status=200 if health.alive else 503)

    async def readyz(_: web.Request) -> web.Response:
        """Whether everything is there that a decision needs."""
        found = await readiness(door.context)
        return answer(found, status=200 if found.ready else 503)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)

"""``/status`` and ``/accounts``: the deployment on one screen."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime

from aiohttp import web
from attrs import frozen
from sqlalchemy import Connection

from shopperd import __version__
from shopperd.attempts import is_stuck
from shopperd.jobs.context import AccountAtWork, Context
from shopperd.jobs.knowledge import FROZEN_KEY
from shopperd.jobs.runner import Runner
from shopperd.model import HoldReason
from shopperd.reconcile import held_reasons, published_bound_seconds
from shopperd.redaction import redact
from shopperd.store import StoreError, meta
from shopperd.web.answers import ListAnswer, answer
from shopperd.web.costs import of_account, start_of_day, start_of_month
from shopperd.web.door import API, DOOR, Door
from shopperd.web.health import snapshot_age_seconds, trouble_of
from shopperd.web.reading import NoQuery, ReasonBody, read_body, read_query
from shopperd.web.standing import Standing, standing

routes = web.RouteTableDef()

ENDLESS_SECONDS = 10 * 365 * 86400.0
"""Credit that lasts so long is that of an account whose machines do not bill yet, or their disks alone."""


@frozen(slots=False)
class HoldAnswer:
    """A guard, and how many ripe orphans it holds."""

    reason: HoldReason
    count: int


@frozen(slots=False)
class LimitsAnswer:
    """What the limiter of an account knows.

    Attributes:
        interval_seconds: the spacing of calls in force, by kind of call; ``shared`` is that of any two, as a rate. 0 = none.
        learned_from: by the same keys: ``published``, ``settings``, ``probing``, or what a refusal told: ``threshold``,
            ``retry_after``, ``quota``, ``no_hint``.
        waiting: calls that wait for their turn, by kind.
        rate_limited_last_hour: calls that were refused for their frequency.
        blocked_share: of the last hour, how much of it refusals shut something.
        breaker_open: reads, offers and creates are held back because the provider answers nothing.
    """

    interval_seconds: Mapping[str, float]
    learned_from: Mapping[str, str]
    waiting: Mapping[str, int]
    calls_last_hour: int
    rate_limited_last_hour: int
    blocked_share: float
    breaker_open: bool


@frozen(slots=False)
class AccountAnswer:
    """One account.

    Attributes:
        healthy: its newest listing gave a complete snapshot, lately.
        reason: why it is not, in one of a bounded set of words: ``auth``, ``timeout``, ``page_failed``, ``stale`` ...
        detail: the same for people.
        instances: in the newest complete snapshot, foreign ones too.
        sessions: those that claim an instance.
        destroys_stuck: pending ones that a person should look at.
        observing_sweeps: sweeps that still only look.
        limits: how often its provider may be called; null where a plug-in does not tell.
        billed_per_hour: what its instances are billed in their present state; `burn_per_hour` is their whole price.
        cost_today_usd, cost_month_usd: what they have cost since the day and the month began, in UTC; null while the store
            does not answer.
        leaked_usd: what orphans have cost since the start of the process, as `shopperd_leaked_usd_total` tells it.
        balance_usd: the credit left, where the provider tells it and the key may read it.
        balance_left_seconds: how long that lasts at what is billed now; null where that is not known, or is ten years and more.
    """

    name: str
    provider: str
    healthy: bool
    reason: str | None
    detail: str | None
    last_complete_snapshot_at: datetime | None
    snapshot_age_seconds: float | None
    instances: int
    sessions: int
    orphans: int
    holds: Sequence[HoldAnswer]
    burn_per_hour: float
    billed_per_hour: float
    cost_today_usd: float | None
    cost_month_usd: float | None
    leaked_usd: float
    destroys_pending: int
    destroys_held: int
    destroys_stuck: int
    observing_sweeps: int
    budget_per_hour: float | None
    balance_usd: float | None
    balance_left_seconds: float | None
    exclusive: bool
    offers: int
    limits: LimitsAnswer | None


@frozen(slots=False)
class JobAnswer:
    """A job and how its newest run ended; `ok` null before the first."""

    job: str
    account: str
    interval_seconds: float
    running: bool
    ok: bool | None
    detail: str


@frozen(slots=False)
class StoreAnswer:
    """Where the store is, and what is wrong with it; `spooled` creates were accepted and wait until it takes them."""

    location: str
    ok: bool
    problem: str | None
    spooled: int


@frozen(slots=False)
class StatusAnswer:
    """The deployment.

    Attributes:
        notices: what is not as it was set up, such as a reload that was refused; each in words.
        orphan_bound_seconds: how soon an orphan is gone while its provider is healthy.
    """

    version: str
    deployment: str
    frozen: bool
    frozen_reason: str | None
    frozen_at: str | None
    mode: str
    store: StoreAnswer
    notices: Sequence[str]
    accounts: Sequence[AccountAnswer]
    jobs: Sequence[JobAnswer]
    burn_per_hour: float
    billed_per_hour: float
    cost_today_usd: float | None
    cost_month_usd: float | None
    leaked_usd: float
    destroys_pending: int
    destroys_stuck: int
    orphan_bound_seconds: float


@routes.get(f"{API}/status")
async def status(request: web.Request) -> web.Response:
    """The deployment. It answers with what is known while the store does not."""
    read_query(request, NoQuery)
    return answer(await status_of(request.app[DOOR]))


async def status_of(door: Door) -> StatusAnswer:
    """The deployment as it is now; what the store does not tell is told as it was last known."""
    context = door.context
    accounts = await _accounts(context)
    frozen_by = await _frozen_by(context)
    problem = context.store.problem
    return StatusAnswer(
        version=__version__,
        deployment=context.settings.deployment,
        frozen=context.frozen or frozen_by is not None,
        frozen_reason=None if frozen_by is None else str(frozen_by.get("reason", "")),
        frozen_at=None if frozen_by is None else str(frozen_by.get("at", "")).replace("+00:00", "Z"),
        mode=context.settings.orphans.mode,
        store=StoreAnswer(
            context.store.location,
            problem is None,
            None if problem is None else str(problem),
            len(context.spool.waiting) if context.spool is not None else 0,
        ),
        notices=[redact(notice) for notice in door.notices()],
        accounts=accounts,
        jobs=[_job(runner) for runner in door.schedule.runners],
        burn_per_hour=sum(account.burn_per_hour for account in accounts),
        billed_per_hour=sum(account.billed_per_hour for account in accounts),
        cost_today_usd=_sum([account.cost_today_usd for account in accounts]),
        cost_month_usd=_sum([account.cost_month_usd for account in accounts]),
        leaked_usd=sum(account.leaked_usd for account in accounts),
        destroys_pending=sum(account.destroys_pending for account in accounts),
        destroys_stuck=sum(account.destroys_stuck for account in accounts),
        orphan_bound_seconds=published_bound_seconds(context.settings),
    )


@routes.get(f"{API}/accounts")
async def list_accounts(request: web.Request) -> web.Response:
    """The accounts at work."""
    read_query(request, NoQuery)
    return answer(ListAnswer[AccountAnswer](await _accounts(request.app[DOOR].context)))


@routes.post(f"{API}/accounts/{{account}}/trust")
async def trust(request: web.Request) -> web.Response:
    """Take what an account's new credentials show, though none of the machines that were known is in it."""
    door = request.app[DOOR]
    read_query(request, NoQuery)
    asked = await read_body(request, ReasonBody)
    name = request.match_info["account"]
    await door.control.trust(name, asked.reason)
    return answer(await _account(door.context, door.control.account(name)))


async def _accounts(context: Context) -> list[AccountAnswer]:
    return [await _account(context, account) for account in tuple(context.accounts.values())]


async def _account(context: Context, account: AccountAtWork) -> AccountAnswer:
    today = start_of_day(context.clock.now())
    spent: tuple[float, float] | tuple[None, None] = None, None
    try:
        now: Standing | None = await standing(context, account)
    except StoreError:
        now = None  # the answer then tells the newest that the jobs have kept, and `store` tells why
    if now is not None:
        with contextlib.suppress(StoreError):  # what cannot be added up takes nothing else from the answer
            spent = await context.store.run(_spent, account.name, today)
    plan = account.plan if now is None else now.plan
    orphans = () if plan is None else plan.orphans
    trouble = trouble_of(context, account)
    jobs = [] if now is None else list(now.known.jobs.values())
    rules, at = context.settings.destroys, context.clock.now()
    return AccountAnswer(
        name=account.name,
        provider=account.provider_name,
        healthy=trouble is None,
        reason=None if trouble is None else account.problem or "stale",
        detail=None if trouble is None else redact(trouble),
        last_complete_snapshot_at=account.last_complete_at,
        snapshot_age_seconds=snapshot_age_seconds(account, at),
        instances=account.instances if now is None else len(now.present),
        sessions=account.sessions if now is None else now.live_sessions,
        orphans=len(orphans),
        holds=[HoldAnswer(reason, count) for reason, count in sorted(held_reasons(orphans).items())],
        burn_per_hour=account.burn_per_hour if now is None else now.burn_per_hour,
        billed_per_hour=account.billed_per_hour if now is None else now.billed_per_hour,
        cost_today_usd=spent[0],
        cost_month_usd=spent[1],
        leaked_usd=account.leaked_usd,
        destroys_pending=account.destroys_pending if now is None else len(jobs),
        destroys_held=sum(job.hold is not None for job in jobs),
        destroys_stuck=account.destroys_stuck if now is None else sum(is_stuck(job, rules, at) for job in jobs),
        observing_sweeps=0 if now is None else now.observing,
        budget_per_hour=account.settings.budget_per_hour or None,
        balance_usd=account.balance_usd,
        balance_left_seconds=_with_an_end(account.balance_left_seconds),
        exclusive=account.settings.exclusive,
        offers=len(account.market.index),
        limits=_limits(account),
    )


def _spent(conn: Connection, account: str, today: datetime) -> tuple[float, float]:
    return of_account(conn, account, today), of_account(conn, account, start_of_month(today))


def _sum(parts: Sequence[float | None]) -> float | None:
    """The whole, unless a part is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _with_an_end(seconds: float | None) -> float | None:
    return seconds if seconds is not None and seconds < ENDLESS_SECONDS else None


def _limits(account: AccountAtWork) -> LimitsAnswer | None:
    if account.limiter is None:
        return None
    known = account.limiter.limits
    return LimitsAnswer(
        interval_seconds={name: round(seconds, 4) for name, seconds in known.intervals.items()},
        learned_from=known.learned_from,
        waiting=known.waiting,
        calls_last_hour=known.calls_last_hour,
        rate_limited_last_hour=known.refused_last_hour,
        blocked_share=round(known.blocked_share, 4),
        breaker_open=known.breaker_open,
    )


def _job(runner: Runner) -> JobAnswer:
    job = runner.job
    return JobAnswer(
        job=job.name,
        account=job.account,
        interval_seconds=job.interval,
        running=runner.running is not None,
        ok=runner.last_ok,
        detail=redact(runner.last_sentence),
    )


async def _frozen_by(context: Context) -> dict[str, object] | None:
    try:
        found = await context.store.run(meta.get, FROZEN_KEY)
    except StoreError:
        return None
    return found if isinstance(found, dict) else None

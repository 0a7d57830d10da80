"""The sweep job: makes the plan for orphans from the snapshots' history and records the destroys that are allowed."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import define, evolve
from sqlalchemy import Connection

from shopperd.jobs.context import AccountAtWork, Context, Report, log
from shopperd.jobs.gauges import show_destroys, show_plan
from shopperd.jobs.knowledge import load, request_destroy, with_freeze
from shopperd.jobs.observer import look
from shopperd.model import OrphanPhase
from shopperd.reconcile import Account, Authority, Plan, Window, held_reasons, plan
from shopperd.settings import AccountSettings, Settings
from shopperd.store import destroys, meta

SAME_SWEEP_SHARE = 0.5
"""Sweeps closer together than this share of the interval (a restart, a run by hand) share one limit."""


def observing_key(account: str) -> str:
    """Where the store keeps how many sweeps of an account still only look."""
    return f"observing:{account}"


@define
class SweepJob:
    """Finds one account's orphans and has them destroyed."""

    context: Context
    at: AccountAtWork
    name: str = "sweep"
    must_finish: bool = False

    @property
    def account(self) -> str:
        """The account's name."""
        return self.at.name

    @property
    def interval(self) -> float:
        """Seconds from run to run."""
        return self.context.settings.jobs.sweep.interval

    @property
    def deadline(self) -> float:
        """As for the status job: a listing of many pages waits for its turn page by page."""
        return max(900.0, 3 * self.interval)

    async def run(self) -> Report:
        """Look, plan, record. The requests themselves are the destroys job's."""
        seen = await look(self.context, self.at)
        fresh = seen is not None and seen.snapshot.complete
        context = self.context
        made, known = await context.store.run(
            record_plan, self.at.settings, context.settings, context.authority(), context.clock.now(), fresh=fresh
        )
        show_plan(context, self.at, made, known)
        show_destroys(context, self.at, known)
        if made.destroys:
            for job in made.destroys:
                log.warning("destroy.recorded", instance=job.instance_id, reason=job.reason, origin="verdict")
            context.wake("destroys", self.at.name)
            context.changes.tell()
        return Report(sentence_of(made, fresh=fresh), ok=fresh)


def current_plan(
    conn: Connection,
    account: AccountSettings,
    settings: Settings,
    authority: Authority,
    now: datetime,
    *,
    fresh: bool,
) -> tuple[Plan, Account, int]:
    """What a sweep would do now, recording nothing; also how many sweeps still only look."""
    known = load(conn, account, settings, now)
    authority, window = bounds_of_sweep(conn, account, settings, authority, now)
    made = plan(known, settings, authority, window, now, snapshot_is_fresh=fresh)
    return made, known, authority.observing


def bounds_of_sweep(
    conn: Connection, account: AccountSettings, settings: Settings, authority: Authority, now: datetime
) -> tuple[Authority, Window]:
    """What bounds a sweep of an account: sweeps that still only look, and verdicts that were carried out lately."""
    observing = meta.get(conn, observing_key(account.name), settings.orphans.observe_sweeps)
    left = observing if isinstance(observing, int) else settings.orphans.observe_sweeps
    same_sweep = timedelta(seconds=settings.jobs.sweep.interval * SAME_SWEEP_SHARE)
    window = Window(
        last_sweep=destroys.verdicts_since(conn, account.name, now - same_sweep),
        last_hour=destroys.verdicts_since(conn, account.name, now - timedelta(hours=1)),
    )
    return evolve(authority, observing=left), window


def record_plan(
    conn: Connection,
    account: AccountSettings,
    settings: Settings,
    authority: Authority,
    now: datetime,
    *,
    fresh: bool,
) -> tuple[Plan, Account]:
    """Plan and record the destroys in one transaction, so that limits are counted against what is truly recorded."""
    authority = with_freeze(conn, authority)
    destroys.correct_future(conn, account.name, now)
    made, known, left = current_plan(conn, account, settings, authority, now, fresh=fresh)
    for job in made.destroys:
        request_destroy(conn, job, now)
    if fresh:
        meta.put(conn, observing_key(account.name), max(0, left - 1))
    return made, load(conn, account, settings, now) if made.destroys else known


def sentence_of(made: Plan, *, fresh: bool) -> str:
    """One sentence on a plan: what was found, what will go, what is held and why."""
    if not made.orphans:
        return "found no orphans" if fresh else "no complete snapshot, so nothing was planned"
    suspected = sum(orphan.phase is OrphanPhase.SUSPECTED for orphan in made.orphans)
    destroying = sum(orphan.phase is OrphanPhase.DESTROYING for orphan in made.orphans)
    number = "1 orphan" if len(made.orphans) == 1 else f"{len(made.orphans)} orphans"
    found = f"found {number}" if fresh else f"no complete snapshot; the last one had {number}"
    parts = [f"{found}: {suspected} suspected, {destroying} being destroyed"]
    parts.extend(f"{count} held ({reason})" for reason, count in held_reasons(made.orphans).items())
    return ", ".join(parts)

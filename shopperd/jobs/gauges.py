"""Sets the gauges of an account from what the store knows. They are set from state, never counted up and down."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime

from prometheus_client import Gauge

from shopperd.attempts import is_stuck
from shopperd.jobs.context import AccountAtWork, Context
from shopperd.jobs.tally import Tally
from shopperd.model import HoldReason, InstanceState, OrphanKind, OrphanPhase, Ownership, SessionState
from shopperd.reconcile import Account, Orphan, Plan, held_reasons, published_bound_seconds

SHOWN_STATES = tuple(state for state in SessionState if state not in (SessionState.ENDED, SessionState.FAILED))
"""Over is over: ended and failed sessions are rows of the store, not a state of the fleet."""


def show_account(context: Context, account: AccountAtWork, known: Account, tally: Tally) -> None:
    """Sessions, instances, spend and pending destroys."""
    metrics, labels = context.metrics, account.labels
    if account.shown.get("instances") != tally.instances:
        account.shown["instances"] = tally.instances
        for state in InstanceState:
            for ownership in Ownership:
                metrics.instances.labels(**labels, state=state.value, ownership=ownership.value).set(
                    tally.instances.get((state, ownership), 0)
                )
    if account.shown.get("sessions") != tally.sessions:
        account.shown["sessions"] = tally.sessions
        for session_state in SHOWN_STATES:
            metrics.sessions.labels(**labels, state=session_state.value).set(tally.sessions.get(session_state, 0))
    metrics.spend_usd_per_hour.labels(**labels).set(tally.burn_per_hour)
    account.burn_per_hour = tally.burn_per_hour
    metrics.fleet_unsettled.labels(**labels).set(0 if tally.settled else 1)
    account.instances = sum(tally.instances.values())
    account.sessions = tally.live
    show_destroys(context, account, known)


def show_destroys(context: Context, account: AccountAtWork, known: Account) -> None:
    """How many destroys are not proven yet, how many of them are stuck, and how old the oldest is."""
    account.destroys_pending = len(known.jobs)
    context.metrics.destroys_pending.labels(**account.labels).set(len(known.jobs))
    now, rules = context.clock.now(), context.settings.destroys
    account.destroys_stuck = sum(is_stuck(job, rules, now) for job in known.jobs.values())
    context.metrics.destroys_stuck.labels(**account.labels).set(account.destroys_stuck)
    held = sum(job.hold is not None for job in known.jobs.values())
    context.metrics.destroys_held.labels(**account.labels).set(held)
    oldest = max(((now - job.requested_at).total_seconds() for job in known.jobs.values()), default=0.0)
    context.metrics.destroy_oldest_age_seconds.labels(**account.labels).set(max(0.0, oldest))


def show_plan(context: Context, account: AccountAtWork, plan: Plan, known: Account) -> None:
    """Orphans by kind and phase, what holds them and open destroys, how old they are and what they cost by the hour."""
    metrics, labels = context.metrics, account.labels
    account.plan = plan
    counts = Counter((orphan.kind, orphan.phase) for orphan in plan.orphans)
    if account.shown.get("orphans") != counts:
        account.shown["orphans"] = counts
        for kind in OrphanKind:
            for phase in OrphanPhase:
                metrics.orphans.labels(**labels, kind=kind.value, phase=phase.value).set(counts[kind, phase])
    held = Counter(held_reasons(plan.orphans))
    held.update(job.hold for job in known.jobs.values() if job.hold is not None)
    if account.shown.get("holds") != held:
        account.shown["holds"] = held
        for reason in HoldReason:
            metrics.holds.labels(**labels, reason=reason.value).set(held[reason])
    now = context.clock.now()
    metrics.orphan_oldest_age_seconds.labels(**labels).set(
        max((_age(orphan, now) for orphan in plan.orphans), default=0.0)
    )
    metrics.orphan_usd_per_hour.labels(**labels).set(
        sum(orphan.track.instance.price_per_hour or 0.0 for orphan in plan.orphans)
    )
    metrics.held_usd_per_hour.labels(**labels).set(
        sum(o.track.instance.price_per_hour or 0.0 for o in plan.orphans if o.phase is OrphanPhase.HELD)
    )


def _age(orphan: Orphan, now: datetime) -> float:
    since = orphan.track.orphan_since or orphan.track.first_seen_at
    return max(0.0, (now - since).total_seconds())


def refresh_ages(context: Context) -> None:
    """Bring the gauges that grow by themselves up to date, right before they are read."""
    now = context.clock.now()
    metrics = context.metrics
    metrics.frozen.set(1 if context.frozen else 0)
    metrics.store_spooled.set(len(context.spool.waiting) if context.spool is not None else 0)
    metrics.creates_unrecorded.set(len(context.unrecorded))
    metrics.store_ok.set(1 if context.store.problem is None else 0)
    metrics.orphan_bound_seconds.set(published_bound_seconds(context.settings))
    metrics.clock_jumped_seconds.set(round(context.clock.jumped_seconds, 3))
    newest_market: dict[str, float] = {}
    for account in context.accounts.values():
        age = math.inf if account.last_complete_at is None else (now - account.last_complete_at).total_seconds()
        metrics.snapshot_age_seconds.labels(**account.labels).set(max(0.0, age))
        _show_or_drop(metrics.budget_usd_per_hour, account.labels, account.settings.budget_per_hour or None)
        _show_or_drop(metrics.account_balance_left_seconds, account.labels, account.balance_left_seconds)
        refreshed = account.market.refreshed_at
        market_age = math.inf if refreshed is None else max(0.0, (now - refreshed).total_seconds())
        name = account.provider_name
        newest_market[name] = min(newest_market.get(name, math.inf), market_age)
    for provider, age in newest_market.items():
        metrics.offers_age_seconds.labels(provider=provider).set(age)


def _show_or_drop(gauge: Gauge, labels: dict[str, str], value: float | None) -> None:
    """What is not known, or not there, has no series: an old value would stand for ever."""
    if value is None:
        gauge.remove_by_labels(labels)
    else:
        gauge.labels(**labels).set(value)

"""Reads one listing of an account and records it. Status and sweep both look through this, so snapshots never overlap."""

from __future__ import annotations

from datetime import timedelta

from attrs import define, evolve

from shopperd.clock import Clock
from shopperd.jobs.context import AccountAtWork, Context, log
from shopperd.jobs.gauges import show_account
from shopperd.jobs.knowledge import Recorded, recognise, record_snapshot
from shopperd.jobs.ledger import count_costs
from shopperd.model import Snapshot, priced
from shopperd.providers.contract import ProviderError
from shopperd.turns import RUN

ANOTHER_ACCOUNT = "another_account"
"""Why a listing counts for nothing: it shows no machine of the account that was watched so far."""


@define
class Look:
    """A listing that was read and recorded."""

    snapshot: Snapshot
    recorded: Recorded


async def look(context: Context, account: AccountAtWork) -> Look | None:
    """List an account and record what was seen; None if the provider gave nothing that could be used.

    Raises:
        StoreError: what was seen could not be recorded, so nothing may be decided from it.
    """
    async with account.listing:
        key, asked = account.key(), context.clock.monotonic()
        try:
            listed = await account.provider.list_all_instances()
        except ProviderError as error:
            account.problem = error.outcome
            account.detail = str(error)
            context.metrics.snapshots_total.labels(**account.labels, outcome=error.outcome).inc()
            log.warning("snapshot.failed", reason=error.outcome, detail=str(error))
            return None
        snapshot = await _with_prices(_in_order(listed, context.clock.monotonic() - asked), context.clock)
        if key != account.recognised and not await _recognises(context, account, key, snapshot):
            return None
        outcome = "complete" if snapshot.complete else snapshot.reason or "incomplete"
        context.metrics.snapshots_total.labels(**account.labels, outcome=outcome).inc()
        now = context.clock.now()
        recorded = await context.store.run(record_snapshot, account.settings, context.settings, snapshot, now)
        if snapshot.complete:
            await count_costs(context, account, recorded)
    if snapshot.complete:
        account.last_complete_at = snapshot.ended_at
        account.problem = account.detail = ""
    else:
        account.problem, account.detail = outcome, snapshot.detail
        log.warning("snapshot.incomplete", reason=outcome, detail=snapshot.detail)
    await _tell(context, account, recorded)
    return Look(snapshot=snapshot, recorded=recorded)


def _in_order(snapshot: Snapshot, seconds: float) -> Snapshot:
    """A clock that was set back during a listing has it begin in the future, where costs and deadlines would be counted from."""
    if snapshot.started_at <= snapshot.ended_at:
        return snapshot
    return evolve(snapshot, started_at=snapshot.ended_at - timedelta(seconds=seconds))


async def _with_prices(snapshot: Snapshot, clock: Clock) -> Snapshot:
    """One senseless price must not keep all machines from being seen."""
    wrong: list[str] = []
    for start in range(0, len(snapshot.instances), RUN):
        wrong += [one.id for one in snapshot.instances[start : start + RUN] if priced(one) is not one]
        if start:
            await clock.sleep(0)
    if not wrong:
        return snapshot
    detail = f"instance {wrong[0]} first: not finite, or below zero; its price counts as not known"
    log.warning("price.senseless", count=len(wrong), detail=detail)
    return evolve(snapshot, instances=tuple(map(priced, snapshot.instances)))


async def _recognises(context: Context, account: AccountAtWork, key: str, snapshot: Snapshot) -> bool:
    """Whether credentials that were not used before show the account that is known; if not, what they show counts for nothing."""
    if await context.store.run(recognise, account.name, key, snapshot, context.clock.now()):
        account.recognised = key
        return True
    account.problem, account.detail = (
        ANOTHER_ACCOUNT,
        (
            "its credentials or its address changed, and none of its machines is listed any more: is this another account? Put the old "
            f"ones back, or say that it is right with `shopperd trust {account.name}`"
        ),
    )
    context.metrics.snapshots_total.labels(**account.labels, outcome=ANOTHER_ACCOUNT).inc()
    log.error("account.not_recognised", reason=ANOTHER_ACCOUNT, detail=account.detail)
    return False


async def _tell(context: Context, account: AccountAtWork, recorded: Recorded) -> None:
    """Metrics, log lines and wake-ups that follow from what was recorded. Where that is much, others have their turn between."""
    observed = recorded.observed
    for track in recorded.detected:
        context.metrics.orphans_detected_total.labels(**account.labels, kind=str(track.kind)).inc()
        log.warning(
            "orphan.detected",
            instance=track.instance.id,
            orphan_kind=str(track.kind),
            price_per_hour=track.instance.price_per_hour,
        )
    for number, step in enumerate(observed.steps, 1):
        if number % RUN == 0:
            await context.clock.sleep(0)
        context.count_move(account, step.was, step.session.state)
        if not step.kind:
            continue
        log.info(step.kind, session=str(step.session.id), instance=step.session.instance_id, detail=step.message)
        if step.kind == "session.lost":
            context.metrics.sessions_lost_total.labels(**account.labels).inc()
    for id_ in observed.returned:
        log.error("instance.returned", instance=id_, detail="it had been proven gone and is listed again")
    for id_ in observed.replaced:
        log.error("instance.replaced", instance=id_, detail="its id now names another machine")
    show_settled(context, account, recorded)
    show_account(context, account, recorded.account, recorded.tally)
    if observed.commands:
        context.wake("destroys", account.name)
    if observed.steps or observed.settled or recorded.detected:
        context.changes.tell()


def show_settled(context: Context, account: AccountAtWork, recorded: Recorded) -> None:
    """Count what destroy jobs that are over have done, and how long it took."""
    for job in recorded.observed.settled:
        log.info("destroy.verified", instance=job.instance_id, origin=str(job.origin))
        if job.kind is None or job.gone_at is None:
            continue
        track = recorded.account.tracks.get(job.instance_id)
        if track is None:
            track = next((t for t in recorded.observed.tracks if t.instance.id == job.instance_id), None)
        context.metrics.orphans_destroyed_total.labels(**account.labels, kind=str(job.kind)).inc()
        if track is None:
            continue
        seconds = (job.gone_at - (track.orphan_since or job.requested_at)).total_seconds()
        context.metrics.orphan_cleanup_duration_seconds.labels(**account.labels, kind=str(job.kind)).observe(
            max(0.0, seconds)
        )

"""Gives the store what the spool holds, as soon as the store takes it: the ids of creates that were accepted meanwhile."""

from __future__ import annotations

import asyncio
from datetime import datetime

from sqlalchemy import Connection

from shopperd.jobs.context import Context, log
from shopperd.jobs.creates import accept
from shopperd.jobs.knowledge import append
from shopperd.model import CreateOutcome, Instance, Offer, Ownership, Track
from shopperd.providers.contract import CreatedInstance
from shopperd.store import AcceptedCreate, Conflict, StoreError, instances, sessions


async def recover(context: Context) -> int:
    """Record what waits in the spool, then empty it durably; how many records the store has taken.

    A record that the store cannot be given for a fault of ours is set aside in the audit trail: it must not hold everything up.

    Raises:
        StoreError: the store still does not take it, or the spool cannot be emptied. It is tried again with the next call.
    """
    spool = context.spool
    if spool is None or not (spool.waiting or spool.untidy):
        return 0
    taken: list[AcceptedCreate] = []
    try:
        for record in spool.waiting:
            await _give(context, record)
            taken.append(record)
        if spool.damaged:
            await context.store.run(note_damaged, spool.damaged, context.clock.now())
            for text in spool.damaged:
                log.warning("spool.damaged", detail=text)
    except Conflict as error:
        log.warning("create.not_recovered", detail=str(error))
    finally:
        await asyncio.to_thread(spool.forget, taken)
    if taken:
        context.changes.tell()
    return len(taken)


async def _give(context: Context, record: AcceptedCreate) -> None:
    told = {"session": str(record.session_id), "instance": record.instance_id, "account": record.account}
    try:
        changed = await context.store.run(recover_create, record, context.clock.now())
    except (StoreError, Conflict):
        raise
    except Exception:
        log.exception("create.unrecoverable", **told, detail="this is a fault of shopperd: please report it")
        await context.store.run(set_aside, record, context.clock.now())
        return
    if changed:
        log.warning("create.recovered", **told, detail="it was accepted while the store took nothing")
        for job in ("status", "destroys"):
            context.wake(job, record.account)


def recover_create(conn: Connection, record: AcceptedCreate, now: datetime) -> bool:
    """Record an accepted create as if its answer came now. False if the store knew it already; then nothing changes."""
    session = sessions.get(conn, record.session_id)
    if session is None:
        return _remember_machine(conn, record, now)
    if session.instance_id == record.instance_id and session.create_outcome is CreateOutcome.ACCEPTED:
        return False
    _append(
        conn, "create.recovered", record, now, f"its answer came at {record.at.isoformat()} and waited in the spool"
    )
    accept(conn, record.session_id, CreatedInstance(record.instance_id, record.price_per_hour), _offer(record), now)
    return True


def set_aside(conn: Connection, record: AcceptedCreate, now: datetime) -> None:
    """Keep in the audit trail what cannot be recorded otherwise."""
    _append(conn, "create.unrecoverable", record, now, "it was accepted, and cannot be recorded")


def note_damaged(conn: Connection, lines: tuple[str, ...], now: datetime) -> None:
    """Keep in the audit trail what stood in the spool and is no record."""
    for text in lines:
        append(conn, now, "spool.damaged", "a line of the spool is no record; it may name a machine", line=text)


def _remember_machine(conn: Connection, record: AcceptedCreate, now: datetime) -> bool:
    """Remember a machine whose session the store does not know: it is older than the session, or another store."""
    if sessions.known(conn, [record.session_id]) or instances.get(conn, record.account, record.instance_id) is not None:
        return False
    machine = Instance(
        account=record.account,
        provider=record.provider,
        id=record.instance_id,
        tag=record.tag,
        session_id=record.session_id,
        ownership=Ownership.UNKNOWN,
        gpu=record.gpu,
        gpu_count=record.gpu_count,
        vram_gb=record.vram_gb,
        price_per_hour=_price(record),
    )
    instances.save(conn, record.account, [Track(machine, first_seen_at=now, last_seen_at=now, ever_seen=False)])
    _append(conn, "create.recovered", record, now, "this store does not know its session; its machine is remembered")
    return True


def _append(conn: Connection, kind: str, record: AcceptedCreate, now: datetime, message: str) -> None:
    append(
        conn,
        now,
        kind,
        f"instance {record.instance_id}: {message}",
        record.account,
        record.session_id,
        record.instance_id,
        tag=record.tag,
        price_per_hour=_price(record),
    )


def _price(record: AcceptedCreate) -> float:
    return record.offer_price_per_hour if record.price_per_hour is None else record.price_per_hour


def _offer(record: AcceptedCreate) -> Offer:
    return Offer(
        id=record.offer_id,
        provider=record.provider,
        provider_id=record.offer_provider_id,
        account=record.account,
        gpu=record.gpu,
        gpu_count=record.gpu_count,
        vram_gb=record.vram_gb,
        price_per_hour=record.offer_price_per_hour,
    )

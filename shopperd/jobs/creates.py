"""The creates job: turns durable create intents into requests, each sent at most once for an offer.

The intent is on disk before this job hears of it, and is marked as sent when its turn has come, before the provider hears of it;
until then a crash costs nothing, the next process sends it. After that only three things can be known: refused (a definite answer), accepted (an id), or unclear. Unclear is never repeated; listings settle it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Concatenate, ParamSpec
from uuid import UUID

from attrs import define, evolve, field
from sqlalchemy import Connection

from shopperd.jobs.context import AccountAtWork, Context, Report, log
from shopperd.jobs.knowledge import FROZEN_KEY, append, request_destroy
from shopperd.lifecycle import LATE_ANSWER, REASON_EXPIRED, bound, moved, revived
from shopperd.market import fits, request_for
from shopperd.model import CreateOutcome, Instance, Offer, Ownership, Session, SessionState, Track, is_price
from shopperd.providers.contract import (
    GATE,
    AuthFailed,
    CreatedInstance,
    CreateRequest,
    OfferUnavailable,
    ProviderError,
    Refused,
    Withheld,
)
from shopperd.reconcile import command_for
from shopperd.store import AcceptedCreate, Spool, StoreError, instances, meta, sessions

P = ParamSpec("P")

IDLE_SECONDS = 30.0
"""Without a new intent the job looks this often, as a second belt beside being woken."""

RECORD_AGAIN_SECONDS = 1.0
"""An id that could not be recorded is tried again after this, for ever: it may be the only trace of a machine that bills."""

SAY_AGAIN_TRIES = 60
"""After so many more failures it is said again."""

LOOK_AGAIN_SECONDS = 5.0
"""While nothing may be begun the job looks this often whether that is over."""


@define
class CreatesJob:
    """Sends one account's create requests, several at a time; the limiter spaces them."""

    context: Context
    at: AccountAtWork
    name: str = "creates"
    must_finish: bool = True
    _in_flight: set[UUID] = field(factory=set, init=False)
    _sent: set[UUID] = field(factory=set, init=False)

    @property
    def account(self) -> str:
        """The account's name."""
        return self.at.name

    @property
    def interval(self) -> float:
        """Seconds from run to run when nothing is asked for."""
        return IDLE_SECONDS

    @property
    def deadline(self) -> float:
        """Short: it only begins requests, and each of those has its own deadline."""
        return 60.0

    async def run(self) -> Report:
        """Send every intent that has not been sent."""
        context = self.context
        waiting = [
            session
            for session in await context.store.run(sessions.creating, self.at.name)
            if session.create_outcome in (CreateOutcome.NONE, CreateOutcome.REFUSED)
            and session.id not in self._in_flight
        ]
        if not waiting:
            return Report("no create was asked for")
        if context.no_right:
            return Report(f"{len(waiting)} creates wait: {context.no_right}", again_in_seconds=LOOK_AGAIN_SECONDS)
        if context.frozen:
            return Report(f"{len(waiting)} creates wait: frozen")
        if self.at.market.refreshed_at is None:
            # After a start the offers are not known yet: an intent of before must not fail for that.
            return Report(
                f"{len(waiting)} creates wait: the market is not read yet", again_in_seconds=LOOK_AGAIN_SECONDS
            )
        for session in waiting:
            self._in_flight.add(session.id)
            context.spawn(self._work(session), f"create {session.id}")
        return Report(f"began {len(waiting)} creates")

    async def _work(self, session: Session) -> None:
        """One session's create, beside the others: a slow one holds nobody up. It never raises."""
        try:
            await self._create(session)
        except StoreError as error:
            log.warning("create.postponed", session=str(session.id), detail=str(error))
        except Exception:
            log.exception(
                "create.crashed", session=str(session.id), detail="this is a fault of shopperd: please report it"
            )
        finally:
            self._in_flight.discard(session.id)
            self._sent.discard(session.id)
            self.context.wake("status", self.at.name)

    async def _create(self, session: Session) -> None:
        """Try offers until one is accepted, unclear, or the matter is refused."""
        refused: list[str] = []
        for offer in self._candidates(session):
            if self.context.no_right:
                return
            outcome = await self._request(session, offer)
            if outcome is None:
                return
            refused.append(f"{offer.id}: {outcome}")
        why = "; ".join(refused) if refused else "its offer is not in the market any more"
        await self._record(fail, session.id, f"refused: {why}", self.context.clock.now())
        log.warning("session.failed", session=str(session.id), detail=why)
        self.context.changes.tell()

    def _candidates(self, session: Session) -> list[Offer]:
        """The offer that was chosen, then others that fit as well if the wish was not for that very one."""
        market = self.at.market.index
        chosen = market.get(session.offer_id or "")
        found = [chosen] if chosen is not None else []
        if session.spec.offer_id is None:
            found.extend(offer for offer in market.offers if offer.id != session.offer_id and fits(offer, session.spec))
        return found[: max(1, self.context.settings.sessions.create_attempts)]

    async def _request(self, session: Session, offer: Offer) -> str | None:
        """Send one create. None if that settled the session, else why this offer was refused."""
        context = self.context
        request = request_for(session.tag, offer, session.spec)
        self._sent.discard(session.id)
        try:
            created = await self._send(session, offer, request)
        except Withheld as error:
            await self._record(note_withheld, session.id, str(error), context.clock.now())
            log.warning("create.withheld", session=str(session.id), detail=str(error))
            return None
        except asyncio.CancelledError:
            if session.id not in self._sent:
                await self._record(note_withheld, session.id, "it was cut off before its turn", context.clock.now())
            raise
        except OfferUnavailable as error:
            await self._record(note_refusal, session.id, str(error), context.clock.now())
            context.market_lost(self.at, offer)
            return str(error)
        except (Refused, AuthFailed) as error:
            code = error.code if isinstance(error, Refused) else "auth"
            await self._record(fail, session.id, f"refused ({code}): {error}", context.clock.now())
            log.warning("session.failed", session=str(session.id), reason=code, detail=str(error))
        except ProviderError as error:
            await self._record(note_unclear, session.id, str(error), context.clock.now())
            log.warning("create.unclear", session=str(session.id), reason=error.outcome, detail=str(error))
        else:
            await self._record_accepted(session, created, offer, context.clock.now())
            log.info("create.accepted", session=str(session.id), instance=created.id)
            context.market_lost(self.at, offer)
            context.wake("destroys", self.at.name)
        context.changes.tell()
        return None

    async def _send(self, session: Session, offer: Offer, request: CreateRequest) -> CreatedInstance:
        """The request alone: whatever is scheduled while the gate is set would inherit it."""
        gate = GATE.set(lambda: self._begin(session, offer))
        try:
            created = await self.at.provider.create_instance(request)
        finally:
            GATE.reset(gate)
        # No senseless price may keep the id from being recorded: the machine bills.
        return created if is_price(created.price_per_hour) else evolve(created, price_per_hour=None)

    async def _begin(self, session: Session, offer: Offer) -> None:
        """Mark the intent as sent when the request's turn has come: a freeze or an end may have come while it waited."""
        if session.id in self._sent:
            return
        if self.context.no_right:
            raise Withheld(f"while it waited for its turn: {self.context.no_right}")
        try:
            begun = await self.context.store.run(begin, session.id, offer, self.context.clock.now())
        except StoreError as error:
            raise Withheld(f"the store could not be asked when its turn had come: {error}") from error
        if not begun:
            raise Withheld("it was frozen, ended or overdue when its turn had come")
        self._sent.add(session.id)
        log.info("create.requested", session=str(session.id), offer=offer.id, price_per_hour=offer.price_per_hour)
        if self.context.halted:
            raise Withheld(f"while it was marked as sent: {self.context.halted}")

    async def _record(
        self,
        function: Callable[Concatenate[Connection, UUID, P], None],
        session_id: UUID,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Write an outcome that rented nothing, or left that open, trying for ever: until then it is to be read as unclear."""
        while True:
            try:
                await self.context.store.run(function, session_id, *args, **kwargs)
            except StoreError as error:
                log.exception("create.not_recorded", detail=str(error), session=str(session_id))
                await self.context.clock.sleep(RECORD_AGAIN_SECONDS)
            else:
                return

    async def _record_accepted(
        self, session: Session, created: CreatedInstance, offer: Offer, answered_at: datetime
    ) -> None:
        """Write the id of a machine down: in the store, else in the spool, trying for ever. It may be its only trace."""
        context = self.context
        record = accepted_create(session, created, offer, answered_at)
        told = {"session": str(session.id), "instance": created.id, "account": session.account}
        tries = 0
        try:
            while True:
                try:
                    await context.store.run(accept, session.id, created, offer, context.clock.now())
                except Exception as error:
                    failed = await self._spool(record)
                    if not failed:
                        log.error("create.spooled", **told, detail=f"the store does not take it: {error}")
                        return
                    if tries % SAY_AGAIN_TRIES == 0 or not isinstance(error, StoreError):
                        detail = f"this process alone knows the machine, do not stop it: {error}; spool: {failed}"
                        log.error("create.not_recorded", **told, detail=detail)
                    if not isinstance(error, StoreError):
                        raise
                    tries += 1
                    context.unrecorded.add(session.id)
                    await context.clock.sleep(RECORD_AGAIN_SECONDS)
                else:
                    return
        except asyncio.CancelledError:
            # The process ends, and whether a transaction went through is open: the spool is the last chance.
            if context.spool is not None and (failed := _kept(context.spool, record)):
                log.error("create.not_recorded", **told, detail=failed)
            raise
        finally:
            context.unrecorded.discard(session.id)

    async def _spool(self, record: AcceptedCreate) -> str:
        """Keep a record in the spool; why that failed, "" if it did not."""
        spool = self.context.spool
        if spool is None:
            return "there is none"
        failed = await asyncio.to_thread(_kept, spool, record)
        if failed:
            self.context.metrics.store_spool_failures_total.inc()
        return failed


def _kept(spool: Spool, record: AcceptedCreate) -> str:
    try:
        spool.keep(record)
    except StoreError as error:
        return str(error)
    return ""


def begin(conn: Connection, session_id: UUID, offer: Offer, now: datetime) -> bool:
    """Mark the intent as sent, durably, before the provider hears of it; False if it must not be sent any more."""
    session = sessions.get(conn, session_id)
    if session is None or session.state is not SessionState.CREATING:
        return False
    if session.create_outcome not in (CreateOutcome.NONE, CreateOutcome.REFUSED) or meta.get(conn, FROZEN_KEY):
        return False
    if session.create_deadline_at is not None and now >= session.create_deadline_at:
        return False
    sessions.update(
        conn,
        evolve(
            session,
            create_outcome=CreateOutcome.SENT,
            offer_id=offer.id,
            gpu=offer.gpu,
            gpu_count=offer.gpu_count,
            price_per_hour=offer.price_per_hour,
        ),
    )
    append(conn, now, "create.requested", f"offer {offer.id}", session.account, session.id)
    return True


def accept(conn: Connection, session_id: UUID, created: CreatedInstance, offer: Offer, now: datetime) -> None:
    """Bind the id that a create was answered with. A session that was ended meanwhile has it destroyed."""
    session = sessions.get(conn, session_id)
    if session is None:
        return
    account = session.account
    instance = Instance(
        account=account,
        provider=session.provider,
        id=created.id,
        tag=session.tag,
        session_id=session.id,
        ownership=Ownership.OURS,
        gpu=offer.gpu,
        gpu_count=offer.gpu_count,
        vram_gb=offer.vram_gb,
        price_per_hour=created.price_per_hour if created.price_per_hour is not None else offer.price_per_hour,
    )
    track = instances.get(conn, account, created.id)
    if track is not None and track.ever_seen and track.first_seen_at < session.created_at:
        # A machine that was there before the request cannot be its outcome: the answer was mixed up. The tag will tell.
        sessions.update(conn, evolve(session, create_outcome=CreateOutcome.UNCLEAR))
        why = f"the answer names instance {created.id}, which was there before"
        append(conn, now, "create.unclear", why, account, session.id, created.id)
        return
    if track is None:
        track = Track(instance=instance, first_seen_at=now, last_seen_at=now, ever_seen=False)
        instances.save(conn, account, [track])
    append(conn, now, "create.accepted", f"instance {created.id}", account, session.id, created.id)
    accepted = evolve(session, create_outcome=CreateOutcome.ACCEPTED)
    if session.state is SessionState.CREATING or session.state is SessionState.ENDING:
        tied = sessions.update(conn, bound(accepted, track.instance, now))
        if tied.state is SessionState.ENDING and tied.reason != REASON_EXPIRED:
            request_destroy(conn, command_for(tied, track, now), now)
    elif session.instance_id is None and session.state in (SessionState.FAILED, SessionState.ENDED):
        # It was over before the answer came: what it rented goes, whether or not it came out with its tag.
        reopened = sessions.update(conn, revived(accepted, created.id, now))
        append(conn, now, "session.ending", LATE_ANSWER, account, session.id, created.id)
        request_destroy(conn, command_for(reopened, track, now), now)


def accepted_create(session: Session, created: CreatedInstance, offer: Offer, answered_at: datetime) -> AcceptedCreate:
    """What the spool keeps of a create that was accepted."""
    return AcceptedCreate(
        account=session.account,
        provider=session.provider,
        session_id=session.id,
        instance_id=created.id,
        tag=session.tag,
        price_per_hour=created.price_per_hour,
        offer_id=offer.id,
        offer_provider_id=offer.provider_id,
        offer_price_per_hour=offer.price_per_hour,
        gpu=offer.gpu,
        gpu_count=offer.gpu_count,
        vram_gb=offer.vram_gb,
        at=answered_at,
    )


def note_refusal(conn: Connection, session_id: UUID, why: str, now: datetime) -> None:
    """One offer was refused; the session may try another."""
    session = sessions.get(conn, session_id)
    if session is None:
        return
    sessions.update(conn, evolve(session, create_outcome=CreateOutcome.REFUSED))
    append(conn, now, "create.refused", why, session.account, session.id)
    _end_if_ending(conn, session_id, now)


def note_withheld(conn: Connection, session_id: UUID, why: str, now: datetime) -> None:
    """The request was certainly not sent: the intent is as it was before it, or over if it was ended."""
    session = sessions.get(conn, session_id)
    if session is None:
        return
    if session.create_outcome is CreateOutcome.SENT:
        sessions.update(conn, evolve(session, create_outcome=CreateOutcome.NONE))
    append(conn, now, "create.withheld", why, session.account, session.id)
    _end_if_ending(conn, session_id, now)


def note_unclear(conn: Connection, session_id: UUID, why: str, now: datetime) -> None:
    """Nobody knows whether something was rented: listings decide until the create deadline."""
    session = sessions.get(conn, session_id)
    if session is None or session.create_outcome is not CreateOutcome.SENT:
        return
    sessions.update(conn, evolve(session, create_outcome=CreateOutcome.UNCLEAR))
    append(conn, now, "create.unclear", why, session.account, session.id)


def fail(conn: Connection, session_id: UUID, why: str, now: datetime) -> None:
    """A definite refusal that ends the session."""
    session = sessions.get(conn, session_id)
    if session is None or session.instance_id is not None:
        return
    refused = sessions.update(conn, evolve(session, create_outcome=CreateOutcome.REFUSED))
    if refused.state is SessionState.CREATING:
        sessions.update(conn, moved(refused, SessionState.FAILED, now, reason=why))
        append(conn, now, "session.failed", why, session.account, session.id)
    _end_if_ending(conn, session_id, now)


def _end_if_ending(conn: Connection, session_id: UUID, now: datetime) -> None:
    session = sessions.get(conn, session_id)
    if session is not None and session.state is SessionState.ENDING and session.instance_id is None:
        sessions.update(conn, moved(session, SessionState.ENDED, now))
        append(conn, now, "session.ended", "its create had no effect", session.account, session.id)

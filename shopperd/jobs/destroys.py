"""The destroys job: works the durable destroy jobs until each is proven gone.

`DestroysJob._carry_out` is the one place in shopperd that calls `destroy_instance`. Before every request it asks every guard
again, takes a last look at the instance, and has an event row on disk.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import define, evolve, field
from sqlalchemy import Connection

from shopperd.jobs.context import AccountAtWork, Context, Report, log
from shopperd.jobs.knowledge import append, load, record_first_sight, with_freeze
from shopperd.model import DestroyJob, DestroyOrigin, HoldReason, Instance
from shopperd.providers.contract import GATE, URGENT, InstanceNotFound, ProviderError, Withheld
from shopperd.reconcile import Account, Authority, confirms, may_send
from shopperd.settings import AccountSettings, Settings
from shopperd.sightings import is_present
from shopperd.store import destroys

IDLE_SECONDS = 30.0
"""Without anything due the job looks this often, as a second belt beside being woken."""

BLIND_LOOKS_MAX = 3
"""After so many failed single reads a command takes a fresh complete listing for its last look."""


@define
class DestroysJob:
    """Carries out one account's destroys, in the order in which they are due."""

    context: Context
    at: AccountAtWork
    name: str = "destroys"
    must_finish: bool = True
    _blind: dict[int, int] = field(factory=dict, init=False)

    @property
    def account(self) -> str:
        """The account's name."""
        return self.at.name

    @property
    def interval(self) -> float:
        """Seconds from run to run when nothing is due."""
        return min(IDLE_SECONDS, self.context.settings.jobs.sweep.interval)

    @property
    def deadline(self) -> float:
        """Long: hundreds of destroys three seconds apart are one run; each request has its own deadline."""
        return 3600.0

    async def run(self) -> Report:
        """Try every job that is due, once each."""
        context = self.context
        jobs = await context.store.run(destroys.open_jobs, self.at.name)
        now = context.clock.now()
        due = [job for job in jobs if job.next_attempt_at <= now]
        sent = 0
        for job in due:
            if context.stopping:
                break
            sent += await self._carry_out(job)
        if sent:
            context.wake("status", self.at.name)
        left = await context.store.run(destroys.open_jobs, self.at.name)
        if not left:
            return Report("nothing to destroy" if not due else f"sent {sent} destroys")
        soonest = min(job.next_attempt_at for job in left)
        again = max(0.0, (soonest - context.clock.now()).total_seconds())
        held = sum(job.hold is not None for job in left)
        return Report(
            f"sent {sent} destroys, {len(left)} not proven gone yet, {held} held", again_in_seconds=max(again, 0.05)
        )

    async def _carry_out(self, job: DestroyJob) -> int:
        """One try: guards, last look, guards again with the durable event row, the request, its record. 1 if it was sent."""
        context, settings = self.context, self.context.settings
        held = await context.store.run(
            check_guards, self.at.settings, settings, context.authority(), job, context.clock.now()
        )
        if held is None:
            return 0
        hold, known = held
        if hold is not None:
            self._say_held(job, hold)
            return 0
        looked = await self._last_look(job, known)
        if looked is _BLIND:
            await self._postpone(job, HoldReason.LAST_LOOK, "the last look failed")
            return 0
        instance = looked if isinstance(looked, Instance) else None
        if instance is not None:
            await context.store.run(record_first_sight, self.at.name, instance, context.clock.now())
        if not confirms(known, job, instance):
            await self._postpone(job, HoldReason.LAST_LOOK, "the last look does not show the machine that was meant")
            return 0
        begun = await context.store.run(
            begin_attempt, self.at.settings, settings, context.authority(), job, context.clock.now(), self._jitter()
        )
        if begun is None:
            return 0
        await self._request(begun)
        return 1

    async def _request(self, job: DestroyJob) -> None:
        context = self.context
        accepted_at: datetime | None = None
        error_text: str | None = None
        outcome = "ok"
        gate = GATE.set(lambda: self._ask_again(job))
        try:
            await self.at.provider.destroy_instance(job.instance_id)
            accepted_at = context.clock.now()
        except Withheld as error:
            log.warning("destroy.withheld", instance=job.instance_id, detail=str(error))
            return
        except InstanceNotFound as error:
            accepted_at, error_text, outcome = context.clock.now(), str(error), "not_found"
        except ProviderError as error:
            error_text, outcome = str(error), error.outcome
        finally:
            GATE.reset(gate)
        context.metrics.destroy_attempts_total.labels(**self.at.labels, outcome=outcome).inc()
        log.info(
            "destroy.sent",
            instance=job.instance_id,
            outcome=outcome,
            attempt=job.attempts,
            origin=str(job.origin),
            detail=error_text,
        )
        await context.store.run(record_answer, job, outcome, accepted_at, error_text, context.clock.now())
        context.changes.tell()

    async def _ask_again(self, job: DestroyJob) -> None:
        """Ask the guards when the request's turn has come: it may have waited long for it."""
        context = self.context
        hold = await context.store.run(
            check_last, self.at.settings, context.settings, context.authority(), job, context.clock.now()
        )
        if hold is not None:
            raise Withheld(f"held while it waited for its turn: {hold}")

    async def _last_look(self, job: DestroyJob, known: Account) -> Instance | object | None:
        """The instance as a single read shows it, None if the provider says there is none, `_BLIND` if nobody can say."""
        urgent = URGENT.set(True)
        try:
            looked = await self.at.provider.get_instance_status(job.instance_id)
        except InstanceNotFound:
            self._blind.pop(job.id, None)
            track = known.tracks.get(job.instance_id)
            # A listing that holds it outweighs a single read that does not know it (yet).
            return track.instance if track is not None and is_present(track) and self._listing_is_fresh() else None
        except ProviderError as error:
            log.warning("destroy.last_look_failed", instance=job.instance_id, detail=str(error))
            failed = self._blind[job.id] = self._blind.get(job.id, 0) + 1
            track = known.tracks.get(job.instance_id)
            if (
                job.origin is DestroyOrigin.COMMAND
                and failed >= BLIND_LOOKS_MAX
                and track is not None
                and is_present(track)
                and self._listing_is_fresh()
            ):
                return track.instance
            return _BLIND
        finally:
            URGENT.reset(urgent)
        self._blind.pop(job.id, None)
        return looked

    def _listing_is_fresh(self) -> bool:
        if self.at.last_complete_at is None:
            return False
        age = (self.context.clock.now() - self.at.last_complete_at).total_seconds()
        return age <= 3 * self.context.settings.jobs.status.interval + 30.0

    async def _postpone(self, job: DestroyJob, hold: HoldReason, why: str) -> None:
        self._say_held(job, hold, why)
        await self.context.store.run(
            postpone, job, hold, why, self.context.clock.now(), self.context.settings, self._jitter()
        )

    def _say_held(self, job: DestroyJob, hold: HoldReason, why: str = "") -> None:
        if job.hold is not hold:
            log.warning("destroy.held", instance=job.instance_id, hold=str(hold), detail=why)

    def _jitter(self) -> float:
        return self.context.clock.random.uniform(0.9, 1.1)


_BLIND = object()


def retry_seconds(tries: int, settings: Settings, jitter: float) -> float:
    """Seconds until the next try: doubling from the first to the longest, with jitter."""
    rules = settings.destroys
    return min(rules.retry_min * 2.0 ** min(tries, 30), rules.retry_max) * jitter


def check_guards(
    conn: Connection,
    account: AccountSettings,
    settings: Settings,
    authority: Authority,
    job: DestroyJob,
    now: datetime,
) -> tuple[HoldReason | None, Account] | None:
    """The first guard that holds the job, recorded with it; None in all if the job is over or not due any more."""
    current = destroys.get(conn, job.id)
    if current is None or current.gone_at is not None or current.next_attempt_at > now:
        return None
    known = load(conn, account, settings, now)
    hold = may_send(known, current, with_freeze(conn, authority), settings.orphans, now)
    if hold is None and _waits_for_proof(known, current):
        _postpone(conn, current, current.hold, current.last_error, now, settings.destroys.retry_max)
        return None
    if hold is not None:
        _postpone(conn, current, hold, current.last_error, now, max(settings.destroys.retry_min, 1.0))
    return hold, known


def begin_attempt(
    conn: Connection,
    account: AccountSettings,
    settings: Settings,
    authority: Authority,
    job: DestroyJob,
    now: datetime,
    jitter: float,
) -> DestroyJob | None:
    """Ask the guards once more and put the attempt on disk before the request; None if one of them holds it now."""
    current = destroys.get(conn, job.id)
    if current is None or current.gone_at is not None:
        return None
    known = load(conn, account, settings, now)
    hold = may_send(known, current, with_freeze(conn, authority), settings.orphans, now)
    if hold is not None:
        _postpone(conn, current, hold, current.last_error, now, max(settings.destroys.retry_min, 1.0))
        return None
    wait = retry_seconds(current.attempts, settings, jitter)
    begun = evolve(current, attempts=current.attempts + 1, next_attempt_at=now + timedelta(seconds=wait), hold=None)
    destroys.update(conn, begun)
    append(
        conn,
        now,
        "destroy.requested",
        f"attempt {begun.attempts}: {begun.reason}",
        begun.account,
        begun.session_id,
        begun.instance_id,
        origin=str(begun.origin),
    )
    return begun


def check_last(
    conn: Connection,
    account: AccountSettings,
    settings: Settings,
    authority: Authority,
    job: DestroyJob,
    now: datetime,
) -> HoldReason | None:
    """The guard that holds a request whose turn has come, recorded with its job; None if it may be sent."""
    current = destroys.get(conn, job.id)
    if current is None or current.gone_at is not None:
        return HoldReason.LAST_LOOK
    hold = may_send(load(conn, account, settings, now), current, with_freeze(conn, authority), settings.orphans, now)
    if hold is not None:
        _postpone(conn, current, hold, current.last_error, now, max(settings.destroys.retry_min, 1.0))
    return hold


def record_answer(
    conn: Connection, job: DestroyJob, outcome: str, accepted_at: datetime | None, error: str | None, now: datetime
) -> None:
    """Keep what the provider said to a destroy."""
    current = destroys.get(conn, job.id)
    if current is None:
        return
    destroys.update(conn, evolve(current, accepted_at=accepted_at or current.accepted_at, last_error=error))
    kind = "destroy.accepted" if accepted_at is not None else "destroy.failed"
    append(
        conn, now, kind, error or "the provider said yes", job.account, job.session_id, job.instance_id, outcome=outcome
    )


def postpone(
    conn: Connection, job: DestroyJob, hold: HoldReason, why: str, now: datetime, settings: Settings, jitter: float
) -> None:
    """Put a try off because of a hold, with the wait of a failed one."""
    current = destroys.get(conn, job.id)
    if current is not None and current.gone_at is None:
        _postpone(conn, current, hold, why, now, retry_seconds(current.attempts, settings, jitter))


def _postpone(
    conn: Connection, job: DestroyJob, hold: HoldReason | None, why: str | None, now: datetime, seconds: float
) -> None:
    if job.hold is not hold and hold is not None:
        append(conn, now, "destroy.held", f"held: {hold}", job.account, job.session_id, job.instance_id, hold=str(hold))
    destroys.update(conn, evolve(job, hold=hold, last_error=why, next_attempt_at=now + timedelta(seconds=seconds)))


def _waits_for_proof(known: Account, job: DestroyJob) -> bool:
    """Whether the provider said yes and listings have begun to agree: then only the proof is missing, not another request."""
    track = known.tracks.get(job.instance_id)
    return job.accepted_at is not None and track is not None and not is_present(track) and track.absences > 0

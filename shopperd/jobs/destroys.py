"""The destroys job: works the durable destroy jobs until each is proven gone.

`DestroysJob._carry_out` is the one place in shopperd that calls `destroy_instance`. Before every request it asks every guard
again, takes a last look at the instance, and has an event row on disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import define, evolve, field, frozen
from sqlalchemy import Connection

from shopperd.attempts import (
    HOUR_SECONDS,
    JITTER_SHARE,
    Recent,
    ages_seconds,
    backoff_seconds,
    is_due,
    is_repeated,
    is_stuck,
    next_in_turn,
    pause_seconds,
    wait_seconds,
)
from shopperd.jobs.context import AccountAtWork, Context, Report, log
from shopperd.jobs.knowledge import append, load, record_first_sight, with_freeze
from shopperd.model import DestroyJob, DestroyOrigin, HoldReason, Instance
from shopperd.providers.contract import GATE, URGENT, InstanceNotFound, ProviderError, Withheld
from shopperd.reconcile import Account, Authority, confirms, limit_per_hour, may_send
from shopperd.settings import AccountSettings, Settings
from shopperd.sightings import is_present
from shopperd.store import StoreError, destroys, events

IDLE_SECONDS = 30.0
"""Without anything due the job looks this often, as a second belt beside being woken."""

BLIND_LOOKS_MAX = 3
"""After so many failed single reads a command takes a fresh complete listing for its last look."""


REQUESTED = "destroy.requested"
STUCK = "destroy.stuck"
"""Kinds of events that are read again: what was asked for in the last hour, and what was said already."""


@frozen
class _Sent:
    """A request of this process. `at` is the clock's monotonic seconds."""

    at: float
    instance_id: str
    repeated: bool


@define
class DestroysJob:
    """Carries out one account's destroys, in the order in which they are due."""

    context: Context
    at: AccountAtWork
    name: str = "destroys"
    must_finish: bool = True
    _blind: dict[int, int] = field(factory=dict, init=False)
    _looks: dict[int, int] = field(factory=dict, init=False)
    _sent: deque[_Sent] = field(factory=deque, init=False)
    _told_stuck: set[int] = field(factory=set, init=False)

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
        """Try every job that is due, once each.

        What is due is looked up again after each try: a destroy that was recorded meanwhile goes before all that were tried.
        """
        context, rules = self.context, self.context.settings.destroys
        tried: set[int] = set()
        sent = 0
        while True:
            left = await context.store.run(destroys.open_jobs, self.at.name)
            job = next_in_turn((job for job in left if job.id not in tried), rules, context.clock.now())
            if job is None or context.stopping:
                break
            tried.add(job.id)
            sent += await self._carry_out(job)
        if sent:
            context.wake("status", self.at.name)
        ids = {job.id for job in left}
        for counts in (self._blind, self._looks):
            for id_ in counts.keys() - ids:
                del counts[id_]
        await self._tell_stuck(left)
        if not left:
            return Report("nothing to destroy" if not tried else f"sent {sent} destroys")
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
            check_guards, self.at.settings, settings, context.authority(), job, context.clock.now(), self._lately(job)
        )
        if held is None:
            return 0
        hold, known = held
        if hold is not None:
            self._say_held(job, hold)
            return 0
        self._looks[job.id] = self._looks.get(job.id, 0) + 1
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
        self._looks.pop(job.id, None)
        begun = await context.store.run(
            begin_attempt,
            self.at.settings,
            settings,
            context.authority(),
            job,
            context.clock.now(),
            self._jitter(),
            self._lately(job),
        )
        if begun is None:
            return 0
        self._sent.append(_Sent(context.clock.monotonic(), job.instance_id, is_repeated(job)))
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
        try:
            hold = await context.store.run(
                check_last, self.at.settings, context.settings, context.authority(), job, context.clock.now()
            )
        except StoreError as error:
            raise Withheld(f"the store could not be asked when its turn had come: {error}") from error
        if hold is not None:
            raise Withheld(f"held while it waited for its turn: {hold}")
        if context.halted:
            raise Withheld(f"while the store was asked about it: {context.halted}")

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
        # A machine that cannot be looked at is looked at ever more rarely, too.
        tries = max(job.attempts, self._looks.get(job.id, 1) - 1)
        seconds = backoff_seconds(tries, self.context.settings.destroys, self._jitter())
        await self.context.store.run(postpone, job, hold, why, self.context.clock.now(), seconds)

    def _say_held(self, job: DestroyJob, hold: HoldReason, why: str = "") -> None:
        if job.hold is not hold:
            log.warning("destroy.held", instance=job.instance_id, hold=str(hold), detail=why)

    def _jitter(self) -> float:
        return self.context.clock.random.uniform(1.0 - JITTER_SHARE, 1.0 + JITTER_SHARE)

    def _lately(self, job: DestroyJob) -> Recent:
        """This process's own requests of the last hour, by a clock that cannot be set."""
        now = self.context.clock.monotonic()
        while self._sent and now - self._sent[0].at >= HOUR_SECONDS:
            self._sent.popleft()
        return Recent(
            machine=tuple(now - sent.at for sent in self._sent if sent.instance_id == job.instance_id),
            repeats=tuple(now - sent.at for sent in self._sent if sent.repeated),
        )

    async def _tell_stuck(self, jobs: Sequence[DestroyJob]) -> None:
        """Say once of each stuck destroy that it is, in the log and the audit trail."""
        context, now = self.context, self.context.clock.now()
        stuck = {job.id: job for job in jobs if is_stuck(job, context.settings.destroys, now)}
        unsaid = [job for id_, job in stuck.items() if id_ not in self._told_stuck]
        if unsaid:
            for job in await context.store.run(note_stuck, unsaid, now):
                log.warning(
                    "destroy.stuck",
                    instance=job.instance_id,
                    attempts=job.attempts,
                    since=job.requested_at.isoformat(),
                    detail=f"it is retried ever more slowly; look at the machine at the provider ({job.last_error})",
                )
        self._told_stuck = set(stuck)
        self.at.destroys_stuck = len(stuck)
        context.metrics.destroys_stuck.labels(**self.at.labels).set(len(stuck))


_BLIND = object()


def check_guards(
    conn: Connection,
    account: AccountSettings,
    settings: Settings,
    authority: Authority,
    job: DestroyJob,
    now: datetime,
    lately: Recent,
) -> tuple[HoldReason | None, Account] | None:
    """The first guard that holds the job, recorded with it; None in all if the job is over or not due any more."""
    current = destroys.get(conn, job.id)
    if current is None or current.gone_at is not None or not is_due(current, settings.destroys, now):
        return None
    known = load(conn, account, settings, now)
    hold = may_send(known, current, with_freeze(conn, authority), settings.orphans, now)
    if hold is None and _waits_for_proof(known, current):
        _postpone(conn, current, current.hold, current.last_error, now, settings.destroys.retry_max)
        return None
    if hold is not None:
        _postpone(conn, current, hold, current.last_error, now, max(settings.destroys.retry_min, 1.0))
    elif _is_over_the_limit(conn, current, settings, now, lately):
        hold = HoldReason.LIMIT_PER_HOUR
    return hold, known


def begin_attempt(
    conn: Connection,
    account: AccountSettings,
    settings: Settings,
    authority: Authority,
    job: DestroyJob,
    now: datetime,
    jitter: float,
    lately: Recent,
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
    if _is_over_the_limit(conn, current, settings, now, lately) or _hour_is_full(conn, known, current, settings, now):
        return None
    begun = evolve(current, attempts=current.attempts + 1, hold=None)
    wait = wait_seconds(begun, settings.destroys, now, jitter)
    begun = evolve(begun, next_attempt_at=now + timedelta(seconds=wait))
    destroys.update(conn, begun)
    append(
        conn,
        now,
        REQUESTED,
        f"attempt {begun.attempts}: {begun.reason}",
        begun.account,
        begun.session_id,
        begun.instance_id,
        origin=str(begun.origin),
        attempt=begun.attempts,
        repeated=is_repeated(current),
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
    if outcome == "not_found":  # it was gone by then: the yes before that stands, for its costs ended with it
        accepted_at = current.accepted_at or accepted_at
    destroys.update(conn, evolve(current, accepted_at=accepted_at or current.accepted_at, last_error=error))
    kind = "destroy.accepted" if accepted_at is not None else "destroy.failed"
    append(
        conn, now, kind, error or "the provider said yes", job.account, job.session_id, job.instance_id, outcome=outcome
    )


def postpone(conn: Connection, job: DestroyJob, hold: HoldReason, why: str, now: datetime, seconds: float) -> None:
    """Put a try off by so many seconds, because of a hold."""
    current = destroys.get(conn, job.id)
    if current is not None and current.gone_at is None:
        _postpone(conn, current, hold, why, now, seconds)


def note_stuck(conn: Connection, jobs: Sequence[DestroyJob], now: datetime) -> list[DestroyJob]:
    """Write into the audit trail that these destroys are stuck; the answer is of which it was not written before."""
    unsaid = [
        job
        for job in jobs
        if not events.since(conn, STUCK, job.requested_at, account=job.account, instance=job.instance_id)
    ]
    for job in unsaid:
        asked = f"asked for {job.attempts} times since {job.requested_at.isoformat()} and not proven gone"
        append(conn, now, STUCK, asked, job.account, job.session_id, job.instance_id, attempts=job.attempts)
    return unsaid


def _is_over_the_limit(conn: Connection, job: DestroyJob, settings: Settings, now: datetime, lately: Recent) -> bool:
    """Whether another request would be one too many within an hour; if so the job is put off until it is not."""
    pause = pause_seconds(job, settings.destroys, (_recorded(conn, job, now), lately))
    if pause > 0.0:
        _postpone(conn, job, HoldReason.LIMIT_PER_HOUR, job.last_error, now, pause)
    return pause > 0.0


def _hour_is_full(conn: Connection, known: Account, job: DestroyJob, settings: Settings, now: datetime) -> bool:
    """Whether the hour's limit of verdicts is used up by those that were carried out; if so the job waits for its turn.

    Verdicts are limited as they are recorded. Those that could not be carried out then (the provider did not answer) must not
    all go in one hour later.
    """
    if job.origin is not DestroyOrigin.VERDICT or job.attempts > 0:
        return False
    hour = timedelta(seconds=HOUR_SECONDS)
    begun = [
        event.at
        for event in events.since(conn, REQUESTED, now - hour, account=job.account)
        if event.data.get("origin") == DestroyOrigin.VERDICT.value
        and event.data.get("attempt") == 1
        and event.at <= now
    ]
    instances = sum(is_present(track) for track in known.tracks.values()) + len(begun)
    limit = limit_per_hour(instances, settings.orphans)
    if limit is None or len(begun) < limit:
        return False
    # A limit of zero leaves nothing to wait for but another limit.
    pause = (begun[-limit] + hour - now).total_seconds() if limit else settings.destroys.retry_max
    _postpone(conn, job, HoldReason.LIMIT_PER_HOUR, job.last_error, now, max(pause, settings.destroys.retry_min))
    return True


def _recorded(conn: Connection, job: DestroyJob, now: datetime) -> Recent:
    """The requests of the last hour as the audit trail has them: those of other processes, and of earlier jobs, too."""
    hour_ago = now - timedelta(seconds=HOUR_SECONDS)
    machine = events.since(conn, REQUESTED, hour_ago, account=job.account, instance=job.instance_id)
    account = events.since(conn, REQUESTED, hour_ago, account=job.account) if is_repeated(job) else []
    return Recent(
        machine=ages_seconds([event.at for event in machine], now),
        repeats=ages_seconds([event.at for event in account if event.data.get("repeated")], now),
    )


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

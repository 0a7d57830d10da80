"""The status job: one listing of the account; binds, advances and ends sessions, finds lost ones, proves instances gone."""

from __future__ import annotations

from attrs import define, field

from shopperd.jobs.context import AccountAtWork, Context, Report, log
from shopperd.jobs.knowledge import Recorded, record_contradiction, record_details, record_gone
from shopperd.jobs.ledger import count_costs, count_turn
from shopperd.jobs.observer import look, show_settled
from shopperd.model import Instance, InstanceState, Ownership, SessionState, Snapshot
from shopperd.providers.contract import AuthFailed, InstanceNotFound, ProviderError, RateLimited
from shopperd.sightings import is_present

FAST_SHARE = 0.25
"""While something is starting or going away, the job runs that much sooner than usual."""

READS_MAX = 5
"""Single reads in one run, so that a run stays short beside a provider's spacing of two seconds a read."""

READ_AGAIN_SECONDS_MAX = 600.0
"""An instance whose single read settles nothing is read again at the latest after this."""


@define
class _Retry:
    """When an instance may be read by itself again, so that one that answers nothing costs few calls."""

    at: float
    wait: float


@define
class StatusJob:
    """Looks at one account and moves its sessions."""

    context: Context
    at: AccountAtWork
    name: str = "status"
    must_finish: bool = False
    _retries: dict[str, _Retry] = field(factory=dict, init=False)
    _priced_in: dict[str, str | None] = field(factory=dict, init=False)

    @property
    def account(self) -> str:
        """The account's name."""
        return self.at.name

    @property
    def interval(self) -> float:
        """Seconds from run to run."""
        return self.context.settings.jobs.status.interval

    @property
    def deadline(self) -> float:
        """A listing of many pages waits for its turn page by page; the transport bounds every single one."""
        return max(900.0, 10 * self.interval)

    async def run(self) -> Report:
        """List, record, then read by themselves those few instances that need it."""
        seen = await look(self.context, self.at)
        if seen is None:
            return Report(f"no snapshot: {self.at.detail}", ok=False)
        recorded = await self._prove_gone(seen.recorded)
        await self._read_details(recorded, seen.snapshot)
        moved = len([step for step in seen.recorded.observed.steps if step.kind])
        sentence = (
            f"saw {len(seen.snapshot.instances)} instances"
            f"{'' if seen.snapshot.complete else f' (incomplete: {seen.snapshot.reason})'}, moved {moved} sessions"
        )
        if jobs := recorded.account.jobs:
            sentence += f", {len(jobs)} destroys not proven yet"
        return Report(sentence, again_in_seconds=self.interval * FAST_SHARE if recorded.tally.moving else None)

    async def _prove_gone(self, known: Recorded) -> Recorded:
        settings = self.context.settings
        gone: list[str] = []
        for track in [track for track in known.tally.missed if self._is_due(track.instance.id)][:READS_MAX]:
            id_ = track.instance.id
            try:
                looked = await self.at.provider.get_instance_status(id_)
            except InstanceNotFound:
                gone.append(id_)
                self._retries.pop(id_, None)
            except (RateLimited, AuthFailed) as error:
                self._later(id_)
                log.warning("instance.proof_failed", instance=id_, detail=str(error))
                break
            except ProviderError as error:
                self._later(id_)
                log.warning("instance.proof_failed", instance=id_, detail=str(error))
            else:
                self._later(id_)
                log.warning(
                    "instance.contradicted", instance=id_, detail="listings miss it, a single read shows it: not gone"
                )
                await self.context.store.run(record_contradiction, self.at.name, looked, self.context.clock.now())
                self.context.wake("destroys", self.at.name)
        if not gone:
            return known
        recorded = await self.context.store.run(record_gone, self.at.settings, settings, gone, self.context.clock.now())
        for step in recorded.observed.steps:
            log.info(step.kind, session=str(step.session.id), instance=step.session.instance_id, detail=step.message)
            if step.session.state is SessionState.LOST:
                self.context.metrics.sessions_lost_total.labels(**self.at.labels).inc()
            self.context.count_move(self.at, step.was, step.session.state)
        show_settled(self.context, self.at, recorded)
        await count_costs(self.context, self.at, recorded)
        self.context.changes.tell()
        return recorded

    async def _read_details(self, known: Recorded, snapshot: Snapshot) -> None:
        """Read by itself what a listing does not tell: TensorDock lists no price, GPU or count, and a price may change with the state."""
        wanting = {instance.id: instance for instance in known.tally.untold}
        for listed in snapshot.instances:
            if listed.price_per_hour is not None or listed.id in wanting:
                continue
            track = known.account.tracks.get(listed.id)
            if track is None or not is_present(track) or track.instance.ownership is Ownership.FOREIGN:
                continue
            if self._has_turned(track.instance):
                wanting[listed.id] = track.instance
        for instance in [one for one in wanting.values() if self._is_due(one.id)][:READS_MAX]:
            try:
                looked: Instance = await self.at.provider.get_instance_status(instance.id)
            except ProviderError as error:
                self._later(instance.id)
                log.debug("instance.details_failed", instance=instance.id, detail=str(error))
                continue
            if looked.price_per_hour is None or looked.gpu is None:
                self._later(instance.id)
            elif looked.provider_state == instance.provider_state:
                self._priced_in[instance.id] = instance.provider_state
            else:  # it has turned meanwhile, or is called otherwise where it is read alone
                self._later(instance.id)
            await self.context.store.run(record_details, self.at.name, looked)
            if looked.provider_state == instance.provider_state:
                await count_turn(self.context, self.at, looked)
        for id_ in [id_ for id_ in self._priced_in if id_ not in known.account.tracks]:
            del self._priced_in[id_]

    def _has_turned(self, instance: Instance) -> bool:
        """Whether a machine is in another state than when its price was read.

        After a start it is taken to be in the same, but not a stopped one of which nothing is known but its full price: it may have
        been stopped while nobody looked, and be billed for its disk alone.
        """
        if instance.id not in self._priced_in and instance.state is InstanceState.STOPPED:
            return instance.billed_per_hour is None
        return self._priced_in.setdefault(instance.id, instance.provider_state) != instance.provider_state

    def _is_due(self, id_: str) -> bool:
        retry = self._retries.get(id_)
        return retry is None or self.context.clock.monotonic() >= retry.at

    def _later(self, id_: str) -> None:
        before = self._retries.get(id_)
        wait = self.interval if before is None else min(before.wait * 2, READ_AGAIN_SECONDS_MAX)
        self._retries[id_] = _Retry(at=self.context.clock.monotonic() + wait, wait=wait)

"""A rented machine as it truly is: a timeline of phases, from which its status and its bill both follow.

The timeline holds the future too (a machine that boots has its running phase planned), so a status at any moment is a look-up
and the bill an integral; nothing has to tick. What a listing says about a machine may differ (see the faults); this may not.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Mapping

from attrs import define, field, frozen

from shopperd.simulator.dock_market import Hostnode, Resources
from shopperd.simulator.market import VastOffer

SECONDS_PER_HOUR = 3600


class Phase(enum.StrEnum):
    """What a machine truly does."""

    PROVISIONING = "provisioning"
    LOADING = "loading"
    RUNNING = "running"
    REBOOTING = "rebooting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RELEASED = "released"
    """Stopped, and its GPU given to others: TensorDock's stoppeddisassociated, Vast.ai's outbid machine."""
    EXITED = "exited"
    """The container ended by itself; the contract runs on and bills."""
    FAILED = "failed"
    """It was made but could not start."""
    QUEUED = "queued"
    """A start waits for a GPU and will bill when it gets one."""
    OFFLINE = "offline"
    """The host is not reachable."""
    UNKNOWN = "unknown"
    """The host sends no heartbeat."""


STATE_OF_PHASE: Mapping[Phase, str] = {
    Phase.PROVISIONING: "starting",
    Phase.LOADING: "starting",
    Phase.RUNNING: "running",
    Phase.REBOOTING: "running",
    Phase.STOPPING: "running",
    Phase.STOPPED: "stopped",
    Phase.RELEASED: "stopped",
    Phase.EXITED: "stopped",
    Phase.FAILED: "stopped",
    Phase.QUEUED: "stopped",
    Phase.OFFLINE: "unknown",
    Phase.UNKNOWN: "unknown",
}
"""The control API's four words."""


@frozen
class Moment:
    """From `at` on, the machine is in this phase.

    Attributes:
        wanted: what the customer, or the marketplace in the customer's name, asks for: ``running`` or ``stopped``.
        message: the status message that goes with it.
    """

    at: float
    phase: Phase
    wanted: str = "running"
    message: str | None = None


@define(eq=False)
class Instance:
    """One rented machine. Times are epoch seconds, rates USD per hour.

    Attributes:
        tag: Vast.ai's label, TensorDock's name.
        running_rate: the whole machine while it runs, disk included: the price that it was rented at.
        disk_rate: what is due in every phase, down to the end.
        destroyed_at: when it ended; None while it exists.
        ended_by: ``request``, or the name of the fault that ended it.
        listed_until: it is shown until then although it is gone. None: not longer than it exists.
        bills_after_end: the marketplace keeps charging although the machine is gone.
    """

    id: str
    provider: str
    tag: str | None
    created_at: float
    gpu: str
    gpu_count: int
    running_rate: float
    disk_rate: float
    timeline: list[Moment] = field(factory=list)
    destroyed_at: float | None = None
    ended_by: str | None = None
    listed_until: float | None = None
    bills_after_end: bool = False
    rate_changes: list[tuple[float, float]] = field(factory=list)

    def at(self, now: float) -> Moment:
        """The moment of the timeline that holds now."""
        found = self.timeline[0]
        for moment in self.timeline:
            if moment.at > now:
                break
            found = moment
        return found

    def turn(self, *moments: Moment) -> None:
        """Plan these moments; whatever was planned for after the first one is dropped."""
        start = moments[0].at
        kept = [moment for moment in self.timeline if moment.at <= start]
        self.timeline = kept + list(moments)

    def end(self, now: float, ended_by: str, linger_seconds: float = 0.0) -> None:
        """It is gone now. A second end changes nothing."""
        if self.destroyed_at is None:
            self.destroyed_at = now
            self.ended_by = ended_by
            self.listed_until = now + linger_seconds if linger_seconds > 0 else None

    def exists(self, now: float) -> bool:
        """It has begun and has not ended."""
        return self.destroyed_at is None and self.created_at <= now

    def is_listed(self, now: float) -> bool:
        """The marketplace shows it."""
        if self.destroyed_at is None:
            return self.created_at <= now
        return self.listed_until is not None and now < self.listed_until

    def running_rate_at(self, moment: float) -> float:
        """The rate at that moment, after the price changes of its life."""
        rate = self.running_rate
        for at, changed in self.rate_changes:
            if at <= moment:
                rate = changed
        return rate

    def rate_of(self, phase: Phase, moment: float) -> float:
        """USD per hour in that phase; a provider's own rule, so subclasses say."""
        raise NotImplementedError

    def rate_now(self, now: float) -> float:
        """USD per hour that are being charged now."""
        if self.destroyed_at is not None and not self.bills_after_end:
            return 0.0
        return self.rate_of(self.at(now).phase, now)

    def billed(self, now: float) -> float:
        """USD charged so far, to the second."""
        end = now if self.destroyed_at is None or self.bills_after_end else min(now, self.destroyed_at)
        end = max(end, self.created_at)
        marks = [moment.at for moment in self.timeline] + [at for at, _ in self.rate_changes]
        edges = sorted(min(max(edge, self.created_at), end) for edge in (self.created_at, *marks, end))
        total = 0.0
        for start, stop in itertools.pairwise(edges):
            total += self.rate_of(self.at(start).phase, start) * (stop - start)
        return total / SECONDS_PER_HOUR


@define(eq=False)
class VastInstance(Instance):
    """A Vast.ai contract.

    Billing, by the provider's documentation: the GPU only while it runs (a container that ended by itself still holds
    it), the disk from creation in every phase, nothing while the host is offline.
    """

    offer: VastOffer = field(kw_only=True)
    holds_gpus: bool = field(default=False, kw_only=True)
    disk_gb: float = field(default=8.0, kw_only=True)
    is_bid: bool = field(default=False, kw_only=True)
    bid: float = field(default=0.0, kw_only=True)
    image: str = field(default="ubuntu:22.04", kw_only=True)
    runtype: str = field(default="ssh", kw_only=True)
    args: list[str] = field(factory=list, kw_only=True)
    env: list[tuple[str, str]] = field(factory=list, kw_only=True)
    onstart: str | None = field(default=None, kw_only=True)
    ssh_keys: list[str] = field(factory=list, kw_only=True)
    first_port: int = field(default=41_000, kw_only=True)
    proxy_port: int = field(default=30_000, kw_only=True)

    def rate_of(self, phase: Phase, moment: float) -> float:
        """See the class."""
        if phase is Phase.OFFLINE:
            return 0.0
        if phase in (Phase.RUNNING, Phase.REBOOTING, Phase.STOPPING, Phase.EXITED):
            return self.running_rate_at(moment)
        return self.disk_rate


@define(eq=False)
class DockInstance(Instance):
    """A TensorDock virtual machine.

    Billing: everything from creation on, also while it is stopped; only the disk once the GPU was released.
    """

    node: Hostnode = field(kw_only=True)
    resources: Resources = field(kw_only=True)
    holds_resources: bool = field(default=False, kw_only=True)
    image: str = field(default="ubuntu2404", kw_only=True)
    dedicated_ip: bool = field(default=False, kw_only=True)
    ports: list[tuple[int, int]] = field(factory=list, kw_only=True)
    address: str = field(default="", kw_only=True)
    address_at: float = field(default=0.0, kw_only=True)
    shown_rate: float = field(default=0.0, kw_only=True)
    spot: bool = field(default=False, kw_only=True)

    def rate_of(self, phase: Phase, moment: float) -> float:
        """See the class."""
        if phase is Phase.RELEASED:
            return self.disk_rate
        if phase is Phase.OFFLINE:
            return 0.0
        return self.running_rate_at(moment)

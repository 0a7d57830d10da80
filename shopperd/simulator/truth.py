"""The truth about the pretend world: what is on the market, what is rented, what it costs, and what is going to happen.

One account at each provider: every good key of a provider sees the same machines. Nothing here knows HTTP, keys or faults;
dialects and faults ask for changes through the methods below, and each change is one of the few effects that a marketplace has.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen

from shopperd.simulator.dock_market import (
    DockMarket,
    Hostnode,
    Resources,
    build_dock_market,
    new_uuid,
)
from shopperd.simulator.instances import STATE_OF_PHASE, DockInstance, Instance, Moment, Phase, VastInstance
from shopperd.simulator.limits import Limits
from shopperd.simulator.market import VastMarket, VastOffer, build_vast_market

PROVIDERS = ("vastai", "tensordock")
FIRST_CONTRACT_ID = 54_000_001
_FIRST_PORT = 41_000
_PORT_RANGE = 20_000


@frozen
class WorldSettings:
    """How the world behaves before any fault is switched on.

    Attributes:
        seed: everything random follows from it.
        offers: rows on Vast.ai's market. TensorDock has about one row per host node and GPU model.
        nodes: host nodes of TensorDock.
        boot_seconds: from the rental to running (Vast.ai) or to an address (TensorDock); drawn within a fifth of it. 0: at once.
        stop_seconds: from a stop to stopped.
        vast_linger_seconds, dock_linger_seconds: how long a destroyed machine is still shown. TensorDock answers for a
            deleted machine for a moment, Vast.ai shows it gone at once.
        rate_scale: multiplies the published spacing of requests; 0 switches rate limits off.
        key: the only good key (TensorDock: token). None: every non-empty one but `bad-key`.
        credit: USD in each account at the start.
        search_cap_without_key: rows of a Vast.ai search that carries no key.
        v0_list: what Vast.ai's retired instance list answers: ``410``, ``200-deprecated`` or ``200-empty``.
    """

    seed: int = 0
    offers: int = 400
    nodes: int = 30
    boot_seconds: float = 6.0
    stop_seconds: float = 2.0
    vast_linger_seconds: float = 0.0
    dock_linger_seconds: float = 2.0
    rate_scale: float = 1.0
    key: str | None = field(default=None, repr=False)
    credit: float = 10_000.0
    search_cap_without_key: int = 64
    v0_list: str = "410"


@define(eq=False)
class Truth:
    """See the module. `now` is the world's clock at the latest request, epoch seconds; it never runs back."""

    settings: WorldSettings
    now: float
    rng: random.Random
    vast: VastMarket
    dock: DockMarket
    limits: Limits
    offset: float = 0.0
    live: dict[str, dict[str, Instance]] = field(factory=lambda: {provider: {} for provider in PROVIDERS})
    past: list[Instance] = field(factory=list)
    secrets: dict[str, dict[str, str]] = field(factory=dict)
    spent_before: dict[str, float] = field(factory=lambda: dict.fromkeys(PROVIDERS, 0.0))
    credit_lost: dict[str, float] = field(factory=lambda: dict.fromkeys(PROVIDERS, 0.0))
    _ending: list[Instance] = field(factory=list)
    _still_billing: list[Instance] = field(factory=list)
    _later: list[tuple[float, int, Callable[[float], None]]] = field(factory=list)
    _sequence: int = 0
    _last_contract: int = FIRST_CONTRACT_ID - 1

    @classmethod
    def build(cls, settings: WorldSettings, now: float) -> Truth:
        """A fresh world at that moment: full markets, no machines."""
        rng = random.Random(settings.seed)
        vast = build_vast_market(rng, settings.offers, now)
        dock = build_dock_market(rng, settings.nodes)
        return cls(settings, now, rng, vast, dock, Limits(settings.rate_scale))

    # --- time -----------------------------------------------------------------------------------------------

    def advance_to(self, door_time: float) -> float:
        """Let everything happen that is due by then, in its order; answers the world's time."""
        target = max(self.now, door_time + self.offset)
        while self._later and self._later[0][0] <= target:
            at, _, action = heapq.heappop(self._later)
            self.now = max(self.now, at)
            action(self.now)
        self.now = target
        if self._ending:
            self._bury()
        return target

    def later(self, at: float, action: Callable[[float], None]) -> None:
        """Have something happen at that time; equal times keep the order in which they were asked for."""
        self._sequence += 1
        heapq.heappush(self._later, (at, self._sequence, action))

    def _bury(self) -> None:
        waiting: list[Instance] = []
        for instance in self._ending:
            if instance.destroyed_at is None or instance.is_listed(self.now):
                waiting.append(instance)
                continue
            # The id may belong to another machine by now; see the fault destroy_id_reused.
            if self.live[instance.provider].get(instance.id) is instance:
                del self.live[instance.provider][instance.id]
            self.past.append(instance)
            if instance.bills_after_end:
                self._still_billing.append(instance)
            else:
                self.spent_before[instance.provider] += instance.billed(self.now)
        self._ending = waiting

    # --- looking --------------------------------------------------------------------------------------------

    def listed(self, provider: str) -> list[Instance]:
        """What an honest listing shows now, oldest first."""
        return [instance for instance in self.live[provider].values() if instance.is_listed(self.now)]

    def existing(self, provider: str) -> list[Instance]:
        """What really exists now, oldest first."""
        return [instance for instance in self.live[provider].values() if instance.exists(self.now)]

    def find(self, provider: str, instance_id: str) -> Instance | None:
        """A machine that exists, by its id."""
        instance = self.live[provider].get(instance_id)
        return instance if instance is not None and instance.exists(self.now) else None

    def shown(self, provider: str, instance_id: str) -> list[Instance]:
        """The machine that an honest look at this id finds: itself, or nothing."""
        instance = self.live[provider].get(instance_id)
        return [instance] if instance is not None and instance.is_listed(self.now) else []

    def everything(self) -> Iterator[Instance]:
        """Every machine there ever was, the ended ones first."""
        yield from self.past
        for provider in PROVIDERS:
            yield from self.live[provider].values()

    def billed(self, provider: str) -> float:
        """USD that the account has been charged so far."""
        lingering = sum(row.billed(self.now) for row in self._still_billing if row.provider == provider)
        alive = sum(instance.billed(self.now) for instance in self.live[provider].values())
        return self.spent_before[provider] + alive + lingering

    def credit(self, provider: str) -> float:
        """USD left in the account."""
        return self.settings.credit - self.credit_lost[provider] - self.billed(provider)

    def describe(self, instance: Instance) -> dict[str, Any]:
        """One machine for the control API: the truth, whatever listings say."""
        ended = instance.destroyed_at is not None
        moment = instance.at(self.now)
        return {
            "provider": instance.provider,
            "id": instance.id,
            "tag": instance.tag,
            "state": "destroyed" if ended else STATE_OF_PHASE[moment.phase],
            "phase": moment.phase.value,
            "created_at": instance.created_at,
            "destroyed_at": instance.destroyed_at,
            "ended_by": instance.ended_by,
            "price_per_hour": instance.running_rate_at(self.now),
            "rate_now": instance.rate_now(self.now),
            "billed": instance.billed(self.now),
            "gpu": instance.gpu,
            "gpu_count": instance.gpu_count,
        }

    # --- renting and ending ---------------------------------------------------------------------------------

    def rent_vast(
        self,
        offer: VastOffer,
        *,
        tag: str | None,
        disk_gb: float = 8.0,
        bid: float | None = None,
        stopped: bool = False,
        reserve: bool = True,
        **details: Any,
    ) -> VastInstance:
        """Rent an offer; `details` are the other fields of `VastInstance`."""
        self._last_contract += self.rng.randint(1, 7)
        disk_rate = offer.storage_per_hour(disk_gb)
        instance = VastInstance(
            str(self._last_contract),
            "vastai",
            tag,
            self.now,
            offer.machine.model.name,
            offer.num_gpus,
            (offer.dph_base if bid is None else bid) + disk_rate,
            disk_rate,
            offer=offer,
            holds_gpus=reserve,
            disk_gb=disk_gb,
            is_bid=bid is not None,
            bid=bid or 0.0,
            first_port=_FIRST_PORT + self.rng.randrange(_PORT_RANGE),
            proxy_port=10_000 + self._last_contract % 50_000,
            **details,
        )
        if reserve:
            self.vast.take(offer.gpu_ids)
        if stopped:
            instance.timeline = [Moment(self.now, Phase.STOPPED, "stopped", "")]
        else:
            instance.timeline = self.boot_moments(self.now)
        self.live["vastai"][instance.id] = instance
        return instance

    def rent_dock(
        self,
        node: Hostnode,
        wanted: Resources,
        *,
        tag: str,
        internal_ports: Sequence[int] = (),
        external_ports: Sequence[int] = (),
        reserve: bool = True,
        **details: Any,
    ) -> DockInstance:
        """Rent part of a node. External ports are the node's choice unless given; `details` as for `rent_vast`."""
        gpu = next(iter(wanted.gpus), "")
        rate = node.compute_price(wanted) + node.disk_price(wanted)
        boot = self._draw_boot_seconds()
        ports = [
            (internal, external_ports[place] if place < len(external_ports) else self.rng.choice(node.ports))
            for place, internal in enumerate(internal_ports)
        ]
        instance = DockInstance(
            new_uuid(self.rng),
            "tensordock",
            tag,
            self.now,
            gpu,
            wanted.gpus.get(gpu, 0),
            rate,
            node.disk_price(wanted),
            timeline=[Moment(self.now, Phase.RUNNING)],
            node=node,
            resources=wanted,
            holds_resources=reserve,
            ports=ports,
            address=f"198.51.100.{self.rng.randint(1, 254)}",
            address_at=self.now + boot,
            # The service shows its own float arithmetic: 0.272999 for 0.273.
            shown_rate=rate - self.rng.uniform(1e-7, 1e-6),
            **details,
        )
        if reserve:
            node.take(wanted)
            node.dedicated_ips -= instance.dedicated_ip
        self.live["tensordock"][instance.id] = instance
        return instance

    def destroy(self, instance: Instance, ended_by: str = "request") -> None:
        """End a machine now and put what it held back on the market."""
        if instance.destroyed_at is not None:
            return
        settings = self.settings
        vast = instance.provider == "vastai"
        linger = settings.vast_linger_seconds if vast else settings.dock_linger_seconds
        instance.end(self.now, ended_by, linger)
        self._ending.append(instance)
        if isinstance(instance, VastInstance) and instance.holds_gpus:
            self.vast.give_back(instance.offer.gpu_ids)
            instance.holds_gpus = False
        if isinstance(instance, DockInstance) and instance.holds_resources:
            self._give_back(instance)

    def _give_back(self, instance: DockInstance) -> None:
        instance.node.give_back(instance.resources)
        instance.node.dedicated_ips += instance.dedicated_ip
        if instance.at(self.now).phase is Phase.RELEASED:
            instance.node.change_gpus(instance.resources, -1)
        instance.holds_resources = False

    def revive(self, instance: Instance) -> None:
        """An ended machine exists again, with its id; its bill runs on from now."""
        if instance.destroyed_at is None:
            return
        spent = instance.billed(self.now)
        if instance in self._ending:
            self._ending.remove(instance)
        else:
            self.past.remove(instance)
            if instance in self._still_billing:
                self._still_billing.remove(instance)
            else:
                self.spent_before[instance.provider] -= spent
        gap = Moment(instance.destroyed_at, Phase.OFFLINE)
        instance.turn(gap, Moment(self.now, Phase.RUNNING))
        instance.destroyed_at, instance.ended_by, instance.listed_until = None, None, None
        self.live[instance.provider][instance.id] = instance

    # --- phases ---------------------------------------------------------------------------------------------

    def _draw_boot_seconds(self) -> float:
        return self.settings.boot_seconds * self.rng.uniform(0.8, 1.2)

    def boot_moments(self, start: float) -> list[Moment]:
        """The way of a Vast.ai machine from rented to running."""
        boot = self._draw_boot_seconds()
        return [
            Moment(start, Phase.PROVISIONING),
            Moment(start + 0.25 * boot, Phase.LOADING, message="4c7d45f7c63c: Pull complete \n"),
            Moment(start + boot, Phase.RUNNING),
        ]

    def stop(self, instance: Instance, *, release: bool = False, message: str = "") -> None:
        """Stop a machine; with `release` its GPU goes to others and its start may fail later."""
        end = Phase.RELEASED if release else Phase.STOPPED
        done = self.now + self.settings.stop_seconds
        if instance.at(self.now).phase in (Phase.RUNNING, Phase.REBOOTING, Phase.EXITED):
            instance.turn(Moment(self.now, Phase.STOPPING, "stopped", message), Moment(done, end, "stopped", message))
        else:
            instance.turn(Moment(self.now, end, "stopped", message))
        if release and isinstance(instance, DockInstance) and instance.holds_resources:
            instance.node.change_gpus(instance.resources, 1)

    def start(self, instance: Instance) -> bool:
        """Start a stopped machine; False when its GPU was released and is not free."""
        released = instance.at(self.now).phase is Phase.RELEASED
        if isinstance(instance, DockInstance):
            if released and instance.holds_resources:
                free = instance.node.gpus
                if any(free.get(name, 0) < count for name, count in instance.resources.gpus.items()):
                    return False
                instance.node.change_gpus(instance.resources, -1)
            ready = self.now + self._draw_boot_seconds() / 2
            instance.turn(Moment(self.now, Phase.LOADING), Moment(ready, Phase.RUNNING))
        else:
            boot = self._draw_boot_seconds()
            instance.turn(
                Moment(self.now, Phase.LOADING, message=""),
                Moment(self.now + boot, Phase.RUNNING),
            )
        return True

    def reboot(self, instance: Instance) -> None:
        """Restart the container."""
        ready = self.now + self._draw_boot_seconds() / 2
        instance.turn(Moment(self.now, Phase.REBOOTING), Moment(ready, Phase.RUNNING))

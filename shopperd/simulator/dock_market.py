"""The TensorDock side of the pretend market: host nodes at locations, with what is free on each of them.

Both dialects see the same nodes: v2 groups them by location, v0 lists them one by one. Prices are USD per hour of one unit.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping

from attrs import define, field, frozen

from shopperd.simulator.catalogue import DOCK_MODELS, SITES, DockModel

MODELS_BY_NAME = {model.v0_name: model for model in DOCK_MODELS}


def new_uuid(rng: random.Random) -> str:
    """A random UUID from the world's own randomness."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


@frozen
class Site:
    """A location, as v2 calls it."""

    id: str
    city: str
    state: str
    country: str
    tier: int


@frozen
class Resources:
    """What a virtual machine has, or asks for. `gpus` maps the v0 name to a count."""

    vcpus: int
    ram_gb: int
    storage_gb: int
    gpus: Mapping[str, int]


@define(eq=False)
class Hostnode:
    """One computer: what is free on it now, and what a unit of it costs per hour.

    A GPU's amount goes to 0 and stays listed, as the real answers show.
    """

    id: str
    site: Site
    cpu_type: str
    vcpus: int
    ram_gb: int
    storage_gb: int
    gpus: dict[str, int]
    gpu_prices: dict[str, float]
    vcpu_price: float
    ram_price: float
    storage_price: float
    ports: list[int]
    dedicated_ips: int
    uptime: float
    speed_gbps: float

    def fits(self, wanted: Resources) -> bool:
        """All of it is free here."""
        return (
            self.vcpus >= wanted.vcpus
            and self.ram_gb >= wanted.ram_gb
            and self.storage_gb >= wanted.storage_gb
            and all(self.gpus.get(name, 0) >= count for name, count in wanted.gpus.items())
        )

    def take(self, wanted: Resources) -> None:
        """Reserve it."""
        self._change(wanted, -1)

    def give_back(self, wanted: Resources) -> None:
        """Free it."""
        self._change(wanted, 1)

    def _change(self, wanted: Resources, sign: int) -> None:
        self.vcpus += sign * wanted.vcpus
        self.ram_gb += sign * wanted.ram_gb
        self.storage_gb += sign * wanted.storage_gb
        self.change_gpus(wanted, sign)

    def change_gpus(self, wanted: Resources, sign: int) -> None:
        """Only the GPUs: what stopping with release does, and starting again undoes."""
        for name, count in wanted.gpus.items():
            self.gpus[name] = self.gpus.get(name, 0) + sign * count

    def compute_price(self, wanted: Resources) -> float:
        """USD per hour without the disk."""
        gpus = sum(count * self.gpu_prices.get(name, 0.0) for name, count in wanted.gpus.items())
        return gpus + wanted.vcpus * self.vcpu_price + wanted.ram_gb * self.ram_price

    def disk_price(self, wanted: Resources) -> float:
        """USD per hour of the disk alone: all that a machine with released GPU pays."""
        return wanted.storage_gb * self.storage_price


@define(eq=False)
class DockMarket:
    """All sites and nodes."""

    sites: list[Site] = field(factory=list)
    nodes: dict[str, Hostnode] = field(factory=dict)

    def at(self, site: Site) -> Iterator[Hostnode]:
        """The nodes of one location, in the order of generation."""
        return (node for node in self.nodes.values() if node.site.id == site.id)

    def rows(self) -> int:
        """How many pairs of location and GPU model there are, which is what v2 offers."""
        return sum(len({name: None for node in self.at(site) for name in node.gpus}) for site in self.sites)


def build_dock_market(rng: random.Random, nodes: int) -> DockMarket:
    """A market with that many nodes, spread over the known sites."""
    market = DockMarket([Site(new_uuid(rng), *site) for site in SITES])
    weights = [model.weight for model in DOCK_MODELS]
    for number in range(nodes):
        site = market.sites[number % len(market.sites)]
        models = {model.v0_name: model for model in rng.choices(DOCK_MODELS, weights, k=rng.choice((1, 1, 2)))}
        node = _build_node(rng, site, list(models.values()))
        market.nodes[node.id] = node
    return market


def _build_node(rng: random.Random, site: Site, models: list[DockModel]) -> Hostnode:
    first_port = rng.randrange(20_000, 40_000)
    return Hostnode(
        id=new_uuid(rng),
        site=site,
        cpu_type=rng.choice(("AMD Ryzen 9 5950X", "AMD EPYC 7543", "Intel Xeon Platinum 8352Y")),
        vcpus=rng.choice((56, 96, 128, 192)),
        ram_gb=rng.choice((331, 480, 512, 1024)),
        storage_gb=rng.choice((4_000, 10_200, 30_200)),
        gpus={model.v0_name: rng.choice((1, 2, 4, 4, 8)) for model in models},
        gpu_prices={model.v0_name: round(model.price * rng.uniform(0.92, 1.12), 4) for model in models},
        vcpu_price=0.003,
        ram_price=0.002,
        storage_price=0.00005,
        ports=list(range(first_port, first_port + 400)),
        dedicated_ips=rng.choice((0, 4, 8, 16)),
        uptime=round(rng.uniform(0.97, 0.9999), 4),
        speed_gbps=rng.choice((1.0, 2.5, 10.5)),
    )

"""The Vast.ai side of the pretend market: machines, and the offers that are slices of them.

Everything is drawn once from the world's seeded randomness, so the same seed gives the same market. Slices of one machine
share its GPUs: renting one takes every slice with a GPU in common off the market. A market of 64,000 offers is generated in
about a second; the rows themselves are built only when somebody asks (`shopperd.simulator.vastai_rows`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from shopperd.simulator.catalogue import DRIVERS, PLACES, PROCESSORS, VAST_MODELS, GpuModel

FIRST_OFFER_ID = 41_000_001
HOURS_PER_MONTH = 720
"""Storage is priced per GB and month, and Vast.ai's month has 720 hours (checked on recorded rows)."""

_GPU_COUNTS = (1, 1, 1, 1, 2, 2, 4, 4, 8, 8, 3, 6)


@frozen
class Machine:
    """One computer of a host. Sizes are of the whole machine, prices of one GPU for one hour."""

    id: int
    host_id: int
    model: GpuModel
    gpu_ids: tuple[int, ...]
    price: float
    storage_cost: float
    cpu_name: str
    cpu_cores: int
    cpu_ghz: float
    cpu_ram: int
    disk_name: str
    disk_space: float
    disk_bw: float
    geolocation: str
    geolocode: int
    address: str
    verification: str
    reliability: float
    hosting_type: int
    driver_version: str
    cuda_max_good: float
    inet_up: float
    inet_down: float
    traffic_cost: float
    ports: int
    static_ip: bool
    pcie_bw: float
    mobo_name: str | None
    end_date: float


@frozen(eq=False)
class VastOffer:
    """A slice of a machine that can be rented: some of its GPUs and a share of everything else."""

    id: int
    bundle_id: int
    machine: Machine
    gpu_ids: tuple[int, ...]
    dph_base: float
    min_bid: float

    @property
    def num_gpus(self) -> int:
        """How many GPUs the slice has."""
        return len(self.gpu_ids)

    @property
    def share(self) -> float:
        """The slice's part of the machine, 0 to 1."""
        return len(self.gpu_ids) / len(self.machine.gpu_ids)

    @property
    def disk_space(self) -> float:
        """GB that can be rented with it."""
        return round(self.machine.disk_space * self.share, 1)

    def storage_per_hour(self, disk_gb: float) -> float:
        """USD per hour for that much disk."""
        return self.machine.storage_cost * disk_gb / HOURS_PER_MONTH


@define(eq=False)
class VastMarket:
    """All offers, and which GPUs are rented. `version` grows whenever what is on offer changes."""

    offers: dict[int, VastOffer] = field(factory=dict)
    version: int = 0
    _rented: set[int] = field(factory=set)

    def is_free(self, offer: VastOffer) -> bool:
        """None of its GPUs is rented."""
        return self._rented.isdisjoint(offer.gpu_ids)

    def free(self) -> Iterator[VastOffer]:
        """What can be rented now, in the order of generation."""
        if not self._rented:
            yield from self.offers.values()
            return
        for offer in self.offers.values():
            if self._rented.isdisjoint(offer.gpu_ids):
                yield offer

    def take(self, gpu_ids: Iterable[int]) -> None:
        """These GPUs are rented now."""
        self._rented.update(gpu_ids)
        self.version += 1

    def give_back(self, gpu_ids: Iterable[int]) -> None:
        """These GPUs can be rented again."""
        self._rented.difference_update(gpu_ids)
        self.version += 1


def build_vast_market(rng: random.Random, offers: int, now: float) -> VastMarket:
    """A market with exactly that many offers, on roughly two thirds as many machines."""
    market = VastMarket()
    weights = [model.weight for model in VAST_MODELS]
    place_weights = [weight for _, _, weight in PLACES]
    next_gpu = 200_001
    next_id = FIRST_OFFER_ID
    number = 0
    while len(market.offers) < offers:
        number += 1
        model = rng.choices(VAST_MODELS, weights)[0]
        machine = _build_machine(rng, number, model, next_gpu, place_weights, now)
        next_gpu += len(machine.gpu_ids)
        for gpu_ids in _slices(rng, machine.gpu_ids):
            if len(market.offers) == offers:
                break
            market.offers[next_id] = _build_offer(rng, next_id, machine, gpu_ids)
            next_id += rng.randint(1, 4)
    return market


def _slices(rng: random.Random, gpu_ids: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The whole machine, and for some machines also its halves and single GPUs."""
    slices = [gpu_ids]
    count = len(gpu_ids)
    if count >= 2 and rng.random() < 0.5:
        half = count // 2
        slices += [gpu_ids[:half], gpu_ids[half : 2 * half]]
    if count >= 4 and rng.random() < 0.4:
        slices += [gpu_ids[:1], gpu_ids[1:2]]
    return slices


def _build_machine(
    rng: random.Random, number: int, model: GpuModel, first_gpu: int, place_weights: list[int], now: float
) -> Machine:
    count = rng.choice(_GPU_COUNTS)
    cpu_name, cores, ghz = rng.choice(PROCESSORS)
    place = rng.choices(PLACES, place_weights)[0][0]
    driver, cuda = rng.choice(DRIVERS)
    draw = rng.random()
    return Machine(
        id=50_000 + number,
        host_id=70_000 + rng.randint(1, max(2, number)),
        model=model,
        gpu_ids=tuple(range(first_gpu, first_gpu + count)),
        price=round(model.price * rng.lognormvariate(0.0, 0.22), 6),
        storage_cost=round(rng.uniform(0.05, 0.3), 5),
        cpu_name=cpu_name,
        cpu_cores=cores,
        cpu_ghz=ghz,
        cpu_ram=rng.choice((32_103, 64_297, 128_783, 257_654, 515_480, 1_031_870)),
        disk_name=rng.choice(("nvme", "Samsung SSD 980 PRO", "WD_BLACK SN850X 2000GB", "")),
        disk_space=round(rng.uniform(60.0, 900.0) * count, 1),
        disk_bw=round(rng.uniform(450.0, 7200.0), 1),
        geolocation=place,
        geolocode=rng.randrange(50_000_000, 2_000_000_000),
        address=f"203.0.113.{rng.randint(1, 254)}",
        verification="verified" if draw < 0.72 else "unverified" if draw < 0.94 else "deverified",
        reliability=round(1.0 - min(0.43, rng.expovariate(160.0)), 7),
        hosting_type=int(rng.random() < 0.1),
        driver_version=driver,
        cuda_max_good=cuda,
        inet_up=round(rng.uniform(40.0, 5_000.0), 1),
        inet_down=round(rng.uniform(100.0, 9_000.0), 1),
        traffic_cost=round(rng.choice((0.0, 0.001953125, 0.0048828125, 0.02)), 10),
        ports=rng.choice((0, 49, 249, 999, 6_250)),
        static_ip=rng.random() < 0.45,
        pcie_bw=round(rng.uniform(6.0, 55.0), 1),
        mobo_name=rng.choice(("ROMED8-2T", "MZ83-HD1-000", "X570 AORUS ELITE", None)),
        end_date=math.floor(now) + rng.randint(7, 180) * 86_400.0,
    )


def _build_offer(rng: random.Random, offer_id: int, machine: Machine, gpu_ids: tuple[int, ...]) -> VastOffer:
    base = round(machine.price * len(gpu_ids) * rng.uniform(1.0, 1.04), 6)
    # One row in fourteen has a minimum bid above the on-demand price, as on the real market.
    bid = base * (rng.uniform(1.1, 3.0) if rng.random() < 0.07 else rng.uniform(0.35, 1.0))
    return VastOffer(
        id=offer_id,
        bundle_id=rng.randrange(4_000_000, 2_100_000_000),
        machine=machine,
        gpu_ids=gpu_ids,
        dph_base=base,
        min_bid=round(bid, 6),
    )

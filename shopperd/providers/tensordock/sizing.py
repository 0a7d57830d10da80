"""How large a machine around the GPUs is rented when nobody asks for more than GPUs, and what it costs.

TensorDock rents GPUs, vCPUs, memory and storage apart, at an hourly rate each.
"""

from __future__ import annotations

import math

from attrs import frozen

VCPUS_PER_GPU = 8
RAM_GB_PER_GPU = 32
"""8 vCPUs and 32 GB per GPU is what public clients deploy with success."""
STORAGE_GB_MIN = 100
"""The API's own minimum."""
STORAGE_GB_STEP = 50
RAM_GB_ALLOWED = (2, 4, 6, 8, 10, *range(16, 257, 16), 512)
"""Sizes that the API takes; others have been refused."""
GPU_COUNTS = (1, 2, 4, 8)
STORAGE_PER_GB_HOUR = 0.00005
"""USD: what hosts usually ask, by recorded answers. API v2 does not tell what a machine that has only its disk left costs."""


@frozen
class Caps:
    """Bounds of a machine; None where there is none."""

    vcpus: int | None = None
    ram_gb: int | None = None
    storage_gb: int | None = None


@frozen
class Rates:
    """USD per hour: of one GPU, one vCPU, one GB of memory, one GB of storage."""

    gpu: float | None = None
    vcpu: float | None = None
    ram_gb: float | None = None
    storage_gb: float | None = None


@frozen
class Size:
    """A machine without its GPUs."""

    vcpus: int
    ram_gb: int
    storage_gb: int


def counts_up_to(count_max: int, wanted: int | None) -> tuple[int, ...]:
    """The numbers of GPUs to offer where up to `count_max` can be had together."""
    counts = {count for count in (*GPU_COUNTS, count_max, wanted) if count is not None and 1 <= count <= count_max}
    return tuple(sorted(counts))


def default_size(gpu_count: int, caps: Caps, floor: Caps) -> Size | None:
    """The default machine for so many GPUs, as large as the caps let it be; None if they do not let it be at all.

    An odd number of vCPUs is refused by the API, and so is memory that is not in its list.
    """
    vcpus = max(VCPUS_PER_GPU * gpu_count, floor.vcpus or 0)
    vcpus += vcpus % 2
    if caps.vcpus is not None:
        vcpus = min(vcpus, caps.vcpus - caps.vcpus % 2)
    ram_wish = RAM_GB_PER_GPU * gpu_count
    ram_cap = RAM_GB_ALLOWED[-1] if caps.ram_gb is None else caps.ram_gb
    possible = [size for size in RAM_GB_ALLOWED if (floor.ram_gb or 0) <= size <= ram_cap]
    ram_gb = max((size for size in possible if size <= ram_wish), default=min(possible, default=0))
    storage_gb = storage_of(floor.storage_gb)
    too_much = caps.storage_gb is not None and storage_gb > caps.storage_gb
    too_little = vcpus < max(2, floor.vcpus or 0) or ram_gb == 0
    return None if too_much or too_little else Size(vcpus, ram_gb, storage_gb)


def storage_of(disk_gb: float | None) -> int:
    """Storage to ask for when at least so much is wanted, in GB."""
    wish = STORAGE_GB_MIN if disk_gb is None else max(STORAGE_GB_MIN, disk_gb)
    return math.ceil(wish / STORAGE_GB_STEP) * STORAGE_GB_STEP


def price_per_hour(gpu_count: int, size: Size, rates: Rates) -> float | None:
    """USD per hour for the whole machine; None if a rate is missing: unpriced is not cheap.

    Not rounded, as the provider's own `rateHourly` is not.
    """
    if rates.gpu is None or rates.vcpu is None or rates.ram_gb is None or rates.storage_gb is None:
        return None
    total = (
        gpu_count * rates.gpu
        + size.vcpus * rates.vcpu
        + size.ram_gb * rates.ram_gb
        + size.storage_gb * rates.storage_gb
    )
    return round(total, 9)

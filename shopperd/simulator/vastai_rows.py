"""Vast.ai's records: an offer as a search row, a contract as an instance row.

Field sets follow the recorded rows of 2026. An offer's row is built in two parts, one that never changes (encoded once and
kept) and one that depends on the search (price with the asked disk, time left), so that a big market is answered quickly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from attrs import frozen

from shopperd.simulator.instances import Phase, VastInstance
from shopperd.simulator.market import VastOffer

Row = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_LOGO = "/static/logos/vastai_small2.png"


def packed_driver_version(version: str) -> int:
    """570.124.04 as 570124004, the number that the driver filter compares."""
    numbers = [int(part) for part in version.split(".")][:3]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return major * 1_000_000 + minor * 1_000 + patch


@frozen
class Pricing:
    """What a search asks for that changes an offer's price."""

    disk_gb: float = 8.0
    bid: bool = False

    def base(self, offer: VastOffer) -> float:
        """USD per hour of the GPUs."""
        return offer.min_bid if self.bid else offer.dph_base

    def total(self, offer: VastOffer) -> float:
        """USD per hour with the asked disk."""
        return self.base(offer) + offer.storage_per_hour(self.disk_gb)


def performance(offer: VastOffer) -> float:
    """The provider's benchmark number, made up from the model's speed."""
    return offer.machine.model.tflops * 1.2 * offer.num_gpus


def _price_block(gpu: float, disk: float) -> Row:
    return {
        "gpuCostPerHour": gpu,
        "diskHour": disk,
        "slaPremiumPerHour": 0.0,
        "totalHour": gpu + disk,
        "discountTotalHour": 0,
        "discountedTotalPerHour": gpu + disk,
    }


def _hardware(offer: VastOffer) -> Row:
    """What offers and instances both tell about the machine."""
    machine, model = offer.machine, offer.machine.model
    return {
        "machine_id": machine.id,
        "host_id": machine.host_id,
        "hosting_type": machine.hosting_type,
        "bundle_id": offer.bundle_id,
        "gpu_name": model.name,
        "gpu_arch": "nvidia",
        "num_gpus": offer.num_gpus,
        "gpu_ram": model.ram_mb,
        "gpu_frac": offer.share,
        "gpu_lanes": 16,
        "gpu_mem_bw": model.mem_bw,
        "bw_nvlink": 478.1 if model.nvlink else 0.0,
        "compute_cap": model.compute_cap,
        "cuda_max_good": machine.cuda_max_good,
        "driver_version": machine.driver_version,
        "total_flops": round(model.tflops * offer.num_gpus, 4),
        "dlperf": performance(offer),
        "cpu_name": machine.cpu_name,
        "cpu_arch": "amd64",
        "cpu_cores": machine.cpu_cores,
        "cpu_cores_effective": round(machine.cpu_cores * offer.share, 2),
        "cpu_ram": machine.cpu_ram,
        "mobo_name": machine.mobo_name,
        "pci_gen": 4.0,
        "pcie_bw": machine.pcie_bw,
        "os_version": "22.04",
        "disk_name": machine.disk_name,
        "disk_bw": machine.disk_bw,
        "inet_up": machine.inet_up,
        "inet_down": machine.inet_down,
        "inet_up_cost": machine.traffic_cost,
        "inet_down_cost": machine.traffic_cost,
        "static_ip": machine.static_ip,
        "public_ipaddr": f"{machine.address}\n",
        "geolocation": machine.geolocation,
        "verification": machine.verification,
        "reliability2": machine.reliability,
        "direct_port_count": machine.ports,
        "min_bid": offer.min_bid,
        "storage_cost": machine.storage_cost,
        "end_date": machine.end_date,
        "logo": _LOGO,
        "webpage": None,
        "time_remaining": "",
        "time_remaining_isbid": "",
    }


def fixed_part(offer: VastOffer) -> Row:
    """The part of an offer's row that no search changes."""
    machine, model = offer.machine, offer.machine.model
    return {
        "id": offer.id,
        "ask_contract_id": offer.id,
        **_hardware(offer),
        "bundled_results": None,
        "resource_type": "gpu",
        "rn": 1,
        "hostname": None,
        "cluster_id": None,
        "gpu_ids": list(offer.gpu_ids),
        "gpu_total_ram": model.ram_mb * offer.num_gpus,
        "gpu_max_power": model.max_power,
        "gpu_max_temp": 83.0,
        "gpu_display_active": False,
        "driver_vers": packed_driver_version(machine.driver_version),
        "cpu_ghz": machine.cpu_ghz,
        "has_avx": 1,
        "disk_space": offer.disk_space,
        "internet_up_cost_per_tb": machine.traffic_cost * 1024,
        "internet_down_cost_per_tb": machine.traffic_cost * 1024,
        "geolocode": machine.geolocode,
        "reliability": machine.reliability,
        "reliability_mult": round(machine.reliability**2, 7),
        "expected_reliability": 0.0,
        "target_reliability": 0.0,
        "vericode": int(machine.verification == "verified"),
        "is_vm_deverified": False,
        "vms_enabled": False,
        "rentable": True,
        "rented": False,
        "external": None,
        "discount_rate": None,
        "discounted_hourly": 0,
        "credit_discount_max": 0.0,
        "start_date": machine.end_date - 200 * 86_400.0,
        "avail_vol_ask_id": offer.id + 2,
        "avail_vol_dph": machine.storage_cost / 720,
        "avail_vol_size": offer.disk_space,
        "nw_disk_min_bw": None,
        "nw_disk_max_bw": None,
        "nw_disk_avg_bw": None,
        "sla_broker_rate": None,
        "sla_r_claim": 0.0,
        "sla_sigma_x": None,
    }


def priced_part(offer: VastOffer, pricing: Pricing, now: float) -> Row:
    """The part of an offer's row that depends on the search and its moment."""
    base = pricing.base(offer)
    disk = offer.storage_per_hour(pricing.disk_gb)
    total = base + disk
    speed = performance(offer)
    return {
        "is_bid": pricing.bid,
        "dph_base": base,
        "storage_total_cost": disk,
        "dph_total": total,
        "dph_total_adj": total * 1.0002,
        "discounted_dph_total": total,
        "dlperf_per_dphtotal": speed / total,
        "flops_per_dphtotal": offer.machine.model.tflops * offer.num_gpus / total,
        "vram_costperhour": total / (offer.machine.model.ram_mb * offer.num_gpus) * 1024,
        "score": score(offer, pricing),
        "search": _price_block(base, disk),
        "instance": _price_block(0.0, disk),
        "duration": offer.machine.end_date - now,
    }


def score(offer: VastOffer, pricing: Pricing) -> float:
    """The provider's default order, made up: speed for money, and the host's reliability."""
    return performance(offer) / pricing.total(offer) * offer.machine.reliability


def offer_row(offer: VastOffer, pricing: Pricing, now: float) -> Row:
    """An offer as an object."""
    return fixed_part(offer) | priced_part(offer, pricing, now)


class OfferEncoder:
    """Writes many offers as JSON, quickly; the parts that never change are encoded once."""

    def __init__(self) -> None:
        self._fixed: dict[int, bytes] = {}

    def encode(self, offer: VastOffer, pricing: Pricing, now: float) -> bytes:
        """One row."""
        fixed = self._fixed.get(offer.id)
        if fixed is None:
            fixed = self._fixed[offer.id] = _encode(fixed_part(offer))[:-1] + b","
        return fixed + _encode(priced_part(offer, pricing, now))[1:]


OFFER_FIELDS: Mapping[str, Callable[[VastOffer, Pricing, float], Any]] = {
    "ask_contract_id": lambda offer, _p, _n: offer.id,
    "bundle_id": lambda offer, _p, _n: offer.bundle_id,
    "machine_id": lambda offer, _p, _n: offer.machine.id,
    "host_id": lambda offer, _p, _n: offer.machine.host_id,
    "hosting_type": lambda offer, _p, _n: offer.machine.hosting_type,
    "datacenter": lambda offer, _p, _n: offer.machine.hosting_type == 1,
    "gpu_name": lambda offer, _p, _n: offer.machine.model.name,
    "gpu_arch": lambda _o, _p, _n: "nvidia",
    "num_gpus": lambda offer, _p, _n: offer.num_gpus,
    "gpu_ram": lambda offer, _p, _n: offer.machine.model.ram_mb,
    "gpu_total_ram": lambda offer, _p, _n: offer.machine.model.ram_mb * offer.num_gpus,
    "gpu_totalram": lambda offer, _p, _n: offer.machine.model.ram_mb * offer.num_gpus,
    "gpu_frac": lambda offer, _p, _n: offer.share,
    "gpu_mem_bw": lambda offer, _p, _n: offer.machine.model.mem_bw,
    "gpu_max_power": lambda offer, _p, _n: offer.machine.model.max_power,
    "bw_nvlink": lambda offer, _p, _n: 478.1 if offer.machine.model.nvlink else 0.0,
    "compute_cap": lambda offer, _p, _n: offer.machine.model.compute_cap,
    "total_flops": lambda offer, _p, _n: offer.machine.model.tflops * offer.num_gpus,
    "dlperf": lambda offer, _p, _n: performance(offer),
    "cuda_max_good": lambda offer, _p, _n: offer.machine.cuda_max_good,
    "cuda_vers": lambda offer, _p, _n: offer.machine.cuda_max_good,
    "driver_version": lambda offer, _p, _n: packed_driver_version(offer.machine.driver_version),
    "driver_vers": lambda offer, _p, _n: packed_driver_version(offer.machine.driver_version),
    "cpu_arch": lambda _o, _p, _n: "amd64",
    "cpu_name": lambda offer, _p, _n: offer.machine.cpu_name,
    "cpu_cores": lambda offer, _p, _n: offer.machine.cpu_cores,
    "cpu_cores_effective": lambda offer, _p, _n: offer.machine.cpu_cores * offer.share,
    "cpu_ram": lambda offer, _p, _n: offer.machine.cpu_ram,
    "cpu_ghz": lambda offer, _p, _n: offer.machine.cpu_ghz,
    "disk_space": lambda offer, _p, _n: offer.disk_space,
    "disk_bw": lambda offer, _p, _n: offer.machine.disk_bw,
    "storage_cost": lambda offer, _p, _n: offer.machine.storage_cost,
    "inet_up": lambda offer, _p, _n: offer.machine.inet_up,
    "inet_down": lambda offer, _p, _n: offer.machine.inet_down,
    "inet_up_cost": lambda offer, _p, _n: offer.machine.traffic_cost,
    "inet_down_cost": lambda offer, _p, _n: offer.machine.traffic_cost,
    "direct_port_count": lambda offer, _p, _n: offer.machine.ports,
    "static_ip": lambda offer, _p, _n: offer.machine.static_ip,
    "geolocation": lambda offer, _p, _n: offer.machine.geolocation.rpartition(",")[2].strip(),
    "reliability": lambda offer, _p, _n: offer.machine.reliability,
    "reliability2": lambda offer, _p, _n: offer.machine.reliability,
    "verification": lambda offer, _p, _n: offer.machine.verification,
    "verified": lambda offer, _p, _n: offer.machine.verification == "verified",
    "pcie_bw": lambda offer, _p, _n: offer.machine.pcie_bw,
    "min_bid": lambda offer, _p, _n: offer.min_bid,
    "rentable": lambda _o, _p, _n: True,
    "rented": lambda _o, _p, _n: False,
    "has_avx": lambda _o, _p, _n: 1,
    "vms_enabled": lambda _o, _p, _n: False,
    "dph_base": lambda offer, pricing, _n: pricing.base(offer),
    "dph": lambda offer, pricing, _n: pricing.total(offer),
    "dph_total": lambda offer, pricing, _n: pricing.total(offer),
    "dlperf_per_dphtotal": lambda offer, pricing, _n: performance(offer) / pricing.total(offer),
    "dlperf_usd": lambda offer, pricing, _n: performance(offer) / pricing.total(offer),
    "flops_per_dphtotal": lambda offer, pricing, _n: offer.machine.model.tflops * offer.num_gpus / pricing.total(offer),
    "score": lambda offer, pricing, _n: score(offer, pricing),
    "duration": lambda offer, _p, now: offer.machine.end_date - now,
    "end_date": lambda offer, _p, _n: offer.machine.end_date,
    "id": lambda _o, _p, _n: None,
}
"""What filters and orders compare. `id` matches nothing, as on the real service; `external` and unknown names filter nothing."""


@frozen
class _Words:
    actual: str | None
    intended: str
    current: str
    next: str


def status_words(instance: VastInstance, now: float) -> _Words:
    """The four status fields of a contract."""
    moment = instance.at(now)
    wanted = moment.wanted
    held = wanted if moment.phase is not Phase.STOPPING else "running"
    actual: str | None
    match moment.phase:
        case Phase.PROVISIONING:
            actual = None
        case Phase.STOPPING:
            actual = "running"
        case Phase.STOPPED | Phase.RELEASED | Phase.QUEUED:
            ran = any(entry.phase is Phase.RUNNING and entry.at <= now for entry in instance.timeline)
            actual = "exited" if ran else "created"
        case Phase.FAILED:
            actual = "created"
        case phase:
            actual = phase.value
    if moment.phase in (Phase.QUEUED, Phase.FAILED):
        held = "stopped" if moment.phase is Phase.QUEUED else "running"
    if instance.destroyed_at is not None and instance.destroyed_at <= now:
        return _Words(actual, wanted, held, "unloaded")
    return _Words(actual, wanted, held, wanted)


@functools.cache
def _region_code(geolocation: str) -> str | None:
    code = geolocation.rpartition(",")[2].strip()
    return code if len(code) == 2 else None


def instance_row(instance: VastInstance, now: float) -> Row:
    """A contract as list and show both give it (`volume_info` is the list's alone)."""
    offer = instance.offer
    moment = instance.at(now)
    words = status_words(instance, now)
    running = moment.phase is Phase.RUNNING
    started = max((entry.at for entry in instance.timeline if entry.at <= now), default=now)
    gpu_rate = instance.running_rate_at(now) - instance.disk_rate
    total = gpu_rate + instance.disk_rate
    addressed = moment.phase is not Phase.PROVISIONING
    image_words = instance.image.replace("/", "_").replace(":", "_")
    message = moment.message
    if message is None and running:
        message = f"success, running {image_words}/ssh\n"
    return {
        "id": int(instance.id),
        **_hardware(offer),
        "actual_status": words.actual,
        "intended_status": words.intended,
        "cur_state": words.current,
        "next_state": words.next,
        "status_msg": message,
        "label": instance.tag,
        "template_id": None,
        "template_hash_id": None,
        "template_name": None,
        "image_uuid": instance.image,
        "image_args": instance.args,
        "image_runtype": instance.runtype,
        "extra_env": [list(pair) for pair in instance.env],
        "onstart": instance.onstart,
        "jupyter_token": "0" * 64,
        "gpu_totalram": offer.machine.model.ram_mb * offer.num_gpus,
        "gpu_util": 37.0 if running else None,
        "gpu_temp": 61.0 if running else None,
        "cpu_util": 3.2 if running else 0.0,
        "mem_limit": 64.4 if running else None,
        "mem_usage": 1.9 if running else None,
        "vmem_usage": 2.1 if running else None,
        "disk_space": instance.disk_gb,
        "disk_util": 0.11 if running else -1,
        "disk_usage": 1.8 if running else -1,
        "public_ipaddr": f"{offer.machine.address}\n" if addressed else None,
        "local_ipaddrs": "10.0.0.5 172.17.0.1 \n" if addressed else None,
        "ssh_host": f"ssh{int(instance.id) % 9 + 1}.vast.ai",
        "ssh_idx": str(int(instance.id) % 9 + 1),
        "ssh_port": instance.proxy_port,
        "machine_dir_ssh_port": instance.first_port + 7,
        "direct_port_start": instance.first_port if running else -1,
        "direct_port_end": instance.first_port + 2 if running else -1,
        "ports": _ports(instance) if running else ({} if moment.phase is Phase.LOADING else None),
        "country_code": _region_code(offer.machine.geolocation),
        "rentable": False,
        "external": False,
        "is_bid": instance.is_bid,
        "dph_base": gpu_rate,
        "dph_total": total,
        "storage_total_cost": instance.disk_rate,
        "vram_costperhour": total / (offer.machine.model.ram_mb * offer.num_gpus) * 1024,
        "dlperf_per_dphtotal": performance(offer) / total if total else None,
        "flops_per_dphtotal": offer.machine.model.tflops * offer.num_gpus / total if total else None,
        "score": None,
        "search": _price_block(gpu_rate, instance.disk_rate),
        "instance": _price_block(gpu_rate if running else 0, instance.disk_rate),
        "credit_balance": None,
        "credit_discount": None,
        "credit_discount_max": 0.0,
        "client_run_time": 1.1,
        "host_run_time": 2_592_000.0,
        "start_date": instance.created_at,
        "duration": offer.machine.end_date - now,
        "uptime_mins": (now - started) / 60 if running else None,
    }


def _ports(instance: VastInstance) -> Row:
    """The map of a running machine: ssh first, then what `-p` entries of its environment ask for."""
    asked = [name.split()[1].partition(":")[2] for name, _ in instance.env if name.startswith("-p ")]
    inside = ["22/tcp", *(port if "/" in port else f"{port}/tcp" for port in asked if port)]
    return {
        port: [
            {"HostIp": address, "HostPort": str(instance.first_port + place)}
            for address in ("0.0.0.0", "::")  # noqa: S104 - the provider's own text
        ]
        for place, port in enumerate(dict.fromkeys(inside))
    }

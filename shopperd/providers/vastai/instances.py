"""What a row of Vast.ai's instances means."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta

from shopperd.model import Instance, InstanceState, Ownership, session_of
from shopperd.providers.gpus import canonical
from shopperd.providers.vastai import wire

NAME = "vastai"
TAG_VARIABLE = "SHOPPERD_TAG"
"""The tag's second place. The environment of an instance cannot be edited, and is there before the label is."""
PRICE_PER_HOUR_MAX = 10_000.0
"""USD; a hundred times the dearest machine there is. What is above is noise, not a price."""
GPUS_MAX = 128
_STARTED_MIN = datetime(2018, 1, 1, tzinfo=UTC)
"""Vast.ai is not older."""
_STARTED_AHEAD_MAX = timedelta(minutes=5)
_STATUS_CHARS_MAX = 40
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")

_STARTS = frozenset({"created", "loading", "rebooting", "recycling", "scheduling", "creating", "connecting"})
_STOPPED = frozenset({"exited", "stopped", "frozen"})
_NOT_YET = _STARTS - {"rebooting", "recycling"} | {""}


def identified(row: wire.InstanceRow | None) -> str | None:
    """The row's id, None if it is not one that could be asked for again."""
    return None if row is None else wire.identifier(row.id)


def to_instance(row: wire.InstanceRow, id: str, account: str, deployment: str, now: datetime) -> Instance:
    """The instance that a row tells of.

    The tag is the label exactly as it is, blanks included: what is not exactly ours is foreign. An instance
    without any label is looked up by its environment, since labels can come late.
    """
    tag = wire.text(row.label) or dict(wire.pairs(row.extra_env)).get(TAG_VARIABLE)
    session_id = session_of(tag, deployment)
    gpu = canonical(NAME, row.gpu_name, row.gpu_ram) if row.gpu_name else None
    state = state_of(row)
    price = _price(row, state)
    address, ssh_port = _door(row)
    return Instance(
        account=account,
        provider=NAME,
        id=id,
        tag=tag,
        session_id=session_id,
        ownership=Ownership.FOREIGN if session_id is None else Ownership.OURS,
        state=state,
        provider_state=_told(row),
        gpu=gpu.name if gpu else None,
        gpu_count=row.num_gpus if row.num_gpus is not None and 0 < row.num_gpus <= GPUS_MAX else None,
        vram_gb=gpu.vram_gb if gpu else None,
        price_per_hour=price,
        address=address,
        ssh_port=ssh_port,
        started_at=_started(row.start_date, now),
        billed_per_hour=_billed(row, price),
    )


def state_of(row: wire.InstanceRow) -> InstanceState:
    """What the four fields say together; never what one says alone.

    A container that runs is running, whatever is intended: it bills until it has stopped. One that is still
    on its way although it is meant to be stopped never gets there (a bad image ends so). Words that are not
    known, and those that say that the provider itself does not know (``offline``, ``unknown``), are unknown.
    """
    actual, intended, contract = (_word(w) for w in (row.actual_status, row.intended_status, row.cur_state))
    if actual == "running":
        return InstanceState.RUNNING
    if actual in _STOPPED:
        return InstanceState.STOPPED
    if actual in _STARTS or (actual == "" and "running" in (intended, contract)):
        return InstanceState.STOPPED if "stopped" in (intended, contract) else InstanceState.STARTING
    if actual == "" and "stopped" in (intended, contract):
        return InstanceState.STOPPED
    return InstanceState.UNKNOWN


def sane_price(price: float | None) -> float | None:
    """A price in USD per hour that can be one."""
    return price if price is not None and 0 <= price <= PRICE_PER_HOUR_MAX else None


def _word(raw: str | None) -> str:
    return (raw or "").lower()


def _told(row: wire.InstanceRow) -> str:
    told = (row.actual_status or "null")[:_STATUS_CHARS_MAX]
    if row.intended_status is not None and _word(row.intended_status) != _word(row.actual_status):
        told += f", intended {row.intended_status[:_STATUS_CHARS_MAX]}"
    if _word(row.next_state) == "unloaded" or _word(row.cur_state) == "unloaded":
        told += ", unloading"
    return told


def _price(row: wire.InstanceRow, state: InstanceState) -> float | None:
    """USD per hour, and the upper one where it is in doubt.

    A machine whose contract is stopped pays for its disk alone, which is what ``instance.totalHour`` says.
    One whose container has ended while the contract runs on still pays for its GPUs.
    """
    whole = sane_price(row.dph_total)
    present = sane_price(wire.number(wire.mapping(row.instance).get("totalHour")))
    disk = sane_price(row.storage_total_cost)
    if state is InstanceState.STOPPED and "running" not in (_word(row.cur_state), _word(row.intended_status)):
        stopped = present if present is not None else disk
        return whole if stopped is None else stopped
    prices = [price for price in (whole, present) if price is not None]
    return max(prices) if prices else None


def _billed(row: wire.InstanceRow, price: float | None) -> float | None:
    """USD per hour in its present state: the GPU once it has started and while its contract runs, the disk always.

    From Vast.ai's pages on prices: nothing is charged while the host is offline.
    """
    actual, contract = _word(row.actual_status), _word(row.cur_state)
    if actual == "offline":
        return 0.0
    if actual == "running" or (contract != "stopped" and actual not in _NOT_YET):
        return price
    present = sane_price(wire.number(wire.mapping(row.instance).get("totalHour")))
    disk = present if present is not None else sane_price(row.storage_total_cost)
    return price if disk is None else disk


def _door(row: wire.InstanceRow) -> tuple[str | None, int | None]:
    """Where to reach it by ssh: directly if its port is open to the world, else through Vast.ai's proxy.

    ``machine_dir_ssh_port`` looks like a direct port and is none.
    """
    port = next(
        (port for binding in _bindings(row.ports) if (port := _port(wire.mapping(binding).get("HostPort")))), None
    )
    address = _address(row.public_ipaddr)
    if port is not None and address is not None:
        return address, port
    host = row.ssh_host if row.ssh_host and _HOST.fullmatch(row.ssh_host) else None
    port = _port(row.ssh_port)
    return (host, port) if host is not None and port is not None else (address, None)


def _bindings(ports: object) -> tuple[object, ...]:
    bindings = wire.mapping(ports).get("22/tcp")
    return tuple(bindings) if isinstance(bindings, list) else ()


def _port(raw: object) -> int | None:
    port = wire.whole(raw)
    return port if port is not None and 0 < port < 2**16 else None


def _address(raw: str | None) -> str | None:
    try:
        return str(ipaddress.ip_address(raw.split()[0])) if raw else None
    except ValueError:
        return None


def _started(epoch: float | None, now: datetime) -> datetime | None:
    if epoch is None:
        return None
    try:
        started = datetime.fromtimestamp(epoch, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return started if _STARTED_MIN <= started <= now + _STARTED_AHEAD_MAX else None

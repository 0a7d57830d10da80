"""TensorDock's words for what an instance does."""

from __future__ import annotations

import re

from shopperd.model import InstanceState
from shopperd.providers.tensordock.dialect import Machine

_STATES = {
    "running": InstanceState.RUNNING,
    "queued": InstanceState.STARTING,
    "creating": InstanceState.STARTING,
    "provisioning": InstanceState.STARTING,
    "pending": InstanceState.STARTING,
    "starting": InstanceState.STARTING,
    "stopped": InstanceState.STOPPED,
    "stoppeddisassociated": InstanceState.STOPPED,
    "outbid": InstanceState.STOPPED,
}
_GONE = {"terminated", "deleted"}


def state_of(machine: Machine) -> InstanceState:
    """What an instance does. A word that is not known is UNKNOWN: it bills until the opposite is proven.

    A create is answered with ``running`` at once, long before the machine has an address: until then it starts.
    """
    state = _STATES.get(_plain(machine.status), InstanceState.UNKNOWN)
    if state is InstanceState.RUNNING and machine.address_told and machine.address is None:
        return InstanceState.STARTING
    return state


def is_released(machine: Machine) -> bool:
    """Whether its GPU was given to others: then its storage alone is billed, while its answers go on to tell the whole price."""
    return _plain(machine.status) == "stoppeddisassociated"


def is_gone(machine: Machine) -> bool:
    """Whether the provider itself calls it terminated or deleted (``deleting`` still bills)."""
    return _plain(machine.status) in _GONE


def _plain(status: str | None) -> str:
    return re.sub(r"[\s_-]", "", status or "").lower()

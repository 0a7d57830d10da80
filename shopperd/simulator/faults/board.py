"""The faults that are on: switched on and off by name, with their limits in number, chance and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from shopperd.simulator.call import OPERATIONS, Call, Fault, Spec
from shopperd.simulator.faults.registry import CATALOGUE
from shopperd.simulator.truth import PROVIDERS, Truth

COMMON: Mapping[str, str] = {
    "name": "which fault",
    "provider": "only there (vastai or tensordock); default wherever it applies",
    "count": "how many times it happens before it is over",
    "probability": "the chance, 0 to 1, that it happens to a request it applies to",
    "seconds": "how long it lasts, by the world's clock",
    "until": "the world's time, epoch seconds, at which it is over",
    "operation": "only requests of this kind, or of these kinds",
    "instance": "only this machine",
}
"""The members that every fault takes."""


class BadFaultError(ValueError):
    """The fault asked for does not exist, or cannot be switched on like this; the text says why."""


@define(eq=False)
class FaultBoard:
    """All faults that are on, in the order in which they were switched on. `fired` counts by name, for good."""

    truth: Truth
    active: dict[str, Fault] = field(factory=dict)
    fired: dict[str, int] = field(factory=dict)
    _last: int = 0

    def switch_on(self, asked: Mapping[str, Any]) -> Fault:
        """Switch on what `{"name": ..., ...}` describes.

        Raises:
            BadFaultError: see there.
        """
        spec = CATALOGUE.get(str(asked.get("name")))
        if spec is None:
            raise BadFaultError(f"no fault is named {str(asked.get('name'))[:80]!r}; GET /_sim/faults lists them")
        unknown = [key for key in asked if key not in COMMON and key not in spec.parameters]
        if unknown:
            allowed = ", ".join((*COMMON, *spec.parameters))
            raise BadFaultError(f"{spec.name} has no parameter {unknown[0]!r}; allowed are {allowed}")
        self._last += 1
        fault = Fault(
            f"f{self._last}",
            spec,
            self.truth.now,
            provider=_provider(asked, spec),
            operations=_operations(asked, spec),
            instance=None if asked.get("instance") is None else str(asked["instance"]),
            count=_count(asked),
            probability=_probability(asked),
            until=_until(asked, self.truth.now),
            values={key: _value(asked, key, spec) for key in spec.parameters},
        )
        self.active[fault.id] = fault
        if spec.start is not None:
            spec.start(self.truth, fault)
        return fault

    def switch_off(self, fault_id: str | None = None) -> list[str]:
        """Switch off one fault, or all; answers the ids that were on."""
        chosen = list(self.active) if fault_id is None else [fault_id] if fault_id in self.active else []
        for key in chosen:
            self._remove(self.active[key])
        return chosen

    def _remove(self, fault: Fault) -> None:
        del self.active[fault.id]
        if fault.spec.stop is not None:
            fault.spec.stop(self.truth, fault)

    def expire(self) -> None:
        """Switch off what is over by now."""
        for fault in list(self.active.values()):
            if fault.until is not None and self.truth.now >= fault.until:
                self._remove(fault)

    def meeting(self, provider: str, operation: str, instance_id: str | None) -> tuple[Fault, ...]:
        """The faults that may meet a request; each one's chance is drawn here, once."""
        if not self.active:
            return ()
        met = []
        for fault in self.active.values():
            if not fault.may_meet(provider, operation, instance_id):
                continue
            if fault.probability is None or self.truth.rng.random() < fault.probability:
                met.append(fault)
        return tuple(met)

    def settle(self, call: Call) -> None:
        """Count what a request met, and take off what has happened often enough."""
        for fault in call.fired:
            self.fired[fault.spec.name] = self.fired.get(fault.spec.name, 0) + 1
            if fault.count is not None:
                fault.count -= 1
                if fault.count <= 0 and fault.id in self.active:
                    self._remove(fault)


def describe(fault: Fault) -> dict[str, Any]:
    """A fault that is on, for the control API."""
    return {
        "id": fault.id,
        "name": fault.spec.name,
        "provider": fault.provider,
        "operations": list(fault.operations),
        "instance": fault.instance,
        "count": fault.count,
        "probability": fault.probability,
        "until": fault.until,
        "since": fault.since,
        "fired": fault.fired,
        "parameters": fault.values,
    }


def describe_spec(spec: Spec) -> dict[str, Any]:
    """A kind of fault, for the control API."""
    return {
        "name": spec.name,
        "does": spec.doc,
        "providers": list(spec.providers),
        "operations": list(spec.operations),
        "parameters": {
            key: {"default": parameter.default, "does": parameter.doc} for key, parameter in spec.parameters.items()
        },
    }


def _provider(asked: Mapping[str, Any], spec: Spec) -> str | None:
    provider = asked.get("provider")
    if provider is None:
        return None
    if provider not in PROVIDERS:
        raise BadFaultError(f"provider must be one of {', '.join(PROVIDERS)}")
    if provider not in spec.providers:
        raise BadFaultError(f"{spec.name} does not apply to {provider}, only to {', '.join(spec.providers)}")
    return str(provider)


def _operations(asked: Mapping[str, Any], spec: Spec) -> tuple[str, ...]:
    wanted = asked.get("operation")
    if wanted is None:
        return spec.operations
    chosen = tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
    for operation in chosen:
        if operation not in OPERATIONS:
            raise BadFaultError(f"operation must be one of {', '.join(OPERATIONS)}")
        if spec.operations and operation not in spec.operations:
            raise BadFaultError(f"{spec.name} applies only to {', '.join(spec.operations)}")
    return chosen


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(asked: Mapping[str, Any]) -> int | None:
    count = asked.get("count")
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise BadFaultError("count must be a whole number from 1")
    return count


def _probability(asked: Mapping[str, Any]) -> float | None:
    chance = asked.get("probability")
    if chance is None:
        return None
    if not _is_number(chance) or not 0 <= chance <= 1:
        raise BadFaultError("probability must be a number from 0 to 1")
    return float(chance)


def _until(asked: Mapping[str, Any], now: float) -> float | None:
    seconds, until = asked.get("seconds"), asked.get("until")
    if seconds is not None and until is not None:
        raise BadFaultError("give either seconds or until")
    if seconds is not None:
        if not _is_number(seconds) or seconds <= 0:
            raise BadFaultError("seconds must be a positive number")
        return now + float(seconds)
    if until is not None and not _is_number(until):
        raise BadFaultError("until must be a time in epoch seconds")
    return None if until is None else float(until)


def _value(asked: Mapping[str, Any], key: str, spec: Spec) -> Any:
    default = spec.parameters[key].default
    if key not in asked:
        return default
    value = asked[key]
    if default is None or value is None:
        return value
    if _is_number(default):
        if not _is_number(value):
            raise BadFaultError(f"{spec.name}: {key} must be a number")
        return type(default)(value) if isinstance(default, float) else value
    if not isinstance(value, type(default)):
        raise BadFaultError(f"{spec.name}: {key} must be {type(default).__name__}")
    return value

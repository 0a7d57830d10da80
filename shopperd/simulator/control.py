"""The control API under `/_sim/`: the truth, the log of requests, faults, machines out of nowhere, and the clock.

Every refusal is JSON with an `error` that says what is allowed. Nothing that it answers holds a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from shopperd.simulator.dock_market import Resources
from shopperd.simulator.exchange import Answer, BadBodyError, Request, json_answer
from shopperd.simulator.faults import CATALOGUE, BadFaultError
from shopperd.simulator.faults.board import COMMON, FaultBoard, describe, describe_spec
from shopperd.simulator.instances import DockInstance, Instance, Moment, Phase
from shopperd.simulator.request_log import RequestLog
from shopperd.simulator.truth import PROVIDERS, Truth

PHASE_OF_STATE: Mapping[str, Phase] = {
    "starting": Phase.LOADING,
    "loading": Phase.LOADING,
    "created": Phase.FAILED,
    "stoppeddisassociated": Phase.RELEASED,
    **{phase.value: phase for phase in Phase},
}
"""What `POST /_sim/instances` takes as a state: our words, the providers' and the phases'."""
INSTANCE_MEMBERS = ("provider", "tag", "state", "age_seconds", "price_per_hour", "gpu_count")


class Controlled(Protocol):
    """What the control API needs of the world."""

    @property
    def truth(self) -> Truth:
        """What exists."""

    @property
    def faults(self) -> FaultBoard:
        """What is on."""

    @property
    def requests(self) -> RequestLog:
        """What was asked."""

    def advance(self, seconds: float) -> float:
        """Push the clock."""


class BadWishError(ValueError):
    """What was asked for cannot be had; the text says why."""


def serve(world: Controlled, request: Request) -> Answer:
    """Answer one control request."""
    parts = [part for part in request.path.split("/") if part]
    try:
        match (request.method, parts):
            case ("GET", ["_sim", "state"]):
                return json_answer(200, state(world))
            case ("GET", ["_sim", "requests"]):
                return json_answer(200, _requests(world, request))
            case ("GET", ["_sim", "faults"]):
                return json_answer(200, _faults(world))
            case ("POST", ["_sim", "faults"]):
                return json_answer(201, describe(world.faults.switch_on(_body(request))))
            case ("DELETE", ["_sim", "faults"]):
                return json_answer(200, {"switched_off": world.faults.switch_off()})
            case ("DELETE", ["_sim", "faults", fault_id]):
                off = world.faults.switch_off(fault_id)
                return json_answer(200, {"switched_off": off}) if off else _missing(f"no fault {fault_id} is on")
            case ("POST", ["_sim", "instances"]):
                return json_answer(201, conjure(world.truth, _body(request)))
            case ("DELETE", ["_sim", "instances", provider, instance_id]):
                return _vanish(world.truth, provider, instance_id)
            case ("POST", ["_sim", "clock"]):
                return json_answer(200, _advance(world, _body(request)))
            case _:
                return _missing(f"no route {request.method} {request.path}")
    except (BadBodyError, BadFaultError, BadWishError) as error:
        return json_answer(400, {"error": str(error)})


def _missing(text: str) -> Answer:
    return json_answer(404, {"error": text})


def _body(request: Request) -> Mapping[str, Any]:
    body = request.json()
    if not isinstance(body, Mapping):
        raise BadBodyError("the body must be a JSON object")
    return body


# --- looking ------------------------------------------------------------------------------------------------


def state(world: Controlled) -> dict[str, Any]:
    """The truth: every machine there ever was, what it cost, and what is on the markets."""
    truth = world.truth
    instances = [truth.describe(instance) for instance in truth.everything()]
    return {
        "now": truth.now,
        "seed": truth.settings.seed,
        "instances": instances,
        "billed_total": sum(instance["billed"] for instance in instances),
        "billed": {provider: truth.billed(provider) for provider in PROVIDERS},
        "credit": {provider: truth.credit(provider) for provider in PROVIDERS},
        "offers": {"vastai": sum(1 for _ in truth.vast.free()), "tensordock": truth.dock.rows()},
        "requests": world.requests.last,
        "faults_fired": dict(world.faults.fired),
    }


def _requests(world: Controlled, request: Request) -> dict[str, Any]:
    text = request.param("after") or "0"
    if not text.isdecimal():
        raise BadWishError("after must be a whole number from 0")
    return world.requests.page(int(text))


def _faults(world: Controlled) -> dict[str, Any]:
    return {
        "faults": [describe_spec(spec) for spec in CATALOGUE.values()],
        "common_parameters": COMMON,
        "active": [describe(fault) for fault in world.faults.active.values()],
        "fired": dict(world.faults.fired),
    }


# --- changing -----------------------------------------------------------------------------------------------


def conjure(truth: Truth, wish: Mapping[str, Any]) -> dict[str, Any]:
    """Make a machine that nobody rented through the API.

    Raises:
        BadWishError: a member is unknown or of the wrong kind, or nothing on the market has that many GPUs.
    """
    unknown = [key for key in wish if key not in INSTANCE_MEMBERS]
    if unknown:
        raise BadWishError(f"no member {unknown[0]!r}; allowed are {', '.join(INSTANCE_MEMBERS)}")
    provider, tag = wish.get("provider"), wish.get("tag")
    if provider not in PROVIDERS:
        raise BadWishError(f"provider must be one of {', '.join(PROVIDERS)}")
    if tag is not None and not isinstance(tag, str):
        raise BadWishError("tag must be text or null")
    word = wish.get("state") or "running"
    phase = PHASE_OF_STATE.get(str(word).lower())
    if phase is None:
        raise BadWishError(f"state must be one of {', '.join(PHASE_OF_STATE)}")
    age = _number(wish, "age_seconds", 0.0)
    count = int(_number(wish, "gpu_count", 1))
    instance = _make(truth, str(provider), tag, count)
    price = _number(wish, "price_per_hour", None)
    if price is not None:
        instance.running_rate = price
        instance.disk_rate = min(instance.disk_rate, price)
        if isinstance(instance, DockInstance):
            instance.shown_rate = price
    _set_age(instance, age, phase)
    return truth.describe(instance)


def _make(truth: Truth, provider: str, tag: str | None, count: int) -> Instance:
    if provider == "vastai":
        fitting = [offer for offer in truth.vast.offers.values() if offer.num_gpus == count]
        if not fitting:
            raise BadWishError(f"no offer has {count} GPUs")
        return truth.rent_vast(truth.rng.choice(fitting), tag=tag, reserve=False)
    node = truth.rng.choice([*truth.dock.nodes.values()])
    wanted = Resources(8, 32, 100, {next(iter(node.gpus)): count})
    return truth.rent_dock(node, wanted, tag=tag or "", internal_ports=[22], reserve=False)


def _set_age(instance: Instance, age: float, phase: Phase) -> None:
    now = instance.created_at
    instance.created_at = now - age
    planned = instance.timeline[-1].at - now
    wanted = "stopped" if phase in (Phase.STOPPED, Phase.RELEASED, Phase.STOPPING) else "running"
    start = Moment(instance.created_at, Phase.RUNNING)
    if phase in (Phase.PROVISIONING, Phase.LOADING):
        instance.timeline = [Moment(instance.created_at, phase), Moment(now + planned, Phase.RUNNING)]
    elif phase is Phase.RUNNING:
        instance.timeline = [start]
    else:
        instance.timeline = [start, Moment(now, phase, wanted, "")]
    if isinstance(instance, DockInstance) and phase is not Phase.PROVISIONING:
        instance.address_at = instance.created_at


def _number(wish: Mapping[str, Any], key: str, default: float | None) -> Any:
    value = wish.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise BadWishError(f"{key} must be a number from 0")
    return float(value)


def _vanish(truth: Truth, provider: str, instance_id: str) -> Answer:
    instance = truth.find(provider, instance_id) if provider in PROVIDERS else None
    if instance is None:
        return _missing(f"no machine {instance_id} at {provider}")
    truth.destroy(instance, "control")
    instance.listed_until = None
    return json_answer(200, truth.describe(instance))


def _advance(world: Controlled, body: Mapping[str, Any]) -> dict[str, Any]:
    seconds = body.get("advance_seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise BadWishError("advance_seconds must be a number from 0")
    return {"now": world.advance(float(seconds)), "offset": world.truth.offset}

"""What happens to machines by themselves: they vanish, stop, fail to start, go offline, multiply, change their price."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from shopperd.simulator.call import Call, Fault, Parameter
from shopperd.simulator.dock_market import Resources
from shopperd.simulator.exchange import Answer, json_answer
from shopperd.simulator.faults.editing import draw
from shopperd.simulator.faults.registry import DOCK, VAST, fault
from shopperd.simulator.instances import DockInstance, Instance, Moment, Phase, VastInstance
from shopperd.simulator.truth import PROVIDERS, Truth

CREATE = ("create",)
_REASON = Parameter("user", "user, outbid, credit, exited or stoppeddisassociated")
_TAG = Parameter("", "only machines whose tag begins so")
_DELAY = Parameter(0.0, "seconds until it happens")


def _candidates(truth: Truth, fault: Fault) -> list[Instance]:
    """The machines that a fault may hit: the named one, or those of its provider with the asked tag."""
    prefix = fault.values.get("tag_prefix", "")
    return [
        instance
        for provider in PROVIDERS
        if fault.covers(provider)
        for instance in truth.existing(provider)
        if fault.instance in (None, instance.id) and (instance.tag or "").startswith(prefix)
    ]


def _one(truth: Truth, fault: Fault) -> Instance | None:
    found = _candidates(truth, fault)
    return truth.rng.choice(found) if found else None


def _soon(truth: Truth, fault: Fault, action: Callable[[], None]) -> None:
    if fault["delay"] > 0:
        truth.later(truth.now + fault["delay"], lambda _now: action())
    else:
        action()


def _halt(truth: Truth, instance: Instance, reason: str) -> None:
    """Stop a machine as the marketplace would for that reason."""
    if instance.destroyed_at is not None:
        return
    if reason == "exited":
        text = "Error: container exited with code 1\n"
        instance.turn(Moment(truth.now, Phase.EXITED, "running", text))
    elif reason in ("outbid", "stoppeddisassociated"):
        if reason == "outbid" and isinstance(instance, VastInstance):
            instance.is_bid = True
        truth.stop(instance, release=True)
    else:
        truth.stop(instance)


# --- at a moment --------------------------------------------------------------------------------------------


@fault("start", parameters={"delay": _DELAY, "tag_prefix": _TAG})
def machine_vanishes(truth: Truth, fault: Fault) -> None:
    """One machine is gone, and nobody asked for it."""

    def act() -> None:
        instance = _one(truth, fault)
        if instance is not None:
            truth.destroy(instance, fault.spec.name)
            instance.listed_until = None

    _soon(truth, fault, act)


@fault("start", parameters={"delay": _DELAY, "share": Parameter(1.0, "how many, 0 to 1"), "tag_prefix": _TAG})
def fleet_vanishes(truth: Truth, fault: Fault) -> None:
    """Many machines are gone at once."""

    def act() -> None:
        for instance in _candidates(truth, fault):
            if draw(fault.id, instance.id) < fault["share"]:
                truth.destroy(instance, fault.spec.name)
                instance.listed_until = None

    _soon(truth, fault, act)


@fault("start", parameters={"delay": _DELAY, "reason": _REASON, "tag_prefix": _TAG})
def machine_stops(truth: Truth, fault: Fault) -> None:
    """One machine stops by itself and goes on billing."""

    def act() -> None:
        instance = _one(truth, fault)
        if instance is not None:
            _halt(truth, instance, fault["reason"])

    _soon(truth, fault, act)


@fault("start", parameters={"delay": _DELAY})
def credit_stop(truth: Truth, fault: Fault) -> None:
    """The money is used up: every machine stops, and nothing can be rented while it lasts."""

    def act() -> None:
        for provider in PROVIDERS:
            if fault.covers(provider):
                lost = max(0.0, truth.credit(provider)) + 1.0
                truth.credit_lost[provider] += lost
                fault.memory[provider] = lost
        for instance in _candidates(truth, fault):
            _halt(truth, instance, "credit")

    _soon(truth, fault, act)


@fault("stop", name="credit_stop")
def _credit_back(truth: Truth, fault: Fault) -> None:
    for provider in PROVIDERS:
        truth.credit_lost[provider] -= fault.memory.get(provider, 0.0)


@fault("start", parameters={"phase": Parameter("offline", "offline or unknown"), "tag_prefix": _TAG})
def host_lost(truth: Truth, fault: Fault) -> None:
    """Hosts are not reachable while it lasts; afterwards every machine is what it was."""
    before: dict[str, list[Moment]] = fault.memory.setdefault("before", {})
    for instance in _candidates(truth, fault):
        before[instance.id] = instance.timeline
        instance.turn(Moment(truth.now, Phase(fault["phase"]), instance.at(truth.now).wanted))


@fault("stop", name="host_lost")
def _host_back(truth: Truth, fault: Fault) -> None:
    for provider in PROVIDERS:
        for instance in truth.existing(provider):
            old = fault.memory["before"].get(instance.id)
            if old is not None:
                planned = [moment for moment in old if moment.at > truth.now]
                last = [moment for moment in old if moment.at <= truth.now][-1]
                instance.turn(Moment(truth.now, last.phase, last.wanted, last.message), *planned)


@fault("start", parameters={"delay": _DELAY, "factor": Parameter(10.0, "times the old price"), "tag_prefix": _TAG})
def machine_price_changes(truth: Truth, fault: Fault) -> None:
    """One machine's price changes while it runs."""

    def act() -> None:
        instance = _one(truth, fault)
        if instance is not None:
            rate = instance.running_rate_at(truth.now) * fault["factor"]
            instance.rate_changes.append((truth.now, rate))
            if isinstance(instance, DockInstance):
                instance.shown_rate = rate

    _soon(truth, fault, act)


@fault("start", parameters={"delay": _DELAY, "tag_prefix": _TAG})
def machine_duplicated(truth: Truth, fault: Fault) -> None:
    """A second machine with the same tag appears."""

    def act() -> None:
        instance = _one(truth, fault)
        if instance is not None:
            _clone(truth, instance)

    _soon(truth, fault, act)


@fault("start", parameters={"delay": _DELAY, "tag_prefix": _TAG})
def machine_migrates(truth: Truth, fault: Fault) -> None:
    """One machine is moved to another host: it is gone, and one with its tag and a new id is there."""

    def act() -> None:
        instance = _one(truth, fault)
        if instance is not None:
            _clone(truth, instance)
            truth.destroy(instance, fault.spec.name)
            instance.listed_until = None

    _soon(truth, fault, act)


def _clone(truth: Truth, instance: Instance) -> Instance:
    if isinstance(instance, VastInstance):
        return truth.rent_vast(instance.offer, tag=instance.tag, disk_gb=instance.disk_gb, reserve=False)
    if isinstance(instance, DockInstance):
        return truth.rent_dock(
            instance.node, instance.resources, tag=instance.tag or "", internal_ports=[22], reserve=False
        )
    raise TypeError(f"cannot clone {type(instance).__name__}")


@fault("start", parameters={"delay": _DELAY, "tag": Parameter("renamed-by-hand", "the new tag"), "tag_prefix": _TAG})
def machine_tag_edited(truth: Truth, fault: Fault) -> None:
    """Somebody edits one machine's tag in the web console."""

    def act() -> None:
        instance = _one(truth, fault)
        if instance is not None:
            instance.tag = fault["tag"]

    _soon(truth, fault, act)


@fault(
    "start", parameters={"number": Parameter(20, "how many"), "prefix": Parameter("shopper-", "before a random UUID")}
)
def machines_appear(truth: Truth, fault: Fault) -> None:
    """Many machines with well-formed tags appear at once, whose sessions nobody knows."""
    for provider in PROVIDERS:
        if not fault.covers(provider):
            continue
        for _ in range(fault["number"]):
            tag = f"{fault['prefix']}{uuid.UUID(int=truth.rng.getrandbits(128), version=4)}"
            if provider == "vastai":
                offer = truth.rng.choice([*truth.vast.offers.values()])
                truth.rent_vast(offer, tag=tag, reserve=False)
            else:
                node = truth.rng.choice([*truth.dock.nodes.values()])
                wanted = Resources(4, 16, 100, {next(iter(node.gpus)): 1})
                truth.rent_dock(node, wanted, tag=tag, internal_ports=[22], reserve=False)


# --- new machines -------------------------------------------------------------------------------------------


@fault("created", providers=VAST, operations=CREATE)
def new_machine_stuck(call: Call, _fault: Fault, instance: Instance) -> bool:
    """New machines load for ever."""
    instance.turn(Moment(call.now, Phase.LOADING, message="4c7d45f7c63c: Pulling fs layer \n"))
    return True


@fault("created", operations=CREATE)
def new_machine_fails(call: Call, _fault: Fault, instance: Instance) -> bool:
    """New machines are made and cannot start."""
    text = "Error response from daemon: OCI runtime create failed\n"
    instance.turn(Moment(call.now, Phase.FAILED, "running", text))
    return True


@fault(
    "created", providers=VAST, operations=CREATE, parameters={"delay": Parameter(60.0, "seconds until it is given up")}
)
def new_machine_bad_image(call: Call, fault: Fault, instance: Instance) -> bool:
    """The image cannot be pulled: new machines load until the marketplace wants them stopped, and still say loading."""
    text = "Unable to find image locally\n"
    given_up = Moment(call.now + fault["delay"], Phase.LOADING, "stopped", text)
    instance.turn(Moment(call.now, Phase.LOADING, message=text), given_up)
    return True


@fault("created", operations=CREATE, parameters={"delay": Parameter(10.0, "seconds"), "reason": _REASON})
def new_machine_stops(call: Call, fault: Fault, instance: Instance) -> bool:
    """New machines stop by themselves soon after the rental."""
    call.truth.later(call.now + fault["delay"], lambda _now: _halt(call.truth, instance, fault["reason"]))
    return True


@fault("created", operations=CREATE, parameters={"delay": Parameter(10.0, "seconds")})
def new_machine_vanishes(call: Call, fault: Fault, instance: Instance) -> bool:
    """New machines are gone soon after the rental."""

    def act(_now: float) -> None:
        call.truth.destroy(instance, fault.spec.name)

    call.truth.later(call.now + fault["delay"], act)
    return True


@fault(
    "created", providers=DOCK, operations=CREATE, parameters={"delay": Parameter(600.0, "seconds until there is one")}
)
def new_machine_without_address(call: Call, fault: Fault, instance: Instance) -> bool:
    """New machines say running and have no address for a long time."""
    if not isinstance(instance, DockInstance):
        return False
    instance.address_at = call.now + fault["delay"]
    return True


# --- starting again -----------------------------------------------------------------------------------------


@fault(
    "before",
    providers=VAST,
    operations=("update",),
    parameters={"delay": Parameter(60.0, "seconds until it runs and bills")},
)
def start_queued(call: Call, fault: Fault) -> Answer | None:
    """A stopped machine's GPU is taken: the start is queued, refused in words, and bills when it comes true."""
    instance = call.truth.find(call.provider, call.instance_id or "")
    body = call.request.body
    if instance is None or b"running" not in body or instance.at(call.now).wanted != "stopped":
        return None
    runs = Moment(call.now + fault["delay"], Phase.RUNNING)
    instance.turn(Moment(call.now, Phase.QUEUED), runs)
    text = "Required resources are currently unavailable, state change queued."
    return json_answer(200, {"success": False, "error": "resources_unavailable", "msg": text})


@fault("before", providers=DOCK, operations=("start",))
def start_refused(call: Call, _fault: Fault) -> Answer | None:
    """A stopped machine's GPU is gone for good."""
    status = 500 if call.dialect == "v0" else 400
    return json_answer(status, {"success": False, "error": "GPU is no longer available on this hostnode"})

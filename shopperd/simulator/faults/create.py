"""What goes wrong when a machine is rented: lost answers, refusals that rented, rentals without an id, two for one."""

from __future__ import annotations

from attrs import evolve

from shopperd.simulator.call import Call, Fault, Parameter
from shopperd.simulator.exchange import Answer, json_answer
from shopperd.simulator.faults.editing import TAG_KEY, body_answer, edited, refused
from shopperd.simulator.faults.registry import DOCK, VAST, fault
from shopperd.simulator.instances import DockInstance, Instance, Moment, Phase, VastInstance

CREATE = ("create",)
_BODY = Parameter("html", "html, json, text or empty")


# --- the machine is there, the answer is not ----------------------------------------------------------------


@fault("after", operations=CREATE)
def create_answer_lost(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The machine is rented, then the connection drops without an answer."""
    return evolve(answer, drop="after") if call.created else None


@fault("after", operations=CREATE, parameters={"status": Parameter(504, "HTTP status"), "body": _BODY})
def create_gateway_timeout(call: Call, fault: Fault, _answer: Answer) -> Answer | None:
    """The machine is rented, and a proxy answers 504 in the marketplace's place."""
    return body_answer(fault["status"], fault["body"], "Gateway Time-out") if call.created else None


@fault("after", operations=CREATE, parameters={"delay": Parameter(60.0, "seconds until the answer")})
def create_slow(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """The machine is rented at once, the answer comes so late that a client may have given up."""
    return evolve(answer, delay_seconds=fault["delay"]) if call.created else None


@fault("after", operations=CREATE)
def create_without_id(call: Call, _fault: Fault, _answer: Answer) -> Answer | None:
    """The machine is rented and the answer says so, but holds no id."""
    if not call.created:
        return None
    if call.dialect == "v2":
        data = {"type": "virtualmachine", "id": "", "name": call.created[0].tag, "status": "creating"}
        return json_answer(200, {"data": data})
    return json_answer(200, {"success": True})


@fault("after", operations=CREATE)
def create_empty_answer(call: Call, _fault: Fault, _answer: Answer) -> Answer | None:
    """The machine is rented, the answer is 200 with an empty body."""
    return Answer(200) if call.created else None


@fault("after", operations=CREATE)
def create_unreadable_answer(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The machine is rented, the answer is 200 with half of its JSON."""
    return evolve(answer, body=answer.body[: len(answer.body) // 2]) if call.created else None


@fault("after", operations=CREATE)
def create_rate_limited_after_effect(call: Call, _fault: Fault, _answer: Answer) -> Answer | None:
    """The machine is rented, the answer is 429."""
    return refused(call, 429, "rate_limit_exceeded", "API requests too frequent") if call.created else None


@fault("created", operations=CREATE, parameters={"delay": Parameter(30.0, "seconds until the machine exists")})
def create_takes_effect_late(call: Call, fault: Fault, instance: Instance) -> bool:
    """The answer is 504 and no machine is there; some time later it is."""
    shift = fault["delay"]
    instance.timeline = [evolve(moment, at=moment.at + shift) for moment in instance.timeline]
    instance.created_at = call.now + shift
    return True


@fault("after", name="create_takes_effect_late")
def _late_answer(call: Call, _fault: Fault, _answer: Answer) -> Answer | None:
    return body_answer(504, "html", "Gateway Time-out") if call.created else None


# --- refusals that rented -----------------------------------------------------------------------------------


@fault("after", providers=VAST, operations=CREATE)
def create_error_with_contract(call: Call, _fault: Fault, _answer: Answer) -> Answer | None:
    """The answer is an error (bid too low) that carries the id of a machine, which is there, stopped."""
    if not call.created:
        return None
    instance = call.created[0]
    instance.turn(Moment(call.now, Phase.STOPPED, "stopped", ""))
    contract = int(instance.id)
    text = "Bid price is too low; the instance was created stopped."
    return json_answer(400, {"success": False, "error": "bid_too_low", "msg": text, "new_contract": contract})


@fault("after", providers=VAST, operations=CREATE)
def create_success_false_with_id(call: Call, _fault: Fault, _answer: Answer) -> Answer | None:
    """The machine runs, yet the answer is 200 with `success: false`, and the id."""
    if not call.created:
        return None
    return json_answer(200, {"success": False, "new_contract": int(call.created[0].id)})


@fault("before", operations=CREATE, parameters={"effect": Parameter(default=False, doc="rent a machine all the same")})
def create_empty_400(_call: Call, fault: Fault) -> Answer | None:
    """The answer is 400 with an empty body, and by default nothing was rented."""
    return None if fault["effect"] else Answer(400)


@fault("after", name="create_empty_400")
def _empty_400_after(call: Call, fault: Fault, _answer: Answer) -> Answer | None:
    return Answer(400) if fault["effect"] and call.created else None


# --- nothing was rented -------------------------------------------------------------------------------------


@fault("before", operations=CREATE)
def create_dropped(_call: Call, _fault: Fault) -> Answer | None:
    """The connection drops and nothing was rented."""
    return Answer(500, drop="before")


@fault("before", operations=CREATE, parameters={"status": Parameter(502, "HTTP status"), "body": _BODY})
def create_fails(_call: Call, fault: Fault) -> Answer | None:
    """A server error, and nothing was rented."""
    return body_answer(fault["status"], fault["body"], "Bad Gateway")


@fault("before", providers=VAST, operations=CREATE)
def create_success_false(_call: Call, _fault: Fault) -> Answer | None:
    """The answer is 200 with `success: false` and no id; nothing was rented."""
    return json_answer(200, {"success": False, "msg": "Instance could not be created."})


@fault("before", operations=CREATE, parameters={"status": Parameter(400, "Vast.ai only: 400, 404 or 410")})
def create_no_offer(call: Call, fault: Fault) -> Answer | None:
    """What was listed is gone: the stock was stale."""
    if call.dialect != "vastai":
        return refused(call, 400, "", "No available nodes found")
    offer = call.params.get("offer", "0")
    if fault["status"] == 410:
        error, text = "no_such_ask", f"error 410/3907: no_such_ask Instance type {offer} is no longer available."
    else:
        blank = "  " if fault["status"] == 400 else " "
        error = "invalid_args"
        text = f"error 404/3603: no_such_ask{blank}Instance type by id {offer} is not available."
    return json_answer(fault["status"], {"success": False, "error": error, "msg": text, "ask_id": int(offer)})


@fault("before", operations=CREATE)
def create_no_credit(call: Call, _fault: Fault) -> Answer | None:
    """There is not enough money in the account."""
    if call.dialect == "vastai":
        text = "Your account lacks credit; see the billing page."
        return json_answer(400, {"error": "insufficient_credit", "msg": text})
    return refused(call, 400, "", "You need at least $1.00 in your account to deploy")


@fault("before", providers=VAST, operations=CREATE)
def create_spend_limit(_call: Call, _fault: Fault) -> Answer | None:
    """A new account may not spend that fast yet."""
    text = "Your account has reached its spend rate limit."
    return json_answer(400, {"success": False, "error": "spend_rate_limit", "msg": text})


@fault("before", providers=VAST, operations=CREATE)
def create_label_rejected(_call: Call, _fault: Fault) -> Answer | None:
    """The label is refused as too long."""
    return json_answer(400, {"success": False, "error": "label_too_long", "msg": "Label is too long"})


@fault("before", providers=VAST, operations=CREATE)
def create_not_own_offer(call: Call, _fault: Fault) -> Answer | None:
    """The offer is only for its own host."""
    offer = call.params.get("offer", "0")
    text = f"error 403/3586: Offer {offer} is not your own. Hosts can only rent their own machines."
    return json_answer(403, {"success": False, "error": "invalid_args", "msg": text, "ask_id": int(offer)})


@fault("before", providers=DOCK, operations=CREATE)
def create_no_public_ip(call: Call, _fault: Fault) -> Answer | None:
    """The node has no public address left."""
    return refused(call, 400, "", "No available public IPs on hostnode")


@fault("before", providers=DOCK, operations=CREATE)
def create_unexpected_error(call: Call, _fault: Fault) -> Answer | None:
    """The deployment fails for no reason given."""
    return refused(call, 400, "", "An unexpected error during deployment")


@fault("before", providers=DOCK, operations=CREATE)
def create_hostnode_unavailable(call: Call, _fault: Fault) -> Answer | None:
    """The node is not to be had."""
    return refused(call, 400, "", "Hostnode unavailable")


@fault("before", providers=DOCK, operations=CREATE)
def create_server_page_500(_call: Call, _fault: Fault) -> Answer | None:
    """The v0 deploy's failure of 2026: an HTML page with the cause in its title."""
    return body_answer(500, "html", "port is not available")


# --- rented, but not as asked -------------------------------------------------------------------------------


@fault("created", operations=CREATE)
def create_twice(call: Call, _fault: Fault, instance: Instance) -> bool:
    """One request rents two machines with the same tag; the answer names the first."""
    truth = call.truth
    twin: Instance
    if isinstance(instance, VastInstance):
        free = next((offer for offer in truth.vast.free() if offer.num_gpus == instance.gpu_count), None)
        if free is None:
            return False
        twin = truth.rent_vast(free, tag=instance.tag, disk_gb=instance.disk_gb, image=instance.image)
    elif isinstance(instance, DockInstance):
        twin = truth.rent_dock(
            instance.node, instance.resources, tag=instance.tag or "", internal_ports=[22], reserve=False
        )
    else:
        return False
    call.effects.append(f"created:{twin.id}")
    return True


@fault("created", operations=CREATE)
def create_tag_missing(_call: Call, _fault: Fault, instance: Instance) -> bool:
    """The machine is made without its tag."""
    instance.tag = None if instance.provider == "vastai" else ""
    return True


@fault("created", operations=CREATE, parameters={"length": Parameter(20, "characters that are kept")})
def create_tag_truncated(_call: Call, fault: Fault, instance: Instance) -> bool:
    """The machine is made with only the beginning of its tag."""
    if instance.tag is None or len(instance.tag) <= fault["length"]:
        return False
    instance.tag = instance.tag[: fault["length"]]
    return True


@fault("created", operations=CREATE)
def create_tag_altered(_call: Call, _fault: Fault, instance: Instance) -> bool:
    """The machine is made with its tag in capitals."""
    if not instance.tag:
        return False
    instance.tag = instance.tag.upper()
    return True


@fault("created", providers=DOCK, operations=CREATE)
def create_ports_dropped(_call: Call, _fault: Fault, instance: Instance) -> bool:
    """The port forwards are accepted and ignored, so nobody can log in."""
    if not isinstance(instance, DockInstance) or not instance.ports:
        return False
    instance.ports = []
    return True


@fault("after", operations=CREATE)
def create_id_as_text(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """Vast.ai's id comes as text, TensorDock's with blanks around it."""
    if not call.created:
        return None

    def change(content: dict[str, object]) -> dict[str, object]:
        if call.dialect == "vastai":
            return content | {"new_contract": str(content["new_contract"])}
        if call.dialect == "v0":
            return content | {"server": f" {content['server']} "}
        return {"data": {**content["data"], "id": f" {call.created[0].id}\n"}}  # type: ignore[dict-item]  # decoded JSON

    return edited(answer, change)


@fault("after", providers=DOCK, operations=CREATE)
def create_unwrapped(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The v2 answer comes without `data`, and says queued."""
    if not call.created or call.dialect != "v2":
        return None
    return edited(answer, lambda content: content["data"] | {"status": "queued"})


@fault("after", operations=CREATE)
def create_of_another_tag(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The answer holds the id of some other machine of the account."""
    others = [row for row in call.truth.existing(call.provider) if row not in call.created]
    if not call.created or not others:
        return None
    other = others[0]

    def change(content: dict[str, object]) -> dict[str, object]:
        if call.dialect == "vastai":
            return content | {"new_contract": int(other.id)}
        if call.dialect == "v0":
            return content | {"server": other.id}
        return {"data": {"type": "virtualmachine", "id": other.id, TAG_KEY["v2"]: other.tag, "status": "running"}}

    return edited(answer, change)

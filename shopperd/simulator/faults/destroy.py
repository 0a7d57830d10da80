"""What goes wrong when a machine is destroyed: nothing happens, it happens late, it happens and nobody says so."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from shopperd.simulator.call import Call, Fault, Parameter
from shopperd.simulator.exchange import Answer, json_answer, text_answer
from shopperd.simulator.faults.editing import HTML, body_answer, destroyed_answer, refused
from shopperd.simulator.faults.registry import VAST, fault
from shopperd.simulator.instances import Instance, VastInstance
from shopperd.simulator.truth import Truth

DESTROY = ("destroy",)
_BODY = Parameter("json", "html, json, text or empty")


def _target(call: Call) -> Instance | None:
    return call.truth.find(call.provider, call.instance_id or "")


def _ending(truth: Truth, instance: Instance, ended_by: str) -> Callable[[float], None]:
    return lambda _now: truth.destroy(instance, ended_by)


@fault("before", operations=DESTROY)
def destroy_ignored(call: Call, _fault: Fault) -> Answer | None:
    """The answer says done; nothing happens."""
    return destroyed_answer(call) if _target(call) else None


@fault("before", operations=DESTROY)
def destroy_refused(call: Call, _fault: Fault) -> Answer | None:
    """The answer is HTTP 200 with an error inside; nothing happens."""
    if _target(call) is None:
        return None
    if call.dialect == "v2":
        return json_answer(200, {"status": 400, "error": "Instance could not be deleted"})
    return json_answer(200, {"success": False, "error": "busy", "msg": "Instance could not be destroyed"})


@fault("before", operations=DESTROY, parameters={"status": Parameter(500, "HTTP status"), "body": _BODY})
def destroy_fails(call: Call, fault: Fault) -> Answer | None:
    """A server error; nothing happens."""
    return body_answer(fault["status"], fault["body"]) if _target(call) else None


@fault(
    "before",
    operations=DESTROY,
    parameters={
        "status": Parameter(500, "HTTP status"),
        "body": _BODY,
        "delay": Parameter(0.0, "seconds until it happens"),
    },
)
def destroy_error_then_effect(call: Call, fault: Fault) -> Answer | None:
    """A server error, yet the machine is destroyed."""
    instance = _target(call)
    if instance is None:
        return None
    if fault["delay"] > 0:
        call.truth.later(call.now + fault["delay"], _ending(call.truth, instance, "request"))
    else:
        call.did_destroy(instance)
    return body_answer(fault["status"], fault["body"])


@fault("before", operations=DESTROY, parameters={"delay": Parameter(30.0, "seconds until it happens")})
def destroy_takes_effect_late(call: Call, fault: Fault) -> Answer | None:
    """The answer says done; it happens some time later."""
    instance = _target(call)
    if instance is None:
        return None
    call.truth.later(call.now + fault["delay"], _ending(call.truth, instance, "request"))
    return destroyed_answer(call)


@fault("before", operations=DESTROY, parameters={"delay": Parameter(30.0, "seconds until it happens")})
def destroy_accepted_202(call: Call, fault: Fault) -> Answer | None:
    """The answer is 202, accepted; it happens some time later."""
    instance = _target(call)
    if instance is None:
        return None
    call.truth.later(call.now + fault["delay"], _ending(call.truth, instance, "request"))
    return evolve(destroyed_answer(call), status=202)


@fault("after", operations=DESTROY)
def destroy_answer_lost(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The machine is destroyed, then the connection drops without an answer."""
    return evolve(answer, drop="after") if call.ended else None


@fault("before", operations=DESTROY)
def destroy_dropped(call: Call, _fault: Fault) -> Answer | None:
    """The connection drops; nothing happens."""
    return Answer(500, drop="before") if _target(call) else None


@fault("before", operations=DESTROY)
def destroy_auth_error_404(call: Call, _fault: Fault) -> Answer | None:
    """The key is refused, with HTTP 404; nothing happens."""
    return refused(call, 404, "auth_error", "Invalid user key")


@fault("before", operations=DESTROY)
def destroy_html_404(_call: Call, _fault: Fault) -> Answer | None:
    """A proxy answers 404 with a page; nothing happens."""
    return text_answer(404, HTML.format("404 Not Found"), "text/html")


@fault("before", operations=DESTROY)
def destroy_says_not_found(call: Call, _fault: Fault) -> Answer | None:
    """The answer says that there is no such machine, in the marketplace's own words, yet there is."""
    if _target(call) is None:
        return None
    text = {"vastai": "Instance not found", "v2": "Instance not found", "v0": "Machine is already terminated"}
    return refused(call, 500 if call.dialect == "v0" else 404, "no_such_instance", text[call.dialect])


@fault("before", operations=DESTROY, parameters={"retry_after": Parameter(120, "seconds that it names")})
def destroy_minimum_period(call: Call, fault: Fault) -> Answer | None:
    """The machine cannot go before its minimum rental period is over."""
    if _target(call) is None:
        return None
    text = f"Minimum rental period: retry in {fault['retry_after']} seconds"
    answer = refused(call, 409, "minimum_rental_period", text)
    return evolve(answer, headers={**answer.headers, "Retry-After": str(fault["retry_after"])})


@fault("after", operations=DESTROY, parameters={"linger": Parameter(60.0, "seconds that it is still shown")})
def destroy_lingers(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """The machine is destroyed and still shown for a while."""
    for instance in call.ended:
        instance.listed_until = call.now + fault["linger"]
    return answer if call.ended else None


@fault("after", operations=DESTROY)
def destroy_removes_another(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The machine is destroyed, and another one with it."""
    if not call.ended:
        return None
    others = call.truth.existing(call.provider)
    if not others:
        return None
    call.truth.destroy(others[0], "destroy_removes_another")
    return answer


@fault("after", operations=DESTROY)
def destroy_bill_continues(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The machine is gone from every listing and goes on being charged."""
    for instance in call.ended:
        instance.bills_after_end = True
    return answer if call.ended else None


@fault("after", operations=DESTROY, parameters={"delay": Parameter(60.0, "seconds until it is back")})
def destroy_undone(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """The machine is gone, and some time later it is back with the same id."""
    truth = call.truth
    for instance in call.ended:
        truth.later(call.now + fault["delay"], lambda _now, back=instance: truth.revive(back))  # type: ignore[misc]  # binds the loop's machine
    return answer if call.ended else None


@fault(
    "after",
    providers=VAST,
    operations=DESTROY,
    parameters={
        "delay": Parameter(60.0, "seconds until the id is somebody else's"),
        "tag": Parameter("training-run-7", "the new machine's tag"),
    },
)
def destroy_id_reused(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """The machine is gone, and some time later its id belongs to another machine of the account."""
    if not call.ended:
        return None
    truth, freed = call.truth, call.ended[0]

    def reuse(_now: float) -> None:
        offer = truth.rng.choice([*truth.vast.offers.values()])
        other: VastInstance = truth.rent_vast(offer, tag=fault["tag"], reserve=False)
        del truth.live["vastai"][other.id]
        other.id = freed.id
        truth.live["vastai"][other.id] = other

    truth.later(call.now + fault["delay"], reuse)
    return answer

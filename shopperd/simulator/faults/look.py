"""What goes wrong when one machine is looked at."""

from __future__ import annotations

from typing import Any

from shopperd.simulator.call import Call, Fault, Parameter, Row
from shopperd.simulator.exchange import Answer, json_answer, text_answer
from shopperd.simulator.faults.editing import HTML, edited, refused
from shopperd.simulator.faults.registry import DOCK, VAST, fault
from shopperd.simulator.instances import Instance

SHOW = ("show",)


@fault("seen", operations=SHOW, parameters={"lag": Parameter(10.0, "seconds from the rental")})
def show_lag(call: Call, fault: Fault, instances: list[Instance]) -> list[Instance] | None:
    """A machine just rented is not found yet (Vast.ai: null)."""
    old = [instance for instance in instances if call.now - instance.created_at >= fault["lag"]]
    return old if len(old) < len(instances) else None


@fault("seen", operations=SHOW)
def show_nothing(_call: Call, _fault: Fault, instances: list[Instance]) -> list[Instance] | None:
    """The machine exists and is not found: Vast.ai's null, TensorDock's 404."""
    return [] if instances else None


@fault("before", operations=SHOW)
def show_not_found(call: Call, _fault: Fault) -> Answer | None:
    """The answer says that there is no such machine, with HTTP 404, whether there is or not."""
    return refused(call, 404, "no_such_instance", "Instance not found")


@fault("before", operations=SHOW)
def show_html_404(_call: Call, _fault: Fault) -> Answer | None:
    """A proxy answers 404 with a page."""
    return text_answer(404, HTML.format("404 Not Found"), "text/html")


@fault("before", operations=SHOW)
def show_empty_404(_call: Call, _fault: Fault) -> Answer | None:
    """The answer is 404 with an empty body."""
    return Answer(404)


@fault("before", operations=SHOW)
def show_auth_error_404(call: Call, _fault: Fault) -> Answer | None:
    """The key is refused, with HTTP 404."""
    return refused(call, 404, "auth_error", "Invalid user key")


@fault("seen", operations=SHOW)
def show_another_machine(call: Call, _fault: Fault, _instances: list[Instance]) -> list[Instance] | None:
    """The answer is about another machine of the account."""
    others = [row for row in call.truth.existing(call.provider) if row.id != call.instance_id]
    return others[:1] or None


@fault("after", operations=SHOW)
def show_wrapped(_call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The machine comes inside of `data`, as some of TensorDock's documentation has it."""
    return edited(answer, lambda content: {"data": content})


@fault("after", providers=VAST, operations=SHOW)
def show_as_list(_call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The machine comes as a list with one row."""
    return edited(answer, lambda content: {"instances": [content["instances"]]} if content.get("instances") else None)


@fault(
    "row", providers=DOCK, operations=("show", "list"), parameters={"value": Parameter(None, "null, or an empty text")}
)
def address_missing(_call: Call, fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """The machine runs and its address is null or empty."""
    key = "ipAddress" if "ipAddress" in row else "ip_address"
    return row | {key: fault["value"]}


@fault("before", providers=DOCK, operations=SHOW)
def show_error_in_200(_call: Call, _fault: Fault) -> Answer | None:
    """An error arrives with HTTP 200 and an integer status."""
    return json_answer(200, {"error": "Failed to fetch instance", "status": 500})


@fault("row", operations=SHOW, parameters={"word": Parameter("hibernating", "what it says")})
def show_status_unknown(call: Call, fault: Fault, _instance: Instance, row: Row) -> Row | None:
    """The status is a word that nobody has heard of."""
    key = "actual_status" if call.dialect == "vastai" else "status"
    changed: dict[str, Any] = {key: fault["word"]}
    return row | changed

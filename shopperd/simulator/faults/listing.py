"""How a listing lies about which machines there are, or breaks off."""

from __future__ import annotations

import copy
from typing import Any

from attrs import evolve

from shopperd.simulator.call import Call, Fault, Parameter, Row
from shopperd.simulator.exchange import Answer, json_answer
from shopperd.simulator.faults.editing import LIST_KEY, body_answer, draw, edited, rows_of
from shopperd.simulator.faults.registry import DOCK, VAST, fault
from shopperd.simulator.instances import STATE_OF_PHASE, Instance
from shopperd.simulator.vastai_answers import V0_LIST_PATH, deprecated_list

LIST = ("list",)


def _is_first_page(call: Call) -> bool:
    return not call.request.param("after_token")


# --- which machines -----------------------------------------------------------------------------------------


@fault("seen", operations=LIST)
def list_empty(_call: Call, _fault: Fault, instances: list[Instance]) -> list[Instance] | None:
    """A good, complete listing without any machine, while machines run."""
    return [] if instances else None


@fault("seen", operations=LIST, parameters={"share": Parameter(0.5, "how many are left out, 0 to 1")})
def list_partial(_call: Call, fault: Fault, instances: list[Instance]) -> list[Instance] | None:
    """A good listing that leaves out some machines, always the same ones; its totals agree."""
    kept = [instance for instance in instances if draw(fault.id, instance.id) >= fault["share"]]
    return kept if len(kept) < len(instances) else None


@fault("seen", operations=LIST)
def list_flickers(call: Call, fault: Fault, instances: list[Instance]) -> list[Instance] | None:
    """Every second listing leaves all machines out."""
    if _is_first_page(call):
        fault.memory["turn"] = not fault.memory.get("turn", False)
    return [] if fault.memory.get("turn") and instances else None


@fault(
    "seen",
    operations=LIST,
    parameters={
        "lag": Parameter(10.0, "seconds from the rental"),
        "polls": Parameter(0, "also hidden in that many listings"),
    },
)
def list_lag(call: Call, fault: Fault, instances: list[Instance]) -> list[Instance] | None:
    """A machine just rented is not listed yet."""
    polls: dict[str, int] = fault.memory.setdefault("polls", {})
    kept: list[Instance] = []
    for instance in instances:
        seen = polls.get(instance.id, 0)
        young = instance.created_at >= fault.since - fault["lag"]
        if call.now - instance.created_at < fault["lag"] or (young and seen < fault["polls"]):
            polls[instance.id] = seen + _is_first_page(call)
        else:
            kept.append(instance)
    return kept if len(kept) < len(instances) else None


@fault("seen", operations=LIST, parameters={"linger": Parameter(60.0, "seconds after its end")})
def list_shows_destroyed(call: Call, fault: Fault, instances: list[Instance]) -> list[Instance] | None:
    """Machines that are gone are still listed for a while."""
    ended = [
        instance
        for instance in call.truth.everything()
        if instance.provider == call.provider
        and instance.destroyed_at is not None
        and call.now - instance.destroyed_at < fault["linger"]
        and instance not in instances
    ]
    return sorted([*instances, *ended], key=lambda row: row.created_at) if ended else None


@fault("seen", operations=LIST)
def list_hides_stopped(call: Call, _fault: Fault, instances: list[Instance]) -> list[Instance] | None:
    """A default filter leaves out machines that are stopped."""
    kept = [row for row in instances if STATE_OF_PHASE[row.at(call.now).phase] != "stopped"]
    return kept if len(kept) < len(instances) else None


@fault("seen", operations=LIST)
def list_of_another_account(call: Call, _fault: Fault, instances: list[Instance]) -> list[Instance] | None:
    """The listing is another account's: nothing of ours, some machines of theirs."""
    strangers = []
    for number, instance in enumerate(instances[:3]):
        stranger = copy.copy(instance)
        stranger.id = str(900_000_001 + number) if call.provider == "vastai" else f"{number:08d}{instance.id[8:]}"
        stranger.tag = f"someone-else-{number}"
        strangers.append(stranger)
    return strangers or None


@fault("after", operations=LIST, parameters={"age": Parameter(3600, "the Age header, seconds")})
def list_cached(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """A cache answers: what was listed first is listed from then on."""
    pages: dict[str, bytes] = fault.memory.setdefault("pages", {})
    place = f"{call.request.path}?{call.request.query}"
    if answer.status != 200:
        return None
    if place not in pages:
        pages[place] = answer.body
        return None
    return evolve(answer, headers={**answer.headers, "Age": str(fault["age"])}, body=pages[place])


@fault("after", operations=LIST)
def list_one_behind(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """Answers arrive swapped: each listing is the one before it."""
    pages: dict[str, bytes] = fault.memory.setdefault("pages", {})
    place = f"{call.request.path}?{call.request.query}"
    if answer.status != 200:
        return None
    before, pages[place] = pages.get(place), answer.body
    return None if before is None else evolve(answer, body=before)


# --- paging (Vast.ai) ---------------------------------------------------------------------------------------


@fault("after", providers=VAST, operations=LIST)
def list_ends_early(_call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """There is no next token although there are more machines; the total tells."""
    return edited(answer, lambda page: page | {"next_token": None} if page.get("next_token") else None)


@fault("after", providers=VAST, operations=LIST)
def list_ends_early_silently(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """There is no next token although there are more machines, and the total agrees with the lie."""

    def change(page: dict[str, Any]) -> dict[str, Any] | None:
        if not page.get("next_token") or not _is_first_page(call):
            return None
        return page | {"next_token": None, "total_instances": page["instances_found"]}

    return edited(answer, change)


@fault("after", providers=VAST, operations=LIST, parameters={"rows": Parameter(1, "how many")})
def list_rows_missing(_call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """A page lacks its last rows; the total still counts them."""

    def change(page: dict[str, Any]) -> dict[str, Any] | None:
        rows = page.get("instances")
        return page | {"instances": rows[: -fault["rows"]]} if rows else None

    return edited(answer, change)


@fault("before", providers=VAST, operations=LIST, parameters={"status": Parameter(503, "HTTP status")})
def list_page_fails(call: Call, fault: Fault) -> Answer | None:
    """The first page is good, the following ones are a server error."""
    return None if _is_first_page(call) else body_answer(fault["status"], "html", "Service Unavailable")


@fault("after", providers=VAST, operations=LIST)
def list_cursor_repeats(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """A page names itself as the next one, for ever."""
    token = call.request.param("after_token")
    return edited(answer, lambda page: page | {"next_token": token} if token else None)


@fault("after", providers=VAST, operations=LIST)
def list_never_ends(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """Every page names a new next one, and all of them hold the first rows."""
    first = fault.memory.setdefault("page", answer.body) if _is_first_page(call) else fault.memory.get("page")
    fault.memory["number"] = fault.memory.get("number", 0) + 1
    if first is None:
        return None
    again = evolve(answer, status=200, body=first)
    return edited(again, lambda page: page | {"next_token": f"page-{fault.memory['number']}"})


@fault("after", providers=VAST, operations=LIST, parameters={"by": Parameter(1, "how much too high")})
def list_count_wrong(_call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """The total does not agree with the rows."""

    def change(page: dict[str, Any]) -> dict[str, Any] | None:
        return page | {"total_instances": page["total_instances"] + fault["by"]} if "instances" in page else None

    return edited(answer, change)


@fault("after", operations=LIST)
def list_duplicate_row(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """A row stands on two pages, or twice on one, with another status the second time."""

    def change(page: dict[str, Any]) -> dict[str, Any] | None:
        rows = rows_of(page, call.dialect)
        if not rows or call.dialect == "v0":
            return None
        again = fault.memory.get("row") if not _is_first_page(call) else rows[0]
        fault.memory["row"] = rows[-1]
        return None if again is None else page | {LIST_KEY[call.dialect]: [*rows, again]}

    return edited(answer, change)


# --- shapes -------------------------------------------------------------------------------------------------


def _with_list(call: Call, answer: Answer, value: Any) -> Answer | None:
    key = LIST_KEY[call.dialect]
    return edited(answer, lambda page: page | {key: value} if key in page else None)


@fault("after", operations=LIST)
def list_without_key(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The listing lacks the member that holds the machines."""
    key = LIST_KEY[call.dialect]
    return edited(answer, lambda page: {name: page[name] for name in page if name != key} if key in page else None)


@fault("after", operations=LIST)
def list_null(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """Null stands where the machines should."""
    return _with_list(call, answer, None)


@fault("after", operations=LIST)
def list_text(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """An empty text stands where the machines should."""
    return _with_list(call, answer, "")


@fault("after", operations=LIST)
def list_object(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """One machine, or an empty object, stands where the list should."""

    def change(page: dict[str, Any]) -> dict[str, Any] | None:
        rows = rows_of(page, call.dialect)
        return None if rows is None else page | {LIST_KEY[call.dialect]: rows[0] if rows else {}}

    return edited(answer, change)


@fault("after", operations=LIST)
def list_bare(call: Call, _fault: Fault, answer: Answer) -> Answer | None:
    """The rows come as a bare array, without anything around them."""
    return edited(answer, lambda page: rows_of(page, call.dialect))


@fault("before", operations=LIST)
def list_success_false(call: Call, _fault: Fault) -> Answer | None:
    """An error arrives with HTTP 200 beside an empty list."""
    key = LIST_KEY[call.dialect]
    return json_answer(200, {"success": False, "error": "internal", "msg": "try again", "status": 500, key: []})


@fault("after", providers=DOCK, operations=LIST, parameters={"shape": Parameter(2, "2 or 3 as documented, 4 unknown")})
def list_shape(call: Call, fault: Fault, answer: Answer) -> Answer | None:
    """The v2 listing comes in another of its documented shapes, or in one that nobody knows."""

    def change(page: dict[str, Any]) -> dict[str, Any] | None:
        rows = page.get("data")
        if call.dialect != "v2" or not isinstance(rows, list):
            return None

        def nested(kind: str) -> list[Row]:
            return [
                {"type": kind, "id": row["id"], "attributes": {"name": row["name"], "status": row["status"]}}
                for row in rows
            ]

        match fault["shape"]:
            case 2:
                return {"data": {"instances": nested("VM")}}
            case 3:
                attributes = {"instances": nested("instance")}
                return {"data": {"type": "list", "id": "instances", "attributes": attributes}}
            case _:
                return {"data": {"virtual_machines": {row["id"]: row for row in rows}}}

    return edited(answer, change)


# --- retired ------------------------------------------------------------------------------------------------


@fault("before", operations=LIST, parameters={"mode": Parameter("410", "410, 200-deprecated or 200-empty")})
def list_retired(call: Call, fault: Fault) -> Answer | None:
    """The listing in use is retired, in one of the three ways that are on record."""
    if call.dialect == "vastai":
        return deprecated_list(fault["mode"])
    if fault["mode"] == "200-empty":
        return json_answer(200, {LIST_KEY[call.dialect]: [] if call.dialect == "v2" else {}})
    status = 410 if fault["mode"] == "410" else 200
    return json_answer(status, {"error": "deprecated_endpoint", "status": 410})


@fault(
    "before",
    providers=VAST,
    operations=LIST,
    parameters={"mode": Parameter("200-empty", "410, 200-deprecated or 200-empty")},
)
def v0_list(call: Call, fault: Fault) -> Answer | None:
    """Vast.ai's dead v0 list answers in another of its ways."""
    return deprecated_list(fault["mode"]) if call.request.path == V0_LIST_PATH else None

"""Taking answers apart and putting them together again, over all dialects, for faults that change what is said."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

from attrs import evolve

from shopperd.simulator.call import Call, Row
from shopperd.simulator.exchange import Answer, json_answer, text_answer

LIST_KEY = {"vastai": "instances", "v2": "data", "v0": "virtualmachines"}
"""Where each dialect's listing holds its rows."""
TAG_KEY = {"vastai": "label", "v2": "name", "v0": "name"}
PRICE_KEY = {"vastai": "dph_total", "v2": "rateHourly", "v0": "total_price"}
STATUS_KEY = {"vastai": "actual_status", "v2": "status", "v0": "status"}
HTML = "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


def edited(answer: Answer, change: Callable[[dict[str, Any]], Any]) -> Answer | None:
    """The answer with its JSON changed; None if it is no good answer with an object, or nothing came of it.

    `change` gets the decoded object and answers what comes in its place, or None.
    """
    if answer.status != 200 or answer.drop is not None:
        return None
    try:
        content = answer.json()
    except ValueError:
        return None
    changed = change(content) if isinstance(content, dict) else None
    return None if changed is None else evolve(answer, body=json.dumps(changed).encode())


def rows_of(content: Any, dialect: str) -> list[Row] | None:
    """The rows of a listing, whichever shape; None if it has none."""
    rows = content.get(LIST_KEY[dialect]) if isinstance(content, dict) else None
    if isinstance(rows, dict):
        return list(rows.values())
    return rows if isinstance(rows, list) else None


def body_answer(status: int, body: str, text: str = "Internal Server Error") -> Answer:
    """An error answer of the kind `json`, `html`, `text` or `empty`."""
    match body:
        case "json":
            return json_answer(status, {"success": False, "error": "server_error", "msg": text})
        case "html":
            return text_answer(status, HTML.format(f"{status} {text}"), "text/html; charset=utf-8")
        case "text":
            return text_answer(status, text)
        case _:
            return Answer(status)


def refused(call: Call, status: int, error: str, text: str) -> Answer:
    """A refusal in the words of the call's dialect; TensorDock v2 refuses creates with HTTP 200."""
    if call.dialect == "vastai":
        return json_answer(status, {"success": False, "error": error, "msg": text})
    if call.dialect == "v2":
        if call.operation == "create":
            return json_answer(200, {"status": status, "error": text})
        return json_answer(status, {"error": text})
    return json_answer(status, {"success": False, "error": text})


def destroyed_answer(call: Call) -> Answer:
    """What a destroy that worked is answered with."""
    if call.dialect == "v2":
        message = "Instance deleted successfully"
        return json_answer(200, {"data": {"type": "success", "attributes": {"message": message}}})
    return json_answer(200, {"success": True})


def draw(fault_id: str, key: str) -> float:
    """A number from 0 to 1 that is always the same for this fault and key."""
    return zlib.crc32(f"{fault_id}/{key}".encode()) / 2**32

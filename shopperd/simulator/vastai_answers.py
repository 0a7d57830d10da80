"""What Vast.ai says when it refuses, in its own shapes and words."""

from __future__ import annotations

from typing import Any

from shopperd.simulator.exchange import Answer, json_answer

V0_LIST_PATH = "/api/v0/instances/"
_V0_DEPRECATED = "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."


def refusal(status: int, error: str, msg: str, **more: Any) -> Answer:
    """An error in the provider's usual shape."""
    return json_answer(status, {"success": False, "error": error, "msg": msg, **more})


def no_such_ask(offer_id: Any) -> Answer:
    """An offer that is gone: HTTP 400, with two blanks in the text, as recorded."""
    msg = f"error 404/3603: no_such_ask  Instance type by id {offer_id} is not available."
    return refusal(400, "invalid_args", msg, ask_id=int(offer_id) if str(offer_id).isdecimal() else offer_id)


def insufficient_credit() -> Answer:
    """No money: HTTP 400 without `success`, as recorded."""
    msg = "Your account lacks credit; see the billing page."
    return json_answer(400, {"error": "insufficient_credit", "msg": msg})


def no_such_instance(instance_id: Any) -> Answer:
    """A machine that does not exist, for writes."""
    return refusal(404, "no_such_instance", f"Instance {instance_id} not found.")


def invalid_key(operation: str) -> Answer:
    """A bad key: 404 on searches and money, else 401; the body is the same."""
    status = 404 if operation in ("search", "charges") else 401
    return refusal(status, "auth_error", "Invalid user key")


def deprecated_list(mode: str) -> Answer:
    """The three answers on record for the retired list."""
    if mode == "200-empty":
        return json_answer(200, {"instances": []})
    return refusal(200 if mode == "200-deprecated" else 410, "deprecated_endpoint", _V0_DEPRECATED)


def too_frequent(operation: str, threshold: float, scale: float) -> Answer:
    """A 429 in the shape that is on record for the operation."""
    words = f"API requests too frequent endpoint threshold={threshold:g}"
    if operation == "create":
        text = (
            "The action could not be performed because there were too many requests by the client.\n\n"
            f"API requests too frequent: endpoint threshold={threshold / scale:g}*{scale:.1f}\n\n"
        )
        return json_answer(429, {"message": text, "code": "429 Too Many Requests"})
    if operation == "show":
        return json_answer(429, {"detail": words})
    return refusal(429, "rate_limit_exceeded", words)

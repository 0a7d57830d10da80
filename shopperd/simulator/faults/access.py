"""What goes wrong with limits and credentials: 429s in every recorded shape, quotas, keys that stop working."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from shopperd.simulator.call import WRITES, Call, Fault, Parameter
from shopperd.simulator.exchange import Answer, json_answer, text_answer
from shopperd.simulator.faults.editing import refused
from shopperd.simulator.faults.registry import VAST, fault
from shopperd.simulator.truth import Truth

_DAY = 86_400
_SHAPE = Parameter(3, "Vast.ai's body: 1 text, 2 detail, 3 success/error/msg, 4 message/code, 5 search quota")
_RETRY_AFTER = Parameter(None, "the Retry-After header: seconds, a date, anything; null: none")


def too_many(call: Call, fault: Fault, status: int = 429) -> Answer:
    """A 429 in the chosen shape; TensorDock has only its own."""
    words = f"API requests too frequent endpoint threshold={fault['threshold']:g}"
    content: Any
    match fault["shape"] if call.dialect == "vastai" else 0:
        case 0:
            answer = json_answer(status, {"error": "Rate limit exceeded. Please try again later."})
        case 1:
            answer = text_answer(status, f"API requests too frequent: endpoint threshold={fault['threshold']:g}")
        case 2:
            answer = json_answer(status, {"detail": words})
        case 4:
            text = (
                "The action could not be performed because there were too many requests by the client.\n\n"
                f"API requests too frequent: endpoint threshold={fault['threshold']:g}*1.0\n\n"
            )
            answer = json_answer(status, {"message": text, "code": "429 Too Many Requests"})
        case 5:
            return quota_exceeded(call)
        case _:
            content = {"success": False, "error": "rate_limit_exceeded", "msg": words}
            answer = json_answer(status, content)
    if fault["retry_after"] is None:
        return answer
    return evolve(answer, headers={**answer.headers, "Retry-After": str(fault["retry_after"])})


def quota_exceeded(call: Call) -> Answer:
    """Vast.ai's daily search quota; it is renewed at midnight UTC."""
    midnight = (int(call.now) // _DAY + 1) * _DAY
    content = {"success": False, "error": "search_quota_exceeded", "msg": "Daily search quota exceeded"}
    return json_answer(429, content, {"X-RateLimit-Reset": str(midnight)})


_LIMITED = {"shape": _SHAPE, "retry_after": _RETRY_AFTER, "threshold": Parameter(3.0, "seconds that the text names")}


@fault("before", parameters=_LIMITED)
def rate_limited(call: Call, fault: Fault) -> Answer | None:
    """The request came too early: 429, without effect."""
    return too_many(call, fault)


@fault("after", parameters=_LIMITED)
def rate_limited_after_effect(call: Call, fault: Fault, _answer: Answer) -> Answer | None:
    """The request had its effect, the answer is 429."""
    return too_many(call, fault)


@fault("before", parameters=_LIMITED)
def rate_limited_in_200(call: Call, fault: Fault) -> Answer | None:
    """The request came too early, which a body with HTTP 200 says."""
    return too_many(call, fault, 200)


@fault("before", parameters={"seconds_until": Parameter(30, "the retry_after member")})
def rate_limited_with_json_hint(_call: Call, fault: Fault) -> Answer | None:
    """The wait is named by a member of the body instead of a header."""
    content = {"error": "rate_limited", "retry_after": fault["seconds_until"]}
    return json_answer(429, content)


@fault("before", providers=VAST, operations=("search",))
def search_quota_exceeded(call: Call, _fault: Fault) -> Answer | None:
    """The daily search quota is used up until midnight UTC."""
    return quota_exceeded(call)


@fault("start", parameters={"factor": Parameter(10.0, "how many times longer the spacing is")})
def limits_tightened(truth: Truth, fault: Fault) -> None:
    """The published spacing of requests is made longer."""
    fault.memory["scale"] = truth.limits.scale
    truth.limits.scale *= fault["factor"]


@fault("stop", name="limits_tightened")
def _limits_restored(truth: Truth, fault: Fault) -> None:
    truth.limits.scale = fault.memory["scale"]


# --- keys ---------------------------------------------------------------------------------------------------


@fault("before", parameters={"status": Parameter(401, "401, 403 or 404")})
def key_refused(call: Call, fault: Fault) -> Answer | None:
    """The key is refused although it is good."""
    if call.dialect == "v2" and fault["status"] == 401:
        return text_answer(401, "Unauthorized")
    return evolve(refused(call, fault["status"], "auth_error", "Invalid user key"), status=fault["status"])


@fault("before", operations=WRITES)
def key_loses_write_scope(call: Call, _fault: Fault) -> Answer | None:
    """The key may read and no longer change anything."""
    return evolve(refused(call, 403, "auth_error", "This API key lacks the permission instance_write."), status=403)


@fault("before", operations=("list",))
def key_loses_list_scope(call: Call, _fault: Fault) -> Answer | None:
    """The key may look at one machine and no longer list them."""
    return refused(call, 403, "auth_error", "This API key lacks the permission instance_read.")


@fault("before", providers=VAST)
def session_expired(call: Call, _fault: Fault) -> Answer | None:
    """The session is over, which HTTP 404 says."""
    return refused(call, 404, "auth_error", "Session expired. Please log in again.")

"""What Vast.ai's answers mean that are not what was asked for: its refusals, in all the shapes they come in.

The base shape is ``{"success": false, "error": CODE, "msg": TEXT}`` with any part missing; the framework
under it says ``message`` and ``code``, some routes ``detail``, and gateways send plain text or HTML. A text
may embed an inner code (``error 404/3603: no_such_ask``) that has nothing to do with the HTTP status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from shopperd.providers.contract import (
    AuthFailed,
    BadAnswer,
    InstanceNotFound,
    OfferUnavailable,
    ProviderError,
    Refused,
    Unclear,
)
from shopperd.providers.limiter import Blocks
from shopperd.providers.transport import (
    UNDERSTOOD,
    Reply,
    Throttled,
    Understood,
    answered_at,
    reset_hint,
    retry_hint,
    words,
)
from shopperd.providers.vastai import wire

_THRESHOLD = re.compile(r"threshold\s*=\s*(\d{1,6}(?:\.\d{1,6})?)(?:\s*\*\s*(\d{1,6}(?:\.\d{1,6})?))?")
_TOO_FREQUENT = ("api requests too frequent", "too many requests", "rate_limit_exceeded")
_QUOTA = "search_quota_exceeded"
_NO_MONEY = ("insufficient_credit", "lacks credit", "insufficient credit", "spend_rate_limit", "missing_billing")
_GONE = ("no_such_instance", "not_found")
_BAD_KEY = ("invalid user key", "this action requires login", "session expired")
_NOT_OURS = ("error 403/3586", "is not your own")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


@frozen
class Said:
    """What an answer says beside its payload.

    Attributes:
        fields: the object it is, None if it is none or cannot be read.
        code: its ``error``, in lower case; "" if there is none.
        text: everything it says, in lower case, to look for known words in.
    """

    status: int
    fields: Mapping[str, object] | None
    code: str
    text: str
    shown: str

    @property
    def failed(self) -> bool:
        """Whether it is, by its status or its own word, no answer to what was asked."""
        return self.status >= 400 or (self.fields is not None and wire.truth(self.fields.get("success")) is False)


def heard(reply: Reply) -> Said:
    """What an answer says, whatever its shape."""
    if reply.status < 300 and len(reply.body) > _COMPLAINT_BYTES_MAX:
        return Said(reply.status, None, "", "", "")
    fields = wire.fields_of(reply.body)
    shown = words(reply) if fields is None else _spoken(fields)
    code = "" if fields is None else (wire.stripped(fields.get("error")) or "").lower()
    return Said(reply.status, fields, code, shown.lower(), shown)


_COMPLAINT_BYTES_MAX = 2**16
"""A successful answer over this is a payload; looking through it for complaints would decode it twice."""


def _spoken(fields: Mapping[str, object]) -> str:
    parts = (wire.stripped(fields.get(key)) for key in ("error", "code", "msg", "message", "detail"))
    return "; ".join(part for part in parts if part)


def common(reply: Reply, wall: datetime) -> ProviderError | None:
    """What means the same on every route: too many requests, a bad key, a route that was retired."""
    return _common(heard(reply), reply, wall)


def of_search(reply: Reply, wall: datetime) -> ProviderError | None:
    """For a search, which beside its frequency has a quota per day. Nothing else may ever wait for that one."""
    said = heard(reply)
    if said.code == _QUOTA:
        reset = reset_hint(reply, wall)
        left = max(
            _until_midnight(answered_at(reply, wall)) if reset is None else reset, retry_hint(reply, wall) or 0.0
        )
        return Throttled(said.shown, left, "quota", blocks=Blocks.QUOTA)
    return _common(said, reply, wall)


def _common(said: Said, reply: Reply, wall: datetime) -> ProviderError | None:
    if (throttled := _throttled(said, reply, wall)) is not None:
        return throttled
    if said.code == "deprecated_endpoint":
        # Also with status 200: read as data, the answer would say that there is nothing.
        return BadAnswer(f"the route was retired: {said.shown}")
    bad_key = said.code == "auth_error" or any(known in said.text for known in _BAD_KEY)
    if bad_key and (said.failed or said.code):
        # With status 404 on some routes, where it must not be taken for "no such instance".
        return AuthFailed(said.shown)
    return None


def _throttled(said: Said, reply: Reply, wall: datetime) -> Throttled | None:
    payload = said.fields is not None and ("offers" in said.fields or "instances" in said.fields)
    complains = not payload and any(known in said.text for known in (*_TOO_FREQUENT, _QUOTA))
    if said.status != 429 and not complains:
        return None
    told = wire.number(said.fields.get("retry_after")) if said.fields is not None else None
    return Throttled(said.shown, retry_hint(reply, wall, told), threshold_seconds=_threshold(said.text))


def _threshold(text: str) -> float | None:
    """The spacing that a refusal names, as in ``threshold=4.5*1.0``."""
    found = _THRESHOLD.search(text)
    return None if found is None else float(found[1]) * float(found[2] or 1.0)


def _until_midnight(at: datetime) -> float:
    """The search quota starts anew at midnight UTC."""
    return _DAY_SECONDS - at.timestamp() % _DAY_SECONDS


_DAY_SECONDS = 86400.0


def of_one_instance(reply: Reply, wall: datetime) -> ProviderError | None:
    """For a route about one instance: "no such instance" is only what says so in Vast.ai's own words."""
    said = heard(reply)
    error = _common(said, reply, wall)
    if error is None and said.code in _GONE and said.failed:
        error = InstanceNotFound(said.shown)
    return error


def of_destroy(reply: Reply, wall: datetime) -> ProviderError | None:
    """For a destroy: only ``"success": true`` is a yes."""
    error = of_one_instance(reply, wall)
    if error is not None or reply.status in (401, 403, 408) or reply.status >= 500:
        return error
    said = heard(reply)
    if said.status < 300:
        if said.fields is None:
            return BadAnswer(f"not an answer to a destroy: {said.shown}")
        if wire.truth(said.fields.get("success")) is True:
            return None
        return Refused(said.shown, _code(said)) if said.text else Unclear("neither a yes nor a no", "server")
    return Refused(said.shown, _code(said)) if said.status in (400, 409, 422) and said.text and said.fields else None


def of_create(reply: Reply, wall: datetime) -> ProviderError | Understood | None:
    """For a create, where the question is whether it is certain that nothing was rented.

    An id of an instance comes before everything else: even an error may carry one, as when a bid is too low
    and the instance is left stopped. Certain are only refusals in Vast.ai's own words; an empty or unreadable
    body, a status that a gateway may have made up, and a success without an id are not.
    """
    said = heard(reply)
    new_contract = None if said.fields is None else said.fields.get("new_contract")
    if wire.identifier(new_contract) is not None:
        return UNDERSTOOD
    if (error := _common(said, reply, wall)) is not None:
        return error
    certain = said.fields is not None and new_contract is None and said.text != ""
    if certain and "no_such_ask" in said.text:
        return OfferUnavailable(said.shown)
    if certain and any(known in said.text for known in _NOT_OURS):
        return OfferUnavailable(said.shown)
    if certain and said.status < 500 and any(known in said.text for known in _NO_MONEY):
        return Refused(said.shown, "insufficient_credit" if "credit" in said.text else _code(said))
    if said.status in (401, 403, 408) or said.status >= 500 or 300 <= said.status < 400:
        return None
    if certain and said.status >= 400:
        return Refused(said.shown, _code(said))
    return Unclear(said.shown or "no id of an instance", "server")


def _code(said: Said) -> str:
    return said.code if _CODE.fullmatch(said.code) else "refused"

"""What TensorDock complains of in a body, whatever the HTTP status, and what that means.

An error may come with HTTP 200 and its own status inside, as a list of validation messages, or as JSON below a 500. Only
words that are known to precede any effect become a refusal of a create; unknown words leave it unclear, for TensorDock
has answered ``status: 400`` to deployments that had begun.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from shopperd.providers.contract import (
    AuthFailed,
    BadAnswer,
    InstanceNotFound,
    OfferUnavailable,
    ProviderError,
    RateLimited,
    Refused,
    Unclear,
)
from shopperd.providers.limiter import Endpoint
from shopperd.providers.tensordock.fields import flag

_NOT_FOUND = re.compile(r"\bnot found\b|\bdoes ?n[o']t exist\b|\bno such\b|\balready (terminated|deleted)\b", re.I)
_INSTANCE = re.compile(r"\b(instances?|servers?|vms?|virtual ?machines?|machines?)\b", re.I)
_NOT_AN_INSTANCE = re.compile(
    r"\b(routes?|endpoints?|paths?|pages?|urls?|tokens?|keys?|users?|accounts?|organi[sz]ations?|hosts?)\b", re.I
)
_UNAVAILABLE = re.compile(
    r"\bno available nodes\b|\bhost ?node (is )?(unavailable|not found|offline)\b|\bno available public ips?\b"
    r"|\blocation not found\b|\bnot( have)? enough (resources|gpus)\b",
    re.I,
)
_INVALID = re.compile(r"\bmust (be|have|not)\b|\bis required\b|\bis not supported\b", re.I)
_NO_CREDIT = re.compile(
    r"\bneed at least \$|\binsufficient (balance|funds|credits?)\b|\bbalance (is )?(too low|insufficient)\b", re.I
)
_NO_RIGHT = re.compile(
    r"\bunauthori[sz]ed\b|\bforbidden\b|\binvalid (api )?(key|token|credentials|authorization)\b", re.I
)
_CONFLICT = re.compile(r"\btherefore it cannot be\b", re.I)
_TOO_FAST = re.compile(r"\brate limit|\btoo many requests\b", re.I)


@frozen
class Complaint:
    """An error in a body.

    Attributes:
        words: the provider's own.
        status: the status in the body, which may differ from HTTP's.
        invalid: the request did not pass validation, so it had no effect.
    """

    words: str
    status: int | None = None
    invalid: bool = False

    @property
    def says_not_found(self) -> bool:
        """Whether it denies that there is such an instance: it must name one, since a bare "Not Found" is any missing route's."""
        words = self.words
        names_one = _INSTANCE.search(words) is not None and _NOT_AN_INSTANCE.search(words) is None
        return names_one and _NOT_FOUND.search(words) is not None

    @property
    def is_conflict(self) -> bool:
        """Whether it is a refusal because of the state that a machine is in, as v0 sends with HTTP 500."""
        return _CONFLICT.search(self.words) is not None


def complaint_of(document: object, http_status: int) -> Complaint | None:
    """The error in a decoded body, None if there is none.

    It is one if the body is a list of validation messages, has a non-empty ``error`` at the top or under ``data``, an integer
    ``status`` of 400 or more (that of an instance is a word), or ``success`` false.
    """
    if isinstance(document, list):
        messages = [row for row in document if isinstance(row, dict) and {"code", "message"} & row.keys()]
        if not messages or len(messages) != len(document):
            return None
        return Complaint("; ".join(_words(row) for row in messages), invalid=True)
    if not isinstance(document, dict):
        return None
    status = _error_status(document.get("status"))
    data = document.get("data")
    error = document.get("error") or (data.get("error") if isinstance(data, dict) else None)
    if isinstance(error, list) and (inner := complaint_of(error, http_status)) is not None:
        return Complaint(inner.words, status, inner.invalid)
    if not error and status is None and flag(document.get("success")) is not False and http_status < 400:
        return None
    return Complaint(_words(error) or _words(document) or "no words", status)


def _error_status(raw: object) -> int | None:
    if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) == 3:
        raw = int(raw)
    return raw if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 400 else None


def _words(raw: object) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, Mapping):
        return next((raw[key] for key in ("message", "error", "detail", "code") if isinstance(raw.get(key), str)), "")
    return ""


def meaning(complaint: Complaint, endpoint: Endpoint, status: int | None) -> ProviderError:
    """The error of the contract that a complaint is.

    Args:
        complaint: the error in the body.
        endpoint: what was asked.
        status: the status that counts, None if the provider named none.
    """
    words = complaint.words
    if status == 429 or (status is None and _TOO_FAST.search(words)):
        return RateLimited(words, cause="body")
    if status in (401, 403) or (status is None and _NO_RIGHT.search(words)):
        return AuthFailed(words)
    if endpoint is Endpoint.CREATE:
        return _create_refusal(complaint, status)
    if endpoint in (Endpoint.SHOW, Endpoint.DESTROY) and status in (None, 404, 410) and complaint.says_not_found:
        return InstanceNotFound(words)
    if status is not None and status >= 500:
        return Unclear(words, "server")
    if endpoint is Endpoint.DESTROY and status != 404:
        return Refused(words, code="invalid_request" if complaint.invalid else "refused")
    return BadAnswer(words)


def _create_refusal(complaint: Complaint, status: int | None) -> ProviderError:
    words = complaint.words
    if complaint.invalid or (status in (None, 400, 422) and _INVALID.search(words)):
        return Refused(words, code="invalid_request")
    if _NO_CREDIT.search(words):
        return Refused(words, code="insufficient_credit")
    if _UNAVAILABLE.search(words):
        return OfferUnavailable(words)
    return Unclear(words, "server")

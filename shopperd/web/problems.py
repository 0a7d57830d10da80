"""Errors as ``application/problem+json`` (RFC 9457): what is wrong and what would help, never what the code looks like inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from attrs import frozen

from shopperd.decisions import Conflicting, Invalid, NotFound, RequestError
from shopperd.jobs.context import log
from shopperd.lifecycle import IllegalTransition
from shopperd.redaction import redact
from shopperd.store import BadCursor, Conflict, StoreError, UnknownCursor

STORE_RETRY_SECONDS = 5
"""When to ask again while the store cannot be relied on; jobs try it at least as often."""


@frozen(slots=False)
class Fault:
    """One thing that is wrong with a request. `place`: ``body.gpu_count``, ``query.limit``, ``header.Idempotency-Key``."""

    place: str
    detail: str

    def __str__(self) -> str:
        return f"{self.place}: {self.detail}"


class Malformed(Invalid):
    """A request that cannot be read. `faults` holds all that is wrong, not only the first."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


class Refusal(Exception):
    """An answer that is an error, whatever was asked."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


@frozen(kw_only=True, slots=False)
class Problem:
    """The document. `type` is ``about:blank``: the status says what kind of problem it is, `detail` which."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    errors: Sequence[Fault] = ()


def problem(
    request: web.Request,
    status: HTTPStatus,
    detail: str,
    *,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An error as an answer."""
    document = Problem(
        title=status.phrase, status=status.value, detail=redact(detail), instance=request.path, errors=faults
    )
    return web.Response(
        body=msgspec.json.encode(document),
        status=status.value,
        content_type="application/problem+json",
        headers=headers,
    )


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a route raises into a problem document."""
    try:
        return await handler(request)
    except (RequestError, Refusal, StoreError, Conflict, BadCursor, IllegalTransition) as error:
        return _of_ours(request, error)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _of_aiohttp(request, error)
    except ConnectionError:
        raise  # nobody is there to be answered
    except Exception as error:
        log.exception("http.crashed", method=request.method, reason=type(error).__name__)
        return problem(
            request, HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of shopperd; its log has the line `http.crashed`"
        )


def _of_ours(request: web.Request, error: Exception) -> web.Response:
    detail = str(error)
    match error:
        case Refusal():
            return problem(request, error.status, detail, headers=error.headers)
        case NotFound():
            return problem(request, HTTPStatus.NOT_FOUND, detail)
        case Malformed():
            return problem(request, HTTPStatus.BAD_REQUEST, detail, faults=error.faults)
        case UnknownCursor():
            return problem(request, HTTPStatus.NOT_FOUND, detail, faults=[Fault("query.cursor", detail)])
        case BadCursor():
            return problem(request, HTTPStatus.BAD_REQUEST, detail, faults=[Fault("query.cursor", detail)])
        case Conflicting() | IllegalTransition():
            return problem(request, HTTPStatus.CONFLICT, detail)
        case Conflict():
            return problem(request, HTTPStatus.CONFLICT, f"{detail}; look again, and ask again if it still applies")
        case StoreError():
            log.error("http.store_failed", method=request.method, detail=detail)
            return problem(
                request,
                HTTPStatus.SERVICE_UNAVAILABLE,
                detail,
                headers={"Retry-After": str(STORE_RETRY_SECONDS)},
            )
        case _:
            return problem(request, HTTPStatus.BAD_REQUEST, detail)


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    status = HTTPStatus(error.status)
    headers: dict[str, str] = {}
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            detail = f"{request.method} is not for this route; allowed are {allowed}"
            headers["Allow"] = allowed
        case web.HTTPNotFound():
            detail = "there is no such route; the routes stand under /api/v1, such as /api/v1/status"
        case web.HTTPRequestEntityTooLarge():
            detail = "the body is larger than 1 MiB, which no request is"
        case _:
            detail = status.description or status.phrase
    return problem(request, status, detail, headers=headers)

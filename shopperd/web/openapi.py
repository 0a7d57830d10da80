"""``/api/v1/openapi.json``: what may be asked and what is answered, made from the very types that read and write both."""

from __future__ import annotations

import enum
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, get_args, get_origin
from uuid import UUID

import attrs
import msgspec
from aiohttp import hdrs, web
from attrs import field, frozen

from shopperd import __version__
from shopperd.settings import Bounds
from shopperd.settings_shape import fields_of, is_optional
from shopperd.web import costs, events, instances, offers, operations, orphans, overview, reading, sessions
from shopperd.web.access import FORM_PATH
from shopperd.web.answers import (
    CostAnswer,
    DestroyAnswer,
    EventAnswer,
    ExplainAnswer,
    InstanceAnswer,
    ListAnswer,
    MarketPricesAnswer,
    OfferAnswer,
    OrphanAnswer,
    SessionAnswer,
    SessionWithEvents,
)
from shopperd.web.door import API, Health
from shopperd.web.health import Readiness
from shopperd.web.page.handlers import ActForm, MachineQuery, StatusQuery
from shopperd.web.problems import Problem

OPENAPI = "3.1.0"
PATH = f"{API}/openapi.json"

Schema = dict[str, Any]

_REF = "#/components/schemas/{name}"
_JSON, _PROBLEM, _HTML, _TEXT = "application/json", "application/problem+json", "text/html", "text/plain"
_FORM, _STREAM, _OPEN_METRICS = "application/x-www-form-urlencoded", "text/event-stream", "application/openmetrics-text"


@frozen
class Operation:
    """What one route takes and gives.

    Attributes:
        answers: by status, the type that is encoded as JSON; None for an answer in `media` that is text.
        media: of the answers, the first for the types.
        headers: request headers that mean something to it: what, and what they may be.
        open: a change that needs no bearer token in the header.
    """

    tag: str
    answers: Mapping[int, Any]
    query: type = reading.NoQuery
    body: type | None = None
    body_media: str = _JSON
    media: tuple[str, ...] = (_JSON,)
    headers: Mapping[str, Schema] = field(factory=dict)
    open: bool = False


_KEY = {
    "Idempotency-Key": {
        "description": "The same key with the same body makes one session, however often it is sent, over restarts too.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": sessions.KEY_CHARS_MAX,
            "pattern": "^[!-~]([ -~]*[!-~])?$",
        },
    }
}
_LAST = {
    "Last-Event-ID": {
        "description": "Of a stream: the number of the last event that was seen, to go on after it.",
        "schema": {"type": "string"},
    }
}


def _list(kind: Any, query: type, tag: str, **more: Any) -> Operation:
    return Operation(tag, {200: ListAnswer[kind]}, query, **more)


_GET, _POST = hdrs.METH_GET, hdrs.METH_POST
_INSTANCE = f"{API}/instances/{{account}}/{{id}}"

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    (_GET, f"{API}/status"): Operation("deployment", {200: overview.StatusAnswer}),
    (_GET, f"{API}/accounts"): _list(overview.AccountAnswer, reading.NoQuery, "deployment"),
    (_GET, f"{API}/costs"): _list(CostAnswer, costs.CostsQuery, "deployment"),
    (_POST, f"{API}/accounts/{{account}}/trust"): Operation(
        "deployment", {200: overview.AccountAnswer}, body=reading.ReasonBody
    ),
    (_POST, f"{API}/freeze"): Operation("deployment", {200: operations.FreezeAnswer}, body=reading.ReasonBody),
    (_POST, f"{API}/unfreeze"): Operation("deployment", {200: operations.FreezeAnswer}, body=reading.ReasonBody),
    (_POST, f"{API}/jobs/{{job}}/run"): Operation(
        "deployment", {202: operations.RunAnswer}, operations.RunBody, operations.RunBody
    ),
    (_GET, f"{API}/events"): _list(
        EventAnswer, events.EventsQuery, "deployment", media=(_JSON, _STREAM), headers=_LAST
    ),
    (_GET, PATH): Operation("deployment", {200: dict[str, object]}),
    (_GET, f"{API}/sessions"): _list(SessionAnswer, sessions.SessionsQuery, "sessions"),
    (_POST, f"{API}/sessions"): Operation(
        "sessions", {201: SessionAnswer}, sessions.CreateQuery, sessions.CreateBody, headers=_KEY
    ),
    (_POST, f"{API}/sessions/register"): Operation("sessions", {201: SessionAnswer}, body=sessions.RegisterBody),
    (_GET, f"{API}/sessions/{{id}}"): Operation("sessions", {200: SessionWithEvents}),
    (_POST, f"{API}/sessions/{{id}}/end"): Operation("sessions", {202: SessionAnswer}, body=sessions.EndBody),
    (_POST, f"{API}/sessions/{{id}}/extend"): Operation("sessions", {200: SessionAnswer}, body=sessions.ExtendBody),
    (_GET, f"{API}/instances"): _list(InstanceAnswer, instances.InstancesQuery, "instances"),
    (_GET, f"{_INSTANCE}/explain"): Operation("instances", {200: ExplainAnswer}),
    (_POST, f"{_INSTANCE}/adopt"): Operation("instances", {200: InstanceAnswer}, body=instances.AdoptBody),
    (_POST, f"{_INSTANCE}/destroy"): Operation("instances", {202: DestroyAnswer}, body=reading.ReasonBody),
    (_POST, f"{_INSTANCE}/exempt"): Operation("instances", {200: InstanceAnswer}, body=reading.ReasonBody),
    (_POST, f"{_INSTANCE}/unexempt"): Operation("instances", {200: InstanceAnswer}, body=reading.ReasonBody),
    (_GET, f"{API}/offers"): _list(OfferAnswer, offers.OffersQuery, "market"),
    (_GET, f"{API}/offers/history"): _list(MarketPricesAnswer, offers.HistoryQuery, "market"),
    (_GET, f"{API}/orphans"): _list(OrphanAnswer, orphans.OrphansQuery, "orphans"),
    (_GET, f"{API}/plan"): _list(orphans.PlanAnswer, orphans.PlanQuery, "orphans"),
    (_GET, "/metrics"): Operation("process", {200: None}, media=(_TEXT, _OPEN_METRICS)),
    (_GET, "/healthz"): Operation("process", {200: Health, 503: Health}),
    (_GET, "/readyz"): Operation("process", {200: Readiness, 503: Readiness}),
    (_GET, "/"): Operation("page", {200: None}, StatusQuery, media=(_HTML,)),
    (_GET, "/machine"): Operation("page", {200: None, 404: None}, MachineQuery, media=(_HTML,)),
    (_POST, FORM_PATH): Operation(
        "page", {400: None, 401: None, 404: None, 409: None}, body=ActForm, body_media=_FORM, media=(_HTML,), open=True
    ),
}
"""Every route."""


def add_routes(app: web.Application) -> None:
    """Serve the document. It is made when it is first asked for: few processes ever are."""
    made: list[bytes] = []

    async def openapi(request: web.Request) -> web.Response:
        """This document."""
        reading.read_query(request, reading.NoQuery)
        if not made:
            made.append(msgspec.json.encode(document(app)))
        return web.Response(body=made[0], content_type=_JSON)

    app.router.add_get(PATH, openapi)


def document(app: web.Application) -> Schema:
    """The whole API as an OpenAPI document.

    Raises:
        KeyError: a route is not described in `OPERATIONS`.
    """
    described = {(method, path): handler for method, path, handler in _routes(app)}
    types = [kind for key in described for kind in OPERATIONS[key].answers.values() if kind is not None]
    schemas, components = msgspec.json.schema_components([*types, Problem], schema_hook=_anything, ref_template=_REF)
    told = iter(schemas)
    paths: dict[str, Schema] = {}
    for (method, path), handler in described.items():
        operation = OPERATIONS[method, path]
        answers = {status: None if kind is None else next(told) for status, kind in operation.answers.items()}
        paths.setdefault(path, {})[method.lower()] = _operation(operation, method, path, handler, answers)
        if operation.body is not None:
            components.setdefault(operation.body.__name__, _record(operation.body))
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "shopperd",
            "version": __version__,
            "description": "Times are RFC 3339 in UTC, money is US dollars, null is not known. Lists come in pages: `next` goes into "
            "the query as `cursor`. Errors are problem documents (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in OPERATIONS.values())],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "What web.token_file holds. On loopback, and if none is set, changes need none.",
                }
            },
        },
    }


def _routes(app: web.Application) -> Iterator[tuple[str, str, Any]]:
    for route in app.router.routes():
        if route.resource is not None and route.method != hdrs.METH_HEAD:
            yield route.method, route.resource.canonical, route.handler


def _anything(kind: type) -> Schema:
    if kind is object:
        return {"description": "Any JSON."}
    raise NotImplementedError  # how a schema hook of msgspec says that it does not know a type


def _operation(
    operation: Operation, method: str, path: str, handler: Any, answers: Mapping[int, Schema | None]
) -> Schema:
    tagged = method == _GET and path.startswith(API)
    told: Schema = {
        "operationId": f"{handler.__module__.rpartition('.')[2]}.{handler.__name__}",
        "summary": (inspect.getdoc(handler) or path).partition("\n")[0],
        "tags": [operation.tag],
        "parameters": [*_path_parameters(path), *_query_parameters(operation.query), *_headers(operation, tagged)],
        "responses": {},
    }
    if method != _GET and not operation.open:
        told["security"] = [{"token": []}, {}]
    if operation.body is not None:
        told["requestBody"] = {
            "required": operation.body in _RULES
            or any(each.default is attrs.NOTHING for each in fields_of(operation.body).values()),
            "content": {operation.body_media: {"schema": {"$ref": _REF.format(name=operation.body.__name__)}}},
        }
    for status, schema in answers.items():
        told["responses"][str(status)] = _response(operation, status, schema, tagged=tagged)
    if operation.open:
        told["responses"]["303"] = {"description": "Done; the status page says so.", "headers": _location()}
    if tagged:
        told["responses"]["304"] = {"description": "As the client knows it already."}
    if 201 in answers:
        told["responses"]["201"]["headers"] = _location()
    problem = {"content": {_PROBLEM: {"schema": {"$ref": _REF.format(name="Problem")}}}}
    # What is too long to be read is refused in plain text, before anybody knows what it asks for.
    unread = {"content": problem["content"] | {_TEXT: {"schema": {"type": "string"}}}}
    told["responses"].setdefault("400", {"description": "It cannot be read, and why.", **unread})
    for statuses, what in (("4XX", "It cannot be done, and why."), ("5XX", "shopperd, or its store, has a problem.")):
        told["responses"][statuses] = {"description": what, **problem}
    return told


def _response(operation: Operation, status: int, schema: Schema | None, *, tagged: bool) -> Schema:
    first, *others = operation.media
    content = {first: {"schema": {"type": "string"} if schema is None else schema}}
    content |= {media: {"schema": {"type": "string"}} for media in others}
    told: Schema = {"description": HTTPStatus(status).phrase, "content": content}
    if tagged:
        told["headers"] = {"ETag": {"description": "Of this very answer.", "schema": {"type": "string"}}}
    return told


def _location() -> Schema:
    return {"Location": {"description": "Where to look.", "schema": {"type": "string"}}}


def _path_parameters(path: str) -> Iterator[Schema]:
    for name in re.findall(r"\{(\w+)\}", path):
        session = path.startswith(f"{API}/sessions/")
        schema = {"type": "string", "format": "uuid"} if session else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(query: type) -> Iterator[Schema]:
    for name, each in fields_of(query).items():
        required = each.default is attrs.NOTHING
        yield {
            "name": name,
            "in": "query",
            "required": required,
            "schema": _value(each.type, each.default, optional=False),
        }


def _headers(operation: Operation, tagged: bool) -> Iterator[Schema]:
    headers = dict(operation.headers)
    if tagged:
        what = "The ETag of the answer that the client has."
        headers["If-None-Match"] = {"description": what, "schema": {"type": "string"}}
    for name, told in headers.items():
        yield {"name": name, "in": "header", "required": False, **told}


def _record(cls: type) -> Schema:
    """What a body may be."""
    known = fields_of(cls)
    return {
        "type": "object",
        "description": inspect.getdoc(cls) or "",
        "properties": {name: _value(each.type, each.default, optional=True) for name, each in known.items()},
        "required": [name for name, each in known.items() if each.default is attrs.NOTHING],
        "additionalProperties": False,
        **_RULES.get(cls, {}),
    }


def _value(kind: Any, default: Any, *, optional: bool) -> Schema:
    """What `reading` takes for a field; `optional`: null where the field may be left out, which a query cannot say."""
    if is_optional(kind):
        (inner,) = (each for each in get_args(kind) if each is not type(None))
        schema = _plain(inner)
        return {"anyOf": [schema, {"type": "null"}]} if optional else schema
    schema = _plain(kind)
    if isinstance(default, str | int | float | bool):
        schema["default"] = default.value if isinstance(default, enum.Enum) else default
    return schema


def _plain(kind: Any) -> Schema:
    if get_origin(kind) is Annotated:
        base, *notes = get_args(kind)
        note = next((each for each in notes if isinstance(each, Bounds | reading.Length | reading.Form)), None)
        return _bounded(base, note)
    if kind == reading.Environment:
        return {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": reading.ENV_VALUES_MAX}
    if get_origin(kind) is tuple:
        words = "|".join(re.escape(word.value) for word in get_args(kind)[0])
        return {"type": "string", "pattern": f"^({words})( *, *({words}))*$"}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"type": "string", "enum": [word.value for word in kind]}
    return dict(_PLAIN[kind])


_PLAIN: Mapping[Any, Schema] = {
    bool: {"type": "boolean"},
    str: {"type": "string"},
    UUID: {"type": "string", "format": "uuid"},
    datetime: {"type": "string", "format": "date-time"},
}


def _given(schema: Schema, *names: str) -> Schema:
    return {"required": list(names), "properties": dict.fromkeys(names, schema)}


def _either(*names: str) -> list[Schema]:
    """One of these fields is given, whichever."""
    return [_given({"not": {"type": "null"}}, name) for name in names]


_WISHES = ("gpu", "gpu_count", "min_vram_gb")
_RULES: Mapping[type, Schema] = {
    sessions.CreateBody: {
        "oneOf": [
            _given({"type": "string"}, "offer_id") | {"not": {"anyOf": _either(*_WISHES)}},
            {"not": {"anyOf": _either("offer_id")}, "anyOf": _either(*_WISHES, "max_price_per_hour")},
        ]
    },
    sessions.ExtendBody: {"oneOf": _either("lifetime", "expires_at")},
}
"""What holds between the fields of a body."""


_UNIT_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_TEXTS = ("90s", "5m", "1h30m")


def _duration(most: float) -> Schema:
    """Durations as text: of each unit so many digits that all together are not too much. A few more are accepted."""

    def number(largest: float) -> str:
        digits = math.floor(math.log10(largest)) if largest >= 10 else 0
        return rf"[0-9]{{1,{digits}}}(\.[0-9]{{1,9}})?" if digits else ""

    share = most / len(_UNIT_SECONDS)
    parts = {unit: number(share / seconds) for unit, seconds in _UNIT_SECONDS.items()}
    units = "".join(f"({part}{unit})?" for unit, part in parts.items() if part)
    pattern = f"^({number(most)}|{units})$"
    examples = [text for text in _TEXTS if re.fullmatch(pattern, text)]
    return {"type": "string", "minLength": 1, "pattern": pattern} | ({"examples": examples} if examples else {})


_NO_NUL = r"^[^\u0000]*$"


def _bounded(base: Any, note: Bounds | reading.Length | reading.Form | None) -> Schema:
    if isinstance(note, reading.Form):
        return {"type": "string", "maxLength": note.most, "pattern": f"^({note.pattern})$", "description": note.words}
    if isinstance(note, reading.Length):
        return {"type": "string", "minLength": note.least, "maxLength": note.most, "pattern": _NO_NUL}
    schema: Schema = {"type": "integer" if base is int else "number"}
    if isinstance(note, Bounds):
        schema["minimum"] = note.least
        if math.isfinite(note.most):
            schema["maximum"] = note.most
        if note.seconds:
            return {"anyOf": [schema | {"description": "seconds"}, _duration(note.most)]}
    return schema

"""What passes through a door of the simulator: a request in, an answer out, both plain values.

A door (`shopperd.simulator.server`, `shopperd.simulator.inprocess`) turns its own kind of traffic into a `Request`, hands it
to the world, and carries out the `Answer`, its delay and its dropped connection included. Nothing here does I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec
from attrs import field, frozen

JSON_TYPE = "application/json"
"""Exactly this, without a charset: Vast.ai's own client refuses a search answer with any other spelling."""

Drop = Literal["before", "midway", "after"]
"""How a connection is cut: without effect; after half of the body; after the effect, without any answer."""

_MULTIPART_NAME = re.compile(rb'name="([^"]*)"')


class BadBodyError(ValueError):
    """The request's body is not what its route reads; the dialect answers with its provider's words."""


def _lower_names(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {name.lower(): value for name, value in pairs}


def _pairs(query: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = query.items() if isinstance(query, Mapping) else query
    return tuple((name, value) for name, value in pairs)


@frozen
class Request:
    """One HTTP request. Secrets may be in the query, the headers and the body, so none of them is in the repr.

    Attributes:
        path: decoded, without the query, as the client sent it (a trailing slash matters to Vast.ai).
        query: pairs or a mapping; kept as pairs.
        headers: pairs or a mapping; names are kept in lower case.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = field(default=(), converter=_pairs, repr=False)
    headers: Mapping[str, str] = field(factory=dict, converter=_lower_names, repr=False)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str:
        """The header's value, or an empty string. The name's case does not matter."""
        return self.headers.get(name.lower(), "")

    def param(self, name: str) -> str | None:
        """The first value of a query parameter, or None."""
        return next((value for key, value in self.query if key == name), None)

    def json(self) -> Any:
        """The decoded body; an empty one reads as ``{}``, since clients differ in sending nothing or an empty object.

        Raises:
            BadBodyError: it is not JSON.
        """
        if not self.body.strip():
            return {}
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadBodyError("the body is not JSON") from error

    def form(self) -> dict[str, str]:
        """The fields of a form, URL-encoded or multipart; what is neither reads as no fields."""
        if self.header("content-type").lower().startswith("multipart/form-data"):
            return _multipart_fields(self.body, self.header("content-type"))
        try:
            return dict(parse_qsl(self.body.decode(), keep_blank_values=True))
        except (UnicodeDecodeError, ValueError):
            return {}


def _multipart_fields(body: bytes, content_type: str) -> dict[str, str]:
    """Small text fields only, which is all that the v0 API takes."""
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    fields: dict[str, str] = {}
    if not boundary:
        return fields
    for part in body.split(b"--" + boundary):
        head, separator, value = part.partition(b"\r\n\r\n")
        name = _MULTIPART_NAME.search(head)
        if separator and name:
            fields[name[1].decode(errors="replace")] = value.removesuffix(b"\r\n").decode(errors="replace")
    return fields


@frozen
class Answer:
    """One HTTP answer, and how it is carried out.

    Attributes:
        delay_seconds: how long the door waits before it answers. The effect has happened by then.
        drop: cut the connection instead of answering; see `Drop`.
        drip_seconds: pause between the pieces of a body that is sent in `drip_bytes` pieces; 0 sends it at once.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = field(default=b"", repr=False)
    delay_seconds: float = 0
    drop: Drop | None = None
    drip_seconds: float = 0
    drip_bytes: int = 1

    def json(self) -> Any:
        """The decoded body, NaN and Infinity included."""
        return json.loads(self.body)


def json_answer(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with a JSON body. Non-finite numbers become null here; see `loose_json_answer`."""
    return Answer(status, {"Content-Type": JSON_TYPE, **(headers or {})}, msgspec.json.encode(content))


def loose_json_answer(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """As `json_answer`, with NaN and Infinity written as Python's and many servers' encoders write them."""
    return Answer(status, {"Content-Type": JSON_TYPE, **(headers or {})}, json.dumps(content).encode())


def text_answer(status: int, text: str, content_type: str = "text/plain; charset=utf-8") -> Answer:
    """An answer in plain words, or in HTML."""
    return Answer(status, {"Content-Type": content_type}, text.encode())

"""Route tables: a method and a path pattern lead to an operation and its handler."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from attrs import field, frozen

from shopperd.simulator.call import Call
from shopperd.simulator.exchange import Answer, Request

Handler = Callable[[Call], Answer]


@frozen
class Route:
    """One entry; `{name}` in the template stands for one path segment."""

    method: str
    pattern: re.Pattern[str]
    operation: str
    handler: Handler
    writes: bool
    public: bool = False
    """It answers without a key."""


@frozen
class Match:
    """A route with the parts of the path that it named."""

    route: Route
    params: Mapping[str, str] = field(factory=dict)


def route(
    method: str, template: str, operation: str, handler: Handler, *, writes: bool = False, public: bool = False
) -> Route:
    """Make an entry from a template such as ``/api/v0/instances/{instance}/``."""
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
    return Route(method, re.compile(pattern), operation, handler, writes, public)


def find(routes: Iterable[Route], request: Request, path: str | None = None) -> Match | None:
    """The first entry that fits; `path` stands in for the request's own."""
    for entry in routes:
        if entry.method == request.method:
            hit = entry.pattern.fullmatch(request.path if path is None else path)
            if hit:
                return Match(entry, hit.groupdict())
    return None

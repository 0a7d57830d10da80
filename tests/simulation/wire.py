"""The way between shopperd's transport and the pretend world, with every request noted down as it truly arrives."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from attrs import define, field

from shopperd.providers.contract import BadAnswer, Unclear
from shopperd.providers.transport import HttpRequest, Reply
from shopperd.simulator import Answer, Request, World
from tests.simulation.ledger import Sent

HEADER_BYTES_MAX = 8190
"""What the HTTP library in use takes as one header line."""


class Boundary(Protocol):
    """Where a process may be cut; it does not come back from there if it is."""

    async def __call__(self, kind: str) -> None: ...


@define(eq=False)
class InProcessSender:
    """A `Sender` for one account of one life, in virtual time.

    Attributes:
        latency: seconds of one way.
        note: takes the ledger's row as soon as the request has arrived.
        now: epoch seconds.
    """

    world: World
    provider: str
    account: str
    life: int
    now: Callable[[], float]
    latency: Callable[[], float]
    boundary: Boundary
    note: Callable[[Sent], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    closed: bool = field(default=False, init=False)

    async def send(self, request: HttpRequest) -> Reply:
        if self.closed:
            raise Unclear("the connections are closed already", "connection")
        await self.sleep(self.latency())
        await self.boundary(f"request {request.method}")
        answer, operation = self._arrive(_incoming(request))
        await self.boundary(f"effect {operation}")
        back = self.latency() + answer.delay_seconds
        if answer.drip_seconds > 0:
            back += math.ceil(len(answer.body) / answer.drip_bytes) * answer.drip_seconds
        late = back > request.timeout_seconds
        await self.sleep(min(back, request.timeout_seconds))
        await self.boundary(f"answer {operation}")
        return _outcome(answer, request, late=late)

    async def close(self) -> None:
        self.closed = True

    def _arrive(self, incoming: Request) -> tuple[Answer, str]:
        world, now = self.world, self.now()
        world.advance_to(now)
        named = _named_instance(incoming)
        machine = world.truth.find(self.provider, named) if named else None
        tag, created_at = (machine.tag, machine.created_at) if machine is not None else (None, 0.0)
        answer = world.handle(self.provider, incoming, now)
        row = world.requests.after(world.requests.last - 1)[0]
        sent = Sent(
            row.n,
            row.at,
            self.account,
            self.life,
            row.operation,
            named or row.instance,
            row.status,
            row.effect,
            row.faults,
            tag=_wanted_tag(incoming) if row.operation == "create" else None,
            machine_tag=tag,
            machine_created_at=created_at,
        )
        self.note(sent)
        return answer, row.operation


def _incoming(request: HttpRequest) -> Request:
    parts = urlsplit(request.url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    return Request(request.method, unquote(parts.path), query, request.headers, request.body or b"")


def _outcome(answer: Answer, request: HttpRequest, *, late: bool) -> Reply:
    """What the network's own client makes of an answer.

    Raises:
        Unclear, BadAnswer: as `shopperd.providers.sender` does.
    """
    if late:
        raise Unclear(f"no answer within {request.timeout_seconds:g} s", "timeout")
    if answer.drop is not None:
        raise Unclear(f"the connection was cut ({answer.drop})", "connection")
    if any(len(name) + len(value) > HEADER_BYTES_MAX for name, value in answer.headers.items()):
        raise BadAnswer("not an answer by HTTP: a header is too long")
    if len(answer.body) > request.body_limit_bytes:
        raise BadAnswer(f"the body is over {request.body_limit_bytes} bytes")
    return Reply(answer.status, answer.headers, answer.body)


def _fields(incoming: Request) -> dict[str, Any]:
    try:
        read = msgspec.json.decode(incoming.body)
    except msgspec.DecodeError:
        return dict(incoming.form())
    return read if isinstance(read, dict) else {}


def _wanted_tag(incoming: Request) -> str | None:
    fields = _fields(incoming)
    attributes = fields.get("data", {}).get("attributes", {}) if isinstance(fields.get("data"), dict) else {}
    tag = fields.get("label") or fields.get("name") or attributes.get("name")
    return tag if isinstance(tag, str) else None


def _named_instance(incoming: Request) -> str | None:
    """The machine that a request names, in its path or in a form's field."""
    parts = [part for part in incoming.path.split("/") if part]
    if "instances" in parts and parts[-1] != "instances":
        return parts[parts.index("instances") + 1]
    server = incoming.form().get("server") if incoming.method == "POST" else None
    return server or None

"""The way between shopperd's transport and the pretend world, with every request noted down as it truly arrives."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from attrs import define, field

from shopperd.providers.contract import BadAnswer, Unclear
from shopperd.providers.sender import _unpacker
from shopperd.providers.transport import HttpRequest, Reply
from shopperd.simulator import Answer, Request, World
from tests.simulation.ledger import Sent
from tests.simulation.shapes import ORIGINS, PROVIDERS, SECRETS

HEADER_BYTES_MAX = 8190
"""What the HTTP library in use takes as one header line."""
"""The limit of an answer, in small: a body over the true one would cost seconds and show the same."""


class Process(Protocol):
    """Who sends: one process, which may be cut on the way."""

    @property
    def number(self) -> int:
        """Of the process, from 1."""

    @property
    def world(self) -> World:
        """Where requests arrive."""

    def epoch(self) -> float:
        """The true time, epoch seconds."""

    def ahead(self) -> float:
        """By how many seconds the process's clock is ahead of that."""

    def latency(self) -> float:
        """Seconds of one way."""

    async def boundary(self, kind: str) -> None:
        """It goes no further than here if it is cut."""

    def note(self, sent: Sent) -> None:
        """Take a request into the ledger as soon as it has arrived."""

    def fault(self, text: str) -> None:
        """Note that the pretend world itself failed."""

    def spilled(self, where: str) -> None:
        """Note a credential where it must not be."""


ACCOUNT_OF = {origin: account for account, origin in ORIGINS.items()}


@define(eq=False)
class InProcessSender:
    """A `Sender` for all accounts of one life, in virtual time. Which one sends is told by where to.

    Attributes:
        waited: how long the request that is handed over has waited for its turn.
    """

    process: Process
    waited: Callable[[], float]
    closed: bool = field(default=False, init=False)

    async def send(self, request: HttpRequest) -> Reply:
        if self.closed:
            raise Unclear("the connections are closed already", "connection")
        process = self.process
        sent_at, waited = process.epoch(), self.waited()
        parts = urlsplit(request.url)
        account = ACCOUNT_OF.get(f"{parts.scheme}://{parts.netloc}")
        if account is None:
            process.spilled(f"a request goes to {parts.netloc}")
            raise Unclear(f"nobody is at {parts.netloc}", "connection")
        _look_for_secrets(account, request, process)
        await asyncio.sleep(process.latency())
        await process.boundary(f"request {request.method}")
        answer, sent = self._arrive(account, _incoming(request))
        sent.sent_at, sent.waited = sent_at, waited
        told_at = formatdate(process.epoch(), usegmt=True)
        await process.boundary(f"effect {sent.operation}")
        back = process.latency() + answer.delay_seconds
        if answer.drip_seconds > 0:
            back += math.ceil(len(answer.body) / answer.drip_bytes) * answer.drip_seconds
        late = back > request.timeout_seconds
        await asyncio.sleep(min(back, request.timeout_seconds))
        await process.boundary(f"answer {sent.operation}")
        reply = _outcome(answer, request, told_at, late=late)
        sent.answered_at = process.epoch()
        sent.retry_after = _seconds(answer.headers.get("Retry-After"))
        return reply

    async def close(self) -> None:
        self.closed = True

    def _arrive(self, account: str, incoming: Request) -> tuple[Answer, Sent]:
        process = self.process
        world, now, provider = process.world, process.epoch(), PROVIDERS[account]
        world.advance_to(now)
        named = _named_instance(incoming)
        machine = world.truth.find(provider, named) if named else None
        tag, created_at = (machine.tag, machine.created_at) if machine is not None else (None, 0.0)
        try:
            answer = world.handle(provider, incoming, now)
        except Exception as error:
            process.fault(f"{incoming.method} {incoming.path} at {provider}: {type(error).__name__}: {error}")
            raise Unclear("the pretend world failed", "connection") from error
        row = world.requests.after(world.requests.last - 1)[0]
        sent = Sent(
            row.n,
            row.at,
            account,
            process.number,
            row.operation,
            named or row.instance,
            row.status,
            row.effect,
            row.faults,
            tag=_wanted_tag(incoming) if row.operation == "create" else None,
            machine_tag=tag,
            machine_created_at=created_at,
            ahead=process.ahead(),
            made=_made(world, provider, row.effect) if row.operation == "create" else (),
        )
        process.note(sent)
        return answer, sent


def _made(world: World, provider: str, effect: str | None) -> tuple[tuple[str, float], ...]:
    effects = (one.partition(":") for one in (effect or "").split(","))
    live = world.truth.live[provider]
    return tuple((id_, live[id_].created_at) for kind, _, id_ in effects if kind == "created")


def _look_for_secrets(account: str, request: HttpRequest, process: Process) -> None:
    """No request carries another account's credentials, or names any in its address."""
    carried = f"{request.headers} {request.body!r}"
    for owner, secrets in SECRETS.items():
        for value in secrets.values():
            if value in request.url:
                process.spilled(f"a request of {account} has a credential of {owner} in its address")
            if owner != account and value in carried:
                process.spilled(f"a request of {account} carries a credential of {owner}")


def _incoming(request: HttpRequest) -> Request:
    parts = urlsplit(request.url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    return Request(request.method, unquote(parts.path), query, request.headers, request.body or b"")


def _outcome(answer: Answer, request: HttpRequest, told_at: str, *, late: bool) -> Reply:
    """What the network's own client makes of an answer, which tells the provider's time of day.

    Raises:
        Unclear, BadAnswer: as `shopperd.providers.sender` does.
    """
    if late:
        raise Unclear(f"no answer within {request.timeout_seconds:g} s", "timeout")
    if answer.drop is not None:
        raise Unclear(f"the connection was cut ({answer.drop})", "connection")
    if any(len(name) + len(value) > HEADER_BYTES_MAX for name, value in answer.headers.items()):
        raise BadAnswer("not an answer by HTTP: a header is too long")
    intake = request.intake if 200 <= answer.status < 300 else None
    unpacker = _unpacker(answer.headers.get("Content-Encoding", ""))
    parts, size = [], 0
    for part in unpacker.feed(answer.body):
        size += len(part)
        if max(len(answer.body), size) > request.body_limit_bytes:
            raise BadAnswer(f"the body is over {request.body_limit_bytes} bytes")
        if intake is None:
            parts.append(part)
        else:
            intake.feed(part)
    unpacker.finish()
    body = b"".join(parts) if intake is None else intake.finish()
    return Reply(answer.status, {"Date": told_at, **answer.headers}, body, taken=intake is not None)


def _seconds(header: str | None) -> float | None:
    try:
        return float(header) if header is not None else None
    except ValueError:
        return None


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

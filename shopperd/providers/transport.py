"""The one place where HTTP leaves: limiter, one request, error mapping, metrics.

`Transport.fetch` waits for its turn, sends once, and turns whatever comes back into a value or into an error
of the contract. Only later pages that are refused for their frequency are asked for again, and no redirect is followed. What actually talks is a
`Sender`: aiohttp in production (`providers.sender`), a pretend marketplace in simulations.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec
import structlog
from attrs import evolve, field, frozen
from multidict import CIMultiDict

import shopperd
from shopperd.clock import NO_EARLIER, Clock
from shopperd.providers.contract import (
    GATE,
    URGENT,
    AuthFailed,
    BadAnswer,
    ProviderError,
    RateLimited,
    Unclear,
    Withheld,
)
from shopperd.providers.limiter import Blocks, Endpoint, Limiter, Ticket
from shopperd.providers.pacing import HINT_SECONDS_MAX, QUOTA_SECONDS_MAX
from shopperd.telemetry import Metrics

log: structlog.stdlib.BoundLogger = structlog.get_logger("shopperd")

BODY_BYTES_MAX = 32 * 2**20
"""Enough for thousands of instances; more than that is not an answer but an attack on our memory."""
CHUNK_BYTES = 2**16
"""What is read of an answer at a time: some twenty rows of a market, and a fraction of a millisecond."""
WORDS_MAX = 200
_OPAQUE = re.compile(r"[A-Za-z0-9+/_=]{32,}")
_SPACES = re.compile(r"\s+")
_HIDDEN_MIN = 4
"""Shorter values hide nothing, and masking them would riddle every text."""


class Intake(Protocol):
    """Takes the body of one answer in as it arrives, and keeps of it what it is there for."""

    def feed(self, chunk: bytes) -> None:
        """The next part of the body. BadAnswer if it cannot go on like this."""

    def finish(self) -> bytes:
        """What is left of the body, now that all of it was fed. BadAnswer if that cannot be all."""


@frozen
class Call:
    """One request, as an adapter asks for it.

    Attributes:
        path: absolute, without the query.
        query: never a secret, since addresses end up in other people's logs.
        json, form: the body, one of the two or none.
        hidden: values that must not show up in an error's text, though the provider may echo them.
        timeout_seconds: for the request in all; None for the account's.
        body_limit_bytes: of the answer, before and after decompression.
        intake: takes in the body of a successful answer; what it leaves is the body of the reply.
        repeats: whether it is asked again when it is refused for its frequency: a later page of something of which the first
            pages would be lost with it. Only for what changes nothing.
    """

    endpoint: Endpoint
    method: str
    path: str
    query: Mapping[str, str] = field(factory=dict)
    json: object | None = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    timeout_seconds: float | None = None
    body_limit_bytes: int = BODY_BYTES_MAX
    intake: Intake | None = field(default=None, repr=False)
    repeats: bool = False


@frozen
class HttpRequest:
    """One request, as it goes out. `timeout_seconds` is for all of it, from the connection to the last byte."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    timeout_seconds: float
    body_limit_bytes: int
    intake: Intake | None = field(default=None, repr=False)


def _case_insensitive(headers: Mapping[str, str]) -> Mapping[str, str]:
    return CIMultiDict(headers)


@frozen
class Reply:
    """One answer, whatever its status. Header names match in any case.

    Attributes:
        taken: the body went through the request's intake already, as it arrived; here is what that left.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict, converter=_case_insensitive, repr=False)
    body: bytes = field(default=b"", repr=False)
    taken: bool = False

    @property
    def ok(self) -> bool:
        """Whether it is an answer to what was asked, by its status."""
        return 200 <= self.status < 300


class Sender(Protocol):
    """Sends a request once and never again.

    Raises `Unclear` where no answer came and `BadAnswer` where it cannot be read, and nothing else. One that gets a body
    piece by piece gives it to the request's intake so.
    """

    async def send(self, request: HttpRequest) -> Reply:
        """The answer, in full."""

    async def close(self) -> None:
        """Give back connections; calls in flight end with an error."""


class Throttled(RateLimited):
    """Too many requests, with what more the answer tells the limiter.

    Attributes:
        threshold_seconds: the spacing that the provider names.
        blocks: what it shuts; None for the provider's usual.
    """

    def __init__(
        self,
        message: str,
        retry_after_seconds: float | None = None,
        cause: str = "429",
        *,
        threshold_seconds: float | None = None,
        blocks: Blocks | None = None,
    ) -> None:
        super().__init__(message, retry_after_seconds, cause)
        self.threshold_seconds = threshold_seconds
        self.blocks = blocks


class Understood(enum.Enum):
    """What `classify` says of an answer that is one, although its status tells otherwise."""

    ANSWER = "answer"


UNDERSTOOD: Final = Understood.ANSWER

Classify = Callable[[Reply], "ProviderError | Understood | None"]
"""What a provider's own words in an answer mean: an error, an answer, or None for the rules that hold for
everybody.

The error's text is taken for the provider's words: the transport cleans it, and puts the request in front.
"""
T = TypeVar("T")


class Transport:
    """Sends the calls of one account."""

    def __init__(
        self,
        *,
        account: str,
        provider: str,
        base_url: str,
        sender: Sender,
        limiter: Limiter,
        headers: Callable[[], Mapping[str, str]],
        metrics: Metrics,
        clock: Clock,
        request_timeout: float,
    ) -> None:
        """`headers` is asked at each call, so that a secret which changed is the new one at once."""
        self._labels = {"account": account, "provider": provider}
        self._base_url = base_url.rstrip("/")
        self._sender = sender
        self._limiter = limiter
        self._headers = headers
        self._metrics = metrics
        self._clock = clock
        self._request_timeout = request_timeout

    async def call(self, call: Call, classify: Classify) -> Reply:
        """The answer to this call.

        Raises:
            ProviderError: what `classify` says, else by the general rules: 3xx and strange statuses
                `BadAnswer`, 401 and 403 `AuthFailed`, 408 and 5xx `Unclear`, 429 `RateLimited`.
        """
        return await self.fetch(call, classify, lambda reply: reply)

    async def fetch(self, call: Call, classify: Classify, read: Callable[[Reply], T]) -> T:
        """What `read` makes of the answer; it may raise a `ProviderError`, which counts as the call's outcome.

        A call that says so is asked again when it is refused for its frequency, as long as its next turn comes within the
        account's `request_timeout` since it was first asked for. This is the one place for that: jobs begin anew instead.
        """
        began = self._clock.monotonic()
        ticket = await self._turn(call, None)
        while True:
            try:
                return await self._once(call, ticket, classify, read)
            except RateLimited:
                turn_at = self._clock.monotonic() + self._limiter.blocked_seconds(call.endpoint)
                if not call.repeats or turn_at > began + self._request_timeout:
                    raise
            ticket = await self._turn(call, ticket)

    @property
    def limiter(self) -> Limiter:
        """What these calls wait for."""
        return self._limiter

    async def _turn(self, call: Call, refused: Ticket | None) -> Ticket:
        began = self._clock.monotonic()
        ticket = await self._limiter.wait(call.endpoint, urgent=URGENT.get(), refused=refused)
        if (gate := GATE.get()) is not None:
            while not await self._is_let_through(gate, ticket):
                if call.endpoint is Endpoint.CREATE:
                    raise Withheld("another call was refused for its frequency when its turn had come")
                ticket = await self._limiter.wait(call.endpoint, urgent=URGENT.get(), refused=ticket)
        waited = self._clock.monotonic() - began
        self._metrics.ratelimit_wait_seconds.labels(**self._labels, endpoint=call.endpoint.value).observe(waited)
        return ticket

    async def _is_let_through(self, gate: Callable[[], Awaitable[None]], ticket: Ticket) -> bool:
        """Ask the gate, which takes a while. A refusal may come meanwhile, and then this turn is none any more."""
        passed = False
        try:
            await gate()
            passed = not self._limiter.is_shut(ticket)
        finally:
            if not passed:
                self._limiter.give_back(ticket)
        return passed

    async def _once(self, call: Call, ticket: Ticket, classify: Classify, read: Callable[[Reply], T]) -> T:
        try:
            headers = dict(self._headers())
            request = self._request(call, headers)
        except BaseException:
            self._limiter.give_back(ticket)
            raise
        hidden = tuple(_secrets(headers, call))
        sent = self._clock.monotonic()
        self._limiter.sent(ticket)
        reply: Reply | None = None
        try:
            try:
                reply = await self._sender.send(request)
            finally:
                seconds = self._clock.monotonic() - sent
            if request.intake is not None and reply.ok and not reply.taken:
                reply = evolve(reply, body=await self._take_in(request.intake, reply.body), taken=True)
            self._check(reply, classify)
            value = read(reply)
            self._hear_time(reply, seconds)
        except ProviderError as error:
            error.args = (_sentence(call, reply, str(error), hidden),)
            self._observe(call.endpoint, seconds, error.outcome)
            self._tell(ticket, reply, error)
            raise
        except BaseException:
            self._limiter.abandoned(ticket)
            raise
        self._observe(call.endpoint, seconds, "ok")
        self._tell(ticket, reply, None)
        return value

    def _hear_time(self, reply: Reply, seconds: float) -> None:
        """Tell the clock the provider's time, which is at most the one that it wrote and those seconds since the call.

        Only of an answer that was understood: whatever stands in between tells its own time on the pages that it makes.
        """
        told = _told(reply)
        if told is None:
            return
        try:
            at_most = told + timedelta(seconds=seconds)
        except OverflowError:  # the last second of the year 9999
            return
        ahead = self._clock.heard(at_most)
        if ahead:
            log.warning(
                "clock.ahead",
                account=self._labels["account"],
                seconds=round(ahead),
                detail="this machine's clock is ahead of the provider's, whose time holds until they agree: set the clock",
            )

    async def close(self) -> None:
        """Give back connections; calls in flight end with an error."""
        await self._sender.close()

    def _request(self, call: Call, headers: Mapping[str, str]) -> HttpRequest:
        sent_headers = {
            "User-Agent": f"shopperd/{shopperd.__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            **headers,
        }
        body: bytes | None = None
        if call.json is not None:
            body = msgspec.json.encode(call.json)
            sent_headers["Content-Type"] = "application/json"
        elif call.form is not None:
            body = urlencode(call.form).encode()
            sent_headers["Content-Type"] = "application/x-www-form-urlencoded"
        query = f"?{urlencode(call.query)}" if call.query else ""
        return HttpRequest(
            method=call.method,
            url=f"{self._base_url}{call.path}{query}",
            headers=sent_headers,
            body=body,
            timeout_seconds=self._request_timeout if call.timeout_seconds is None else call.timeout_seconds,
            body_limit_bytes=call.body_limit_bytes,
            intake=call.intake,
        )

    async def _take_in(self, intake: Intake, body: bytes) -> bytes:
        """What the sender did not do, as it had the body at once."""
        for start in range(0, len(body), CHUNK_BYTES):
            intake.feed(body[start : start + CHUNK_BYTES])
            await self._clock.sleep(0)
        return intake.finish()

    def _check(self, reply: Reply, classify: Classify) -> None:
        verdict = classify(reply)
        if verdict is UNDERSTOOD:
            return
        error = verdict or self._general(reply)
        if isinstance(error, RateLimited) and error.retry_after_seconds is None:
            error.retry_after_seconds = retry_hint(reply, self._clock.wall())
        if error is not None:
            raise error

    def _general(self, reply: Reply) -> ProviderError | None:
        """What a status means at every provider."""
        status = reply.status
        if reply.ok:
            return None
        said = words(reply)
        if status == 429:
            return RateLimited(said)
        if status in (401, 403):
            return AuthFailed(said)
        if status == 408:
            return Unclear(said, "timeout")
        if 500 <= status < 600:
            return Unclear(said, "server")
        return BadAnswer("a redirect, not followed" if 300 <= status < 400 else said)

    def _tell(self, ticket: Ticket, reply: Reply | None, error: ProviderError | None) -> None:
        if isinstance(error, Throttled):
            self._limiter.refused(ticket, error.retry_after_seconds, error.threshold_seconds, error.blocks)
        elif isinstance(error, RateLimited):
            self._limiter.refused(ticket, error.retry_after_seconds)
        elif reply is None or reply.status >= 500:
            self._limiter.unanswered(ticket)
        elif reply.status == 429:
            self._limiter.refused(ticket, retry_hint(reply, self._clock.wall()))
        else:
            self._limiter.succeeded(ticket)

    def _observe(self, endpoint: Endpoint, seconds: float, outcome: str) -> None:
        labels = {**self._labels, "operation": endpoint.operation, "outcome": outcome}
        self._metrics.provider_requests_total.labels(**labels).inc()
        self._metrics.provider_request_duration_seconds.labels(**labels).observe(seconds)


def answered_at(reply: Reply, wall: datetime) -> datetime:
    """When an answer was made, which the moments that it names are measured from: by its own ``Date``, else the machine's clock, `wall`.

    Never by `Clock.now`. That may be hours behind on purpose, and seconds to wait would become hours.
    """
    told = _told(reply)
    return wall if told is None or told < NO_EARLIER else told


def _told(reply: Reply) -> datetime | None:
    # What a cache kept tells the time at which it was made.
    return None if "Age" in reply.headers else _moment(reply.headers.get("Date"))


def retry_hint(reply: Reply, wall: datetime, told: float | None = None) -> float | None:
    """When to try again, in seconds from the answer, by the later of ``Retry-After`` (seconds or a date) and what its body has
    `told`, else by ``X-RateLimit-Reset`` (epoch). `wall` is for an answer without a time of its own.

    Between 0 and an hour; None if there is no hint that makes sense.
    """
    after = _retry_after(reply, wall)
    hints = [*([] if after is None else [max(after, 0.0)]), *([] if told is None or told < 0 else [told])]
    if not hints and (reset := reset_hint(reply, wall)) is not None:
        hints = [reset]
    return min(max(hints), HINT_SECONDS_MAX) if hints else None


def reset_hint(reply: Reply, wall: datetime) -> float | None:
    """When a quota starts anew, in seconds from the answer, by ``X-RateLimit-Reset``; between 0 and 25 hours."""
    reset = _number(reply.headers.get("X-RateLimit-Reset"))
    if reset is None:
        return None
    # Some count in milliseconds, and some tell the seconds left instead of a moment.
    moment = reset / 1000 if reset > _EPOCH_MILLIS_MIN else reset
    left = moment - answered_at(reply, wall).timestamp() if moment > _EPOCH_MIN else moment
    return min(max(left, 0.0), QUOTA_SECONDS_MAX)


_EPOCH_MIN = 1e9
_EPOCH_MILLIS_MIN = 1e11


def _retry_after(reply: Reply, wall: datetime) -> float | None:
    value = reply.headers.get("Retry-After")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    moment = _moment(value)
    return None if moment is None else (moment - answered_at(reply, wall)).total_seconds()


def _moment(value: str | None) -> datetime | None:
    """An HTTP date."""
    try:
        moment = parsedate_to_datetime(value) if value is not None else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None and len(value) <= _NUMBER_CHARS_MAX else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_NUMBER_CHARS_MAX = 32


def words(reply: Reply) -> str:
    """What the provider says in an answer, as far as it is for people: its error fields, or its plain text."""
    try:
        said = msgspec.json.decode(reply.body)
    except (ValueError, RecursionError):
        text = reply.body[:_TEXT_BYTES_MAX].decode(errors="replace").strip()
        return "a page of HTML" if text.startswith("<") else text or "an empty body"
    if isinstance(said, dict):
        parts = [said[key] for key in ("error", "code", "msg", "message", "detail") if key in said]
        return "; ".join(part for part in parts if isinstance(part, str))
    return said if isinstance(said, str) else ""


_TEXT_BYTES_MAX = 2000


def _secrets(headers: Mapping[str, str], call: Call) -> Iterator[str]:
    for value in headers.values():
        yield value
        yield from value.split()
    yield from (call.form or {}).values()
    yield from call.hidden


def _sentence(call: Call, reply: Reply | None, text: str, hidden: tuple[str, ...]) -> str:
    what = f"{call.method} {call.path}" + ("" if reply is None else f": HTTP {reply.status}")
    return f"{what}: {clean(text, hidden)}" if text else what


def clean(text: str, hidden: tuple[str, ...] = ()) -> str:
    """Somebody else's text made fit for a log: one line, printable, short, without secrets or anything that
    looks like one."""
    for value in sorted(hidden, key=len, reverse=True):
        if len(value) >= _HIDDEN_MIN:
            text = text.replace(value, "***")
    text = _OPAQUE.sub("***", text)
    text = "".join(c if c.isprintable() else " " for c in text)
    text = _SPACES.sub(" ", text).strip()
    return text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 1] + "…"

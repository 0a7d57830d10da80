"""The transport's rules, over a pretended sender."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from shopperd.providers.contract import (
    GATE,
    AuthFailed,
    BadAnswer,
    InstanceNotFound,
    ProviderError,
    RateLimited,
    Refused,
    Unclear,
    Withheld,
)
from shopperd.providers.limiter import Blocks, Endpoint, Limiter, Published
from shopperd.providers.transport import (
    CHUNK_BYTES,
    UNDERSTOOD,
    WORDS_MAX,
    Call,
    HttpRequest,
    Reply,
    Throttled,
    Transport,
    Understood,
    clean,
    reset_hint,
    retry_hint,
    words,
)
from shopperd.settings import LimitSettings
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.senders import Answer, ListSender, Pieces

KEY = "sk-0123456789"
LIST = Call(Endpoint.LIST, "GET", "/api/v1/instances/", query={"limit": "25", "order_by": '[{"col":"id"}]'})
CREATE = Call(Endpoint.CREATE, "PUT", "/api/v0/asks/7/", json={"label": "shopper-1"}, hidden=("hunter22",))
LABELS = {"account": "main", "provider": "vastai"}


def nothing_special(reply: Reply) -> ProviderError | Understood | None:
    return None


def transport(clock: FakeClock, metrics: Metrics, *answers: Answer) -> tuple[Transport, ListSender, Limiter]:
    sender = ListSender(*answers)
    limiter = Limiter(clock, Published({Endpoint.LIST: 1.0}), LimitSettings(), metrics=metrics, **LABELS)
    subject = Transport(
        base_url="https://market.test/",
        sender=sender,
        limiter=limiter,
        headers=lambda: {"Authorization": f"Bearer {KEY}"},
        metrics=metrics,
        clock=clock,
        request_timeout=120.0,
        **LABELS,
    )
    return subject, sender, limiter


def body(value: object) -> bytes:
    return json.dumps(value).encode()


async def test_a_request_carries_what_the_call_says(clock: FakeClock, metrics: Metrics) -> None:
    subject, sender, _ = transport(clock, metrics, Reply(200, {}, b"[]"))
    reply = await subject.call(LIST, nothing_special)
    await subject.call(CREATE, nothing_special)
    await subject.call(
        Call(Endpoint.SHOW, "POST", "/form", form={"a": "1 2", "b": "&"}, timeout_seconds=3), nothing_special
    )
    get, put, post = sender.requests
    assert reply.body == b"[]"
    assert get.url == ("https://market.test/api/v1/instances/?limit=25&order_by=%5B%7B%22col%22%3A%22id%22%7D%5D")
    assert get.body is None
    assert "Content-Type" not in get.headers
    assert get.headers["Authorization"] == f"Bearer {KEY}"
    assert get.timeout_seconds == 120.0
    assert (put.method, put.body, put.headers["Content-Type"]) == (
        "PUT",
        b'{"label":"shopper-1"}',
        "application/json",
    )
    assert post.body == b"a=1+2&b=%26"
    assert post.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert post.timeout_seconds == 3


async def test_no_secret_is_in_a_repr(clock: FakeClock, metrics: Metrics) -> None:
    subject, sender, _ = transport(clock, metrics, Reply(200))
    await subject.call(Call(Endpoint.SHOW, "POST", "/x", form={"key": KEY}, hidden=(KEY,)), nothing_special)
    shown = repr(sender.requests) + repr(Call(Endpoint.SHOW, "POST", "/x", form={"k": KEY}, json={"k": KEY}))
    assert KEY not in shown
    assert KEY not in repr(Reply(200, {"k": KEY}, KEY.encode()))


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (301, BadAnswer, "bad_answer"),
        (308, BadAnswer, "bad_answer"),
        (304, BadAnswer, "bad_answer"),
        (400, BadAnswer, "bad_answer"),
        (401, AuthFailed, "auth"),
        (403, AuthFailed, "auth"),
        (404, BadAnswer, "bad_answer"),
        (408, Unclear, "timeout"),
        (418, BadAnswer, "bad_answer"),
        (429, RateLimited, "rate_limited"),
        (500, Unclear, "server"),
        (504, Unclear, "server"),
        (599, Unclear, "server"),
        (999, BadAnswer, "bad_answer"),
        (101, BadAnswer, "bad_answer"),
    ],
)
async def test_a_status_means_the_same_at_every_provider(
    clock: FakeClock, metrics: Metrics, status: int, error: type[ProviderError], outcome: str
) -> None:
    subject, sender, _ = transport(clock, metrics, Reply(status, {"Location": "https://evil.test/"}, b"words"))
    with pytest.raises(error) as caught:
        await subject.call(LIST, nothing_special)
    assert caught.value.outcome == outcome
    assert len(sender.requests) == 1
    assert (
        metrics.registry.get_sample_value(
            "shopperd_provider_requests_total",
            {**LABELS, "operation": "list_all_instances", "outcome": outcome},
        )
        == 1
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_a_2xx_is_an_answer(clock: FakeClock, metrics: Metrics, status: int) -> None:
    subject, _, _ = transport(clock, metrics, Reply(status))
    assert (await subject.call(LIST, nothing_special)).status == status


async def test_the_providers_own_words_come_before_the_general_rules(clock: FakeClock, metrics: Metrics) -> None:
    subject, _, _ = transport(clock, metrics, Reply(404))
    with pytest.raises(InstanceNotFound):
        await subject.call(LIST, lambda reply: InstanceNotFound("no_such_instance"))


async def test_an_answer_that_the_adapter_understands_is_one_whatever_its_status(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject, _, _ = transport(clock, metrics, Reply(400, {}, b'{"new_contract": 5}'))
    assert (await subject.call(CREATE, lambda reply: UNDERSTOOD)).status == 400


async def test_what_reading_raises_is_the_outcome_of_the_call(clock: FakeClock, metrics: Metrics) -> None:
    subject, _, _ = transport(clock, metrics, Reply(200, {}, b"{}"))

    def read(reply: Reply) -> int:
        raise BadAnswer("no list of instances")

    with pytest.raises(BadAnswer, match=r"^GET /api/v1/instances/: HTTP 200: no list of instances$"):
        await subject.fetch(LIST, nothing_special, read)
    labels = {**LABELS, "operation": "list_all_instances"}
    value = metrics.registry.get_sample_value
    assert value("shopperd_provider_requests_total", {**labels, "outcome": "bad_answer"}) == 1
    assert not value("shopperd_provider_requests_total", {**labels, "outcome": "ok"})


async def test_what_reading_gives_is_given_back(clock: FakeClock, metrics: Metrics) -> None:
    subject, _, _ = transport(clock, metrics, Reply(200, {}, b"12"))
    assert await subject.fetch(LIST, nothing_special, lambda reply: int(reply.body)) == 12


async def test_a_body_that_came_at_once_goes_through_the_intake_in_pieces(clock: FakeClock, metrics: Metrics) -> None:
    intake = Pieces()
    subject, _, _ = transport(clock, metrics, Reply(200, body=b"x" * (CHUNK_BYTES + 1)))
    assert (await subject.call(evolve(LIST, intake=intake), nothing_special)).body == b"left"
    assert [len(piece) for piece in intake.fed] == [CHUNK_BYTES, 1]


@pytest.mark.parametrize("reply", [Reply(200, body=b"left", taken=True), Reply(503, body=b"busy")])
async def test_a_body_goes_through_the_intake_once_and_only_if_it_is_an_answer(
    clock: FakeClock, metrics: Metrics, reply: Reply
) -> None:
    intake = Pieces()
    subject, _, _ = transport(clock, metrics, reply)
    answer = await subject.call(evolve(LIST, intake=intake), lambda reply: UNDERSTOOD)
    assert (answer, intake.fed) == (reply, [])


async def test_a_call_waits_for_its_turn_and_the_request_alone_is_timed(clock: FakeClock, metrics: Metrics) -> None:
    def slow(request: object) -> Reply:
        clock.advance(0.25)
        return Reply(200)

    subject, _, _ = transport(clock, metrics, slow)
    await subject.call(LIST, nothing_special)
    await subject.call(LIST, nothing_special)
    value = metrics.registry.get_sample_value
    labels = {**LABELS, "operation": "list_all_instances", "outcome": "ok"}
    assert value("shopperd_provider_request_duration_seconds_sum", labels) == pytest.approx(0.5)
    waited = value("shopperd_ratelimit_wait_seconds_sum", {**LABELS, "endpoint": "list"})
    assert waited == pytest.approx(1.0 - 0.25)


async def test_a_refusal_for_frequency_is_told_to_the_limiter(clock: FakeClock, metrics: Metrics) -> None:
    subject, _, limiter = transport(clock, metrics, Reply(429, {"retry-after": "40"}))
    with pytest.raises(RateLimited) as caught:
        await subject.call(LIST, nothing_special)
    assert caught.value.retry_after_seconds == 40
    assert limiter.blocked_seconds(Endpoint.LIST) > 40
    assert limiter.blocked_seconds(Endpoint.SHOW) == 0


async def test_a_refusal_in_an_answers_body_is_repeated_when_its_header_says(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject, _, limiter = transport(clock, metrics, Reply(200, {"Retry-After": "40"}, b'{"status": 429}'))
    with pytest.raises(RateLimited) as caught:
        await subject.call(LIST, lambda _reply: RateLimited("too fast", cause="body"))
    assert caught.value.retry_after_seconds == 40.0
    assert limiter.blocked_seconds(Endpoint.LIST) >= 40.0


async def test_what_a_provider_knows_of_its_refusal_is_told_to_the_limiter_too(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject, _, limiter = transport(clock, metrics, Reply(200))
    error = Throttled("too frequent", threshold_seconds=9.0, blocks=Blocks.ENDPOINT)
    with pytest.raises(Throttled):
        await subject.call(LIST, lambda reply: error)
    assert limiter.interval_seconds(Endpoint.LIST) == 9.0


async def test_a_429_that_is_an_answer_all_the_same_slows_down(clock: FakeClock, metrics: Metrics) -> None:
    subject, _, limiter = transport(clock, metrics, Reply(429))
    await subject.call(CREATE, lambda reply: UNDERSTOOD)
    assert limiter.blocked_seconds(Endpoint.CREATE) >= 1.0


LATER_PAGE = evolve(LIST, repeats=True)


async def test_a_later_page_that_is_refused_for_its_frequency_is_asked_for_again(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject, sender, _ = transport(clock, metrics, Reply(429, {"retry-after": "40"}), Reply(200, {}, b"[]"))
    reply = await subject.call(LATER_PAGE, nothing_special)
    assert (reply.body, len(sender.requests)) == (b"[]", 2)
    assert clock.monotonic() > 40.0


async def test_a_later_page_is_given_up_when_its_next_turn_would_come_too_late(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject, sender, _ = transport(clock, metrics, Reply(429, {"retry-after": "50"}))
    with pytest.raises(RateLimited):
        await subject.call(LATER_PAGE, nothing_special)
    assert len(sender.requests) == 3
    assert clock.monotonic() < 120.0


async def test_a_gate_that_holds_a_call_up_after_its_turn_moves_those_behind_it(
    clock: FakeClock, metrics: Metrics
) -> None:
    sent: list[float] = []

    def noted(request: HttpRequest) -> Reply:
        sent.append(clock.monotonic())
        return Reply(200)

    subject, _, _ = transport(clock, metrics, noted)

    async def held() -> None:
        await clock.sleep(20.0 if not sent else 0.0)

    gate = GATE.set(held)
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(subject.call(LIST, nothing_special))
    GATE.reset(gate)
    assert sent[0] == 20.0
    assert sent[1] - sent[0] >= 0.95
    assert sent[2] - sent[1] >= 0.95


async def test_a_gate_that_says_no_gives_the_turn_back(clock: FakeClock, metrics: Metrics) -> None:
    subject, sender, _ = transport(clock, metrics, Reply(200))

    async def shut() -> None:
        raise Withheld("frozen")

    gate = GATE.set(shut)
    with pytest.raises(Withheld):
        await subject.call(LIST, nothing_special)
    GATE.reset(gate)
    await subject.call(LIST, nothing_special)
    assert (clock.monotonic(), len(sender.requests)) == (0.0, 1)


async def test_after_an_outage_has_lasted_calls_are_held_back_but_never_destroys(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject, sender, _ = transport(clock, metrics, Unclear("no answer within 120 s", "timeout"))
    for _ in range(5):
        with pytest.raises(Unclear, match="no answer"):
            await subject.call(LIST, nothing_special)
    assert metrics.registry.get_sample_value("shopperd_breaker_open", LABELS) == 1.0
    with pytest.raises(Unclear, match="not sent") as caught:
        await subject.call(LIST, nothing_special)
    assert caught.value.outcome == "breaker"
    with pytest.raises(Withheld, match="not sent"):
        await subject.call(CREATE, nothing_special)
    assert len(sender.requests) == 5
    sender.answers = [Reply(200)]
    await subject.call(Call(Endpoint.DESTROY, "DELETE", "/api/v0/instances/7/"), nothing_special)
    assert metrics.registry.get_sample_value("shopperd_breaker_open", LABELS) == 0.0
    await subject.call(LIST, nothing_special)


async def test_an_error_of_the_sender_is_counted_and_teaches_the_limiter_nothing(
    clock: FakeClock, metrics: Metrics
) -> None:
    subject, _, limiter = transport(clock, metrics, Unclear("no answer within 120 s", "timeout"))
    with pytest.raises(Unclear, match=r"^PUT /api/v0/asks/7/: no answer within 120 s$"):
        await subject.call(CREATE, nothing_special)
    assert limiter.blocked_seconds(Endpoint.CREATE) == 0
    labels = {**LABELS, "operation": "create_instance", "outcome": "timeout"}
    assert metrics.registry.get_sample_value("shopperd_provider_requests_total", labels) == 1


async def test_an_error_tells_what_was_asked_and_the_providers_words_but_no_secret(
    clock: FakeClock, metrics: Metrics
) -> None:
    said = {
        "error": "bad_request",
        "msg": f"key {KEY} and env hunter22 are\n\n wrong \x1b[31m" + "A1" * 20,
        "instance_api_key": "k" * 64,
    }
    subject, _, _ = transport(clock, metrics, Reply(418, {}, body(said)))
    with pytest.raises(BadAnswer) as caught:
        await subject.call(CREATE, nothing_special)
    text = str(caught.value)
    assert text == "PUT /api/v0/asks/7/: HTTP 418: bad_request; key *** and env *** are wrong [***"
    with pytest.raises(BadAnswer) as caught:
        await subject.call(LIST, nothing_special)
    assert "limit=25" not in str(caught.value)


async def test_an_error_keeps_its_own_facts(clock: FakeClock, metrics: Metrics) -> None:
    subject, _, _ = transport(clock, metrics, Reply(400))
    with pytest.raises(Refused) as caught:
        await subject.call(CREATE, lambda reply: Refused("no money", "insufficient_credit"))
    assert caught.value.code == "insufficient_credit"


async def test_closing_closes_the_sender(clock: FakeClock, metrics: Metrics) -> None:
    subject, sender, _ = transport(clock, metrics, Reply(200))
    await subject.close()
    assert sender.closed


# Hints in headers.


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After": " 3 "}, 3.0),
        ({"Retry-After": "-4"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "Sun, 99 Foo 20x6 22:00:00 GMT"}, None),
        ({"Retry-After": "315360000"}, 3600.0),
        ({"X-RateLimit-Reset": "1795384830"}, 30.0),
        ({"X-RateLimit-Reset": "1795384830000"}, 30.0),
        ({"X-RateLimit-Reset": "45"}, 45.0),
        ({"X-RateLimit-Reset": "1795380000"}, 0.0),
        ({"Retry-After": "5", "X-RateLimit-Reset": "1795384830"}, 5.0),
        ({"Retry-After": "?", "X-RateLimit-Reset": "1795384830"}, 30.0),
    ],
)
def test_hints_are_read_in_every_form_and_bounded(
    clock: FakeClock, headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_hint(Reply(429, headers), clock.now()) == seconds


@pytest.mark.parametrize(
    ("headers", "told", "seconds"),
    [
        ({"Retry-After": "60"}, 1.0, 60.0),
        ({"Retry-After": "1"}, 60.0, 60.0),
        ({}, 9.5, 9.5),
        ({}, 1e9, 3600.0),
        ({}, -5.0, None),
        ({"Retry-After": "7"}, -5.0, 7.0),
        ({"X-RateLimit-Reset": "45"}, 2.0, 2.0),
        ({"X-RateLimit-Reset": "45"}, -2.0, 45.0),
    ],
)
def test_the_later_of_two_hints_is_gone_by(
    clock: FakeClock, headers: dict[str, str], told: float, seconds: float | None
) -> None:
    assert retry_hint(Reply(429, headers), clock.now(), told) == seconds


def test_a_date_is_a_hint_too(clock: FakeClock) -> None:
    for ahead, seconds in ((90, 90.0), (-90, 0.0), (10**8, 3600.0)):
        date = format_datetime(clock.now() + timedelta(seconds=ahead), usegmt=True)
        assert retry_hint(Reply(429, {"Retry-After": date}), clock.now()) == seconds


def http(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


THREE_HOURS = timedelta(hours=3)


def hints(answered: datetime, **told: str) -> list[dict[str, str]]:
    """Headers that name the moment two seconds after an answer, in each form."""
    moment = answered + timedelta(seconds=2)
    return [{"Retry-After": http(moment), **told}, {"X-RateLimit-Reset": str(int(moment.timestamp())), **told}]


@pytest.mark.parametrize("off", [THREE_HOURS, -THREE_HOURS])
def test_a_moment_is_measured_from_the_time_that_its_answer_tells(clock: FakeClock, off: timedelta) -> None:
    answered = clock.now() + off
    for headers in hints(answered, Date=http(answered)):
        assert retry_hint(Reply(429, headers), clock.now()) == 2.0
    assert reset_hint(Reply(429, hints(answered, Date=http(answered))[1]), clock.now()) == 2.0


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"Date": "yesterday"},
        {"Date": "Thu, 01 Jan 1970 00:00:05 GMT"},
        {"Date": "Sun, 22 Nov 2026 20:00:00 GMT", "Age": "7200"},
    ],
)
def test_a_moment_in_an_answer_without_a_time_of_its_own_is_measured_from_the_machines(
    clock: FakeClock, told: dict[str, str]
) -> None:
    for headers in hints(clock.now(), **told):
        assert retry_hint(Reply(429, headers), clock.now()) == 2.0


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("dated", [True, False])
async def test_a_time_that_stayed_behind_the_machines_makes_no_hint_longer(
    clock: FakeClock, metrics: Metrics, form: int, dated: bool
) -> None:
    clock.jumped_seconds = THREE_HOURS.total_seconds()
    told = {"Date": http(clock.wall())} if dated else {}
    subject, _, limiter = transport(clock, metrics, Reply(429, hints(clock.wall(), **told)[form]), Reply(200))
    with pytest.raises(RateLimited) as caught:
        await subject.call(LIST, nothing_special)
    assert caught.value.retry_after_seconds == 2.0
    assert limiter.blocked_seconds(Endpoint.LIST) < 10.0


@given(
    st.text(max_size=60) | st.datetimes().map(format_datetime),
    st.text(max_size=60) | st.datetimes().map(format_datetime),
)
def test_no_hint_is_too_strange_to_read(value: str, date: str) -> None:
    headers = {"Retry-After": value, "X-RateLimit-Reset": value, "Date": date}
    hint = retry_hint(Reply(429, headers), FakeClock().now())
    assert hint is None or 0.0 <= hint <= 3600.0
    again = reset_hint(Reply(429, {"X-RateLimit-Reset": "1795384830", "Date": date}), FakeClock().now())
    assert again is not None
    assert 0.0 <= again <= 25 * 3600.0


# Words.


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "an empty body"),
        (b"  <html><body>502</body></html>", "a page of HTML"),
        (b"API requests too frequent", "API requests too frequent"),
        (b'"plain"', "plain"),
        (b"[1,2]", ""),
        (b'{"error": true, "status_code": 400, "msg": "no credit"}', "no credit"),
        (b'{"message": "too many", "code": "429 Too Many Requests"}', "429 Too Many Requests; too many"),
        (b"\xff\xfe", "��"),
        (b"[" * 100_000, "[" * 2000),
    ],
)
def test_the_words_of_an_answer_are_found_in_every_shape(answer: bytes, text: str) -> None:
    assert words(Reply(400, {}, answer)) == text


@given(st.text(), st.lists(st.text(min_size=4), max_size=3))
def test_a_cleaned_text_is_short_printable_and_without_the_hidden_values(text: str, hidden: list[str]) -> None:
    cleaned = clean(text, tuple(hidden))
    assert len(cleaned) <= WORDS_MAX
    assert cleaned.isprintable() or not cleaned


# The gate.


async def test_a_call_whose_turn_has_come_can_still_be_withheld(clock: FakeClock, metrics: Metrics) -> None:
    subject, sender, _ = transport(clock, metrics, Reply(200))
    await subject.call(LIST, nothing_special)
    asked: list[float] = []

    async def refuse() -> None:
        asked.append(clock.monotonic())
        raise Withheld("frozen meanwhile")

    gate = GATE.set(refuse)
    try:
        with pytest.raises(Withheld):
            await subject.call(LIST, nothing_special)
    finally:
        GATE.reset(gate)
    assert asked == [1.0]
    assert len(sender.requests) == 1


@pytest.mark.parametrize("endpoint", [Endpoint.CREATE, Endpoint.DESTROY])
async def test_a_call_whose_gate_is_overtaken_by_a_refusal_is_not_sent_in_that_turn(
    clock: FakeClock, metrics: Metrics, endpoint: Endpoint
) -> None:
    subject, sender, limiter = transport(clock, metrics, Reply(200))
    other, asked = await limiter.wait(Endpoint.LIST), []
    limiter.sent(other)

    async def agree() -> None:
        asked.append(clock.monotonic())
        if len(asked) == 1:
            limiter.refused(other, retry_after_seconds=30.0, blocks=Blocks.ACCOUNT)

    gate = GATE.set(agree)
    try:
        change = subject.call(Call(endpoint, "PUT", "/api/v0/asks/1/"), nothing_special)
        if endpoint is Endpoint.CREATE:
            with pytest.raises(Withheld, match="refused for its frequency"):
                await change
            assert (asked, sender.requests) == ([0.0], [])
        else:
            await change
            assert len(sender.requests) == 1
            assert asked[1] >= 30.0
    finally:
        GATE.reset(gate)


async def test_a_gate_that_is_open_lets_its_call_pass(clock: FakeClock, metrics: Metrics) -> None:
    subject, sender, _ = transport(clock, metrics, Reply(200))

    async def agree() -> None:
        assert sender.requests == []

    gate = GATE.set(agree)
    try:
        await subject.call(LIST, nothing_special)
    finally:
        GATE.reset(gate)
    assert len(sender.requests) == 1


@pytest.mark.parametrize(
    ("headers", "heard"),
    [
        ({"Date": "Sun, 22 Nov 2026 20:00:00 GMT"}, [datetime(2026, 11, 22, 20, tzinfo=UTC)]),
        ({"Date": "Sun, 22 Nov 2026 20:00:00 GMT", "Age": "7200"}, []),
        ({"Date": "yesterday"}, []),
        ({}, []),
    ],
)
async def test_the_clock_hears_the_time_that_an_answer_tells_unless_a_cache_kept_it(
    clock: FakeClock, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], heard: list[datetime]
) -> None:
    subject, _, _ = transport(clock, metrics, Reply(200, headers))
    told: list[datetime] = []
    monkeypatch.setattr(clock, "heard", lambda moment: told.append(moment) or 0.0)
    await subject.call(LIST, nothing_special)
    assert told == heard


async def test_an_answer_of_the_end_of_all_times_is_an_answer(clock: FakeClock, metrics: Metrics) -> None:
    def slowly(request: HttpRequest) -> Reply:
        clock.advance(2.0)
        return Reply(200, {"Date": "Fri, 31 Dec 9999 23:59:59 GMT"}, b'{"new_contract": 7}')

    subject, _, _ = transport(clock, metrics, slowly)
    assert (await subject.call(CREATE, nothing_special)).body == b'{"new_contract": 7}'


@pytest.mark.parametrize("status", [200, 302, 429, 502])
async def test_the_clock_does_not_hear_the_time_of_an_answer_that_is_none_of_the_providers(
    clock: FakeClock, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    page = Reply(status, {"Date": "Sun, 22 Nov 2026 20:00:00 GMT"}, b"<html>Please log in to this network</html>")
    subject, _, _ = transport(clock, metrics, page)
    told: list[datetime] = []
    monkeypatch.setattr(clock, "heard", lambda moment: told.append(moment) or 0.0)

    def read(reply: Reply) -> None:
        raise BadAnswer("a page of HTML")

    with pytest.raises(ProviderError):
        await subject.fetch(LIST, nothing_special, read)
    assert told == []

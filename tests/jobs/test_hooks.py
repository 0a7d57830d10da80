"""A hook's job against a receiver that takes, refuses, hears nothing, and against a store that does not take its place."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection
from structlog.testing import capture_logs

from shopperd.jobs.courier import Answer, answer_of, body_of, headers_of, signature
from shopperd.jobs.hooks import HookJob
from shopperd.jobs.housekeeping import HousekeepingJob
from shopperd.jobs.knowledge import append
from shopperd.jobs.outbox import WINDOW
from shopperd.model import Event
from shopperd.secrets import Secret
from shopperd.settings import HookSettings, SecretSource
from shopperd.store import Store, StoreError, events, hooks
from shopperd.store.hooks import Place
from shopperd.telemetry import Metrics
from shopperd.web.answers import event_answer
from tests.clocks import FakeClock
from tests.jobs.desk import Desk, make_desk

CI = HookSettings("ci", "https://ci.example/url-canary", SecretSource(env="HOOK"), events=("session.*",))
SECRET = "a-secret-canary-of-a-hook"
OK = answer_of(200)


@define
class Receiver:
    """Answers as it is told, else takes everything."""

    answers: deque[Answer] = field(factory=deque)
    asked: list[int] = field(factory=list)
    taken: list[int] = field(factory=list)
    timestamps: list[int] = field(factory=list)
    before_answer: Callable[[int], object] = lambda _: None

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        number = int(headers["Shopperd-Delivery"])
        self.asked.append(number)
        self.timestamps.append(int(headers["Shopperd-Timestamp"]))
        self.before_answer(number)
        answer = self.answers.popleft() if self.answers else OK
        if answer.outcome == "ok":
            self.taken.append(number)
        return answer

    async def close(self) -> None:
        pass


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def job(desk: Desk, receiver: Receiver) -> HookJob:
    return hook_of(desk, receiver)


def hook_of(desk: Desk, receiver: Receiver) -> HookJob:
    return HookJob(desk.context, CI, Secret(CI.secret, {"HOOK": SECRET}), courier=receiver)


def tell(desk: Desk, session: int = 1, kind: str = "session.moved") -> int:
    """Write an event; its number."""
    return desk.store.run_sync(append, desk.clock.now(), kind, "It moved.", "main", UUID(int=session)).id


def value(desk: Desk, name: str, *labels: str) -> float:
    return float(getattr(desk.context.metrics, name).labels("ci", *labels)._value.get())


def place(desk: Desk) -> Place:
    return desk.store.run_sync(hooks.begin, "ci")


async def test_a_new_hook_begins_with_what_happens_from_then_on(desk: Desk, job: HookJob, receiver: Receiver) -> None:
    tell(desk)
    await job.begin()
    news = [tell(desk), tell(desk, 2)]
    report = await job.run()
    assert receiver.taken == news
    assert (report.ok, report.again_in_seconds, report.idle) == (True, None, False)
    assert (await job.run()).idle
    assert place(desk) == Place(news[-1])


async def test_one_that_was_there_goes_on_where_it_was(desk: Desk, receiver: Receiver) -> None:
    await hook_of(desk, receiver).begin()
    missed = tell(desk)
    await hook_of(desk, receiver).run()
    assert receiver.taken == [missed]


async def test_a_refused_event_is_sent_again_and_holds_its_own_session_alone(
    desk: Desk, job: HookJob, receiver: Receiver
) -> None:
    await job.begin()
    first, second, other = tell(desk), tell(desk), tell(desk, 2)
    receiver.answers.extend([answer_of(500)])
    report = await job.run()
    assert receiver.taken == [other]
    assert report.again_in_seconds is not None
    assert not report.ok
    assert place(desk) == Place(first - 1, (other,))
    assert value(desk, "hook_deliveries_total", "server") == 1
    desk.clock.advance(report.again_in_seconds)
    assert (await job.run()).ok
    assert receiver.taken == [other, first, second]
    assert place(desk) == Place(other)


async def test_gauges_tell_what_waits_and_since_when(desk: Desk, job: HookJob, receiver: Receiver) -> None:
    await job.begin()
    tell(desk), tell(desk)
    desk.clock.advance(7200.0)
    receiver.answers.append(Answer("timeout", "no answer", unheard=True))
    await job.run()
    assert (value(desk, "hook_pending"), value(desk, "hook_oldest_age_seconds")) == (2, 7200)
    desk.clock.advance(2.0)
    await job.run()
    assert (value(desk, "hook_pending"), value(desk, "hook_oldest_age_seconds")) == (0, 0)


async def test_all_that_waits_is_counted_and_not_too_often(desk: Desk, job: HookJob, receiver: Receiver) -> None:
    await job.begin()
    desk.store.run_sync(_tell_often, WINDOW + 500)
    receiver.answers += [Answer("timeout", "no answer", unheard=True)] * 3
    await job.run()
    assert value(desk, "hook_pending") == WINDOW + 500
    tell(desk)
    await job.run()
    assert value(desk, "hook_pending") == WINDOW + 500, "it was counted just now"
    desk.clock.advance(60.0)
    await job.run()
    assert value(desk, "hook_pending") == WINDOW + 501


def _tell_often(conn: Connection, times: int) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    for number in range(times):
        append(conn, now, "session.moved", "It moved.", "main", UUID(int=number % 7))


async def test_a_place_that_the_store_does_not_take_is_kept_in_memory(
    desk: Desk, job: HookJob, receiver: Receiver
) -> None:
    await job.begin()
    numbers = [tell(desk), tell(desk, 2)]
    desk.wilful.refuses = {"keep"}
    for _ in range(3):
        with pytest.raises(StoreError):
            await job.run()
    assert receiver.taken == numbers[:1], "and nothing else is sent that might be sent again"
    desk.wilful.refuses = set()
    await job.run()
    assert receiver.taken == numbers
    assert place(desk) == Place(numbers[-1])


async def test_a_receiver_that_is_gone_is_told_loudly_and_left_alone(
    desk: Desk, job: HookJob, receiver: Receiver
) -> None:
    await job.begin()
    number = tell(desk)
    receiver.answers.append(answer_of(410))
    with capture_logs() as logs:
        report = await job.run()
    assert [(line["event"], line["log_level"]) for line in logs] == [("hook.gone", "error")]
    assert not report.ok
    await job.run()
    assert receiver.asked == [number]
    assert value(desk, "hook_pending") == 1
    await hook_of(desk, receiver).run()
    assert receiver.taken == [number], "after a restart it is tried once more"


async def test_what_retention_deletes_before_it_was_sent_is_told_and_counted(
    desk: Desk, job: HookJob, receiver: Receiver
) -> None:
    await job.begin()
    tell(desk), tell(desk), tell(desk, kind="account.trusted")
    receiver.answers.append(answer_of(503))
    await job.run()
    desk.clock.advance(desk.context.settings.store.keep_events + 1)
    kept = tell(desk)
    with capture_logs() as logs:
        await HousekeepingJob(evolve(desk.context, store=desk.store), {"ci": job}).run()
    assert [line["count"] for line in logs if line["event"] == "hook.lost"] == [2]
    assert value(desk, "hook_deliveries_total", "lost") == 2
    await job.run()
    assert receiver.taken == [kept]


async def test_a_session_that_is_never_taken_stops_no_other_for_all_that_else_happens(
    desk: Desk, job: HookJob, receiver: Receiver
) -> None:
    await job.begin()
    tell(desk)
    receiver.answers.append(answer_of(400))
    await job.run()
    for _ in range(WINDOW + 1):
        tell(desk, kind="destroy.requested")
    other = tell(desk, 2)
    await job.run()
    assert receiver.taken == [other]


async def test_more_than_is_looked_at_in_one_go_is_sent_in_one_run(
    desk: Desk, job: HookJob, receiver: Receiver
) -> None:
    await job.begin()
    numbers = [tell(desk) for _ in range(WINDOW + 1)]
    await job.run()
    assert receiver.taken == numbers


async def test_nothing_is_sent_without_the_right_to_act(desk: Desk, job: HookJob, receiver: Receiver) -> None:
    await job.begin()
    tell(desk)
    desk.context.acts_until = desk.clock.monotonic()
    report = await job.run()
    assert (receiver.asked, report.again_in_seconds) == ([], None)


async def test_one_that_is_out_of_service_begins_no_other_delivery(
    desk: Desk, job: HookJob, receiver: Receiver
) -> None:
    await job.begin()
    first, _ = tell(desk), tell(desk, 2)
    receiver.before_answer = lambda _: setattr(job, "retired", True)
    await job.run()
    await job.close()
    assert receiver.taken == [first]
    assert place(desk) == Place(first)


def test_the_signature_is_that_of_any_other_hmac_sha256() -> None:
    # printf '1700000000.{"version":1}' | openssl dgst -sha256 -hmac a-secret-canary-of-a-hook
    assert (
        signature(SECRET, "1700000000", b'{"version":1}')
        == "v1=b7e75f877d79f7ea74b8218a640365309d2b97d7574a5b0259ec4d2585d2cd64"
    )


def test_a_delivery_carries_the_event_as_the_api_tells_it(desk: Desk) -> None:
    number = tell(desk)
    (event,) = desk.store.run_sync(events.page, after=number - 1)
    body = body_of(event, "prod")
    assert msgspec.json.decode(body) == {
        "version": 1,
        "deployment": "prod",
        "event": msgspec.json.decode(msgspec.json.encode(event_answer(event))),
    }
    headers = headers_of(event, SECRET, "1700000000", body)
    assert headers["Shopperd-Event"] == "session.moved"
    assert headers["Shopperd-Delivery"] == str(number)
    assert headers["Shopperd-Signature"] == signature(SECRET, headers["Shopperd-Timestamp"], body)


async def test_a_delivery_is_signed_with_the_machines_time_also_while_ours_stayed_behind(
    desk: Desk, job: HookJob, receiver: Receiver
) -> None:
    await job.begin()
    desk.clock.jumped_seconds = 3 * 3600.0
    tell(desk)
    await job.run()
    assert receiver.timestamps == [int(desk.clock.now().timestamp()) + 3 * 3600]


def test_neither_secret_nor_path_is_in_what_a_job_shows_of_itself(job: HookJob) -> None:
    assert "canary" not in f"{job!r} {job}"


@pytest.mark.parametrize(
    ("status", "outcome", "unheard"),
    [
        (200, "ok", False),
        (204, "ok", False),
        (302, "refused", False),
        (404, "refused", False),
        (410, "gone", False),
        (429, "server", True),
        (500, "server", False),
        (503, "server", True),
    ],
)
def test_an_answer_is_judged_by_its_status_alone(status: int, outcome: str, unheard: bool) -> None:
    answer = answer_of(status)
    assert (answer.outcome, answer.unheard) == (outcome, unheard)


ANSWERS = [OK, OK, answer_of(500), answer_of(503), Answer("timeout", "no answer", unheard=True)]
STEPS = st.one_of(
    st.tuples(st.just("tell"), st.integers(1, 4), st.sampled_from(["session.moved", "account.trusted"])),
    st.tuples(st.just("run"), st.lists(st.sampled_from(ANSWERS), max_size=6), st.booleans()),
    st.tuples(st.just("crash"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 400.0])),
)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_whatever_fails_every_event_arrives_and_those_of_a_session_in_order(steps: list[tuple[object, ...]]) -> None:
    asyncio.run(_live_through(steps))


async def _live_through(steps: list[tuple[object, ...]]) -> None:
    clock = FakeClock()
    store = Store.open("sqlite://", clock=clock, inline=True)
    with capture_logs():
        desk, receiver, crashes = make_desk(store, clock, Metrics(CollectorRegistry())), Receiver(), 0
        job = hook_of(desk, receiver)
        await job.begin()
        for step in steps:
            match step:
                case ("tell", int(session), str(kind)):
                    tell(desk, session, kind)
                case ("run", list(answers), bool(store_fails)):
                    receiver.answers = deque(answers)
                    desk.wilful.refuses = {"keep"} if store_fails else set()
                    with contextlib.suppress(StoreError):
                        await job.run()
                case ("crash", int(after)):
                    await _crash(desk, job, receiver, after)
                    crashes += 1
                    job = hook_of(desk, receiver)
                case ("wait", float(seconds)):
                    clock.advance(seconds)
        receiver.answers.clear()
        desk.wilful.refuses = set()
        for _ in range(100):
            clock.advance(400.0)
            await job.run()
            if place(desk) == Place(store.run_sync(events.last_id)):
                break
    trail = store.run_sync(events.page, limit=1000)
    _judge(trail, receiver, crashes)
    assert place(desk) == Place(store.run_sync(events.last_id))
    store.close_sync()


async def _crash(desk: Desk, job: HookJob, receiver: Receiver, after: int) -> None:
    """Cut a run off at a delivery: the receiver has it, and the process dies before it hears so."""
    count = len(receiver.asked) + after

    def die(number: int) -> None:
        if len(receiver.asked) > count:
            receiver.taken.append(number)
            raise asyncio.CancelledError

    receiver.before_answer, receiver.answers = die, deque()
    desk.wilful.refuses = set()
    with contextlib.suppress(asyncio.CancelledError):
        await job.run()
    receiver.before_answer = lambda _: None


def _judge(trail: list[Event], receiver: Receiver, crashes: int) -> None:
    wanted = [event for event in trail if event.kind == "session.moved"]
    assert set(receiver.taken) == {event.id for event in wanted}
    for session in {event.session_id for event in wanted}:
        own = [event.id for event in wanted if event.session_id == session]
        firsts = list(dict.fromkeys(number for number in receiver.taken if number in own))
        assert firsts == own
    # What a crash, or the store before one, kept from being recorded is sent again, and nothing else is.
    assert len(receiver.taken) - len(wanted) <= 2 * crashes

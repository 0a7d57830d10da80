"""What a job does with a provider that fails, lies or is slow: one run at a time, in front of a real store."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from shopperd.control import Wish
from shopperd.daemon import take_up
from shopperd.jobs.context import Context
from shopperd.jobs.creates import RECORD_AGAIN_SECONDS, CreatesJob
from shopperd.jobs.destroys import BLIND_LOOKS_MAX, DestroysJob
from shopperd.jobs.knowledge import FROZEN_KEY
from shopperd.jobs.status import StatusJob
from shopperd.jobs.sweep import SweepJob, observing_key
from shopperd.model import (
    CreateOutcome,
    DestroyJob,
    HoldReason,
    Instance,
    OrphanPhase,
    Session,
    SessionState,
    Spec,
    Track,
)
from shopperd.providers.contract import (
    AuthFailed,
    BadAnswer,
    InstanceNotFound,
    RateLimited,
    Refused,
    Unclear,
)
from shopperd.store import Binding, Store, StoreFull, destroys, events, instances, memory, meta, sessions
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.mutants.marketplace import ACCOUNT, Bench

SWEEP_SECONDS = 120.0
NO_ANSWER = Unclear("no answer", "timeout")


@pytest.fixture
def store(clock: FakeClock) -> Iterator[Store]:
    store = Store.open("sqlite://", clock=clock, inline=True)
    yield store
    store.close_sync()


@pytest.fixture
def bench(store: Store, clock: FakeClock, metrics: Metrics) -> Bench:
    return Bench.build(store, clock, metrics)


# --- short ways -------------------------------------------------------------------------------------------------------


async def look(bench: Bench, times: int = 1) -> None:
    """Listings of the status job, twenty seconds apart."""
    job = StatusJob(bench.context, bench.at)
    for _ in range(times):
        bench.clock.advance(20.0)
        await job.run()


async def sweep(bench: Bench, times: int = 1, every: float = SWEEP_SECONDS) -> None:
    for _ in range(times):
        bench.clock.advance(every)
        await SweepJob(bench.context, bench.at).run()


async def running(bench: Bench, number: int = 1) -> Session:
    """A session whose machine, of the same number, has been seen."""
    session = bench.deployment.session(number, instance_id=str(number))
    bench.market.add(str(number), session.id)
    await look(bench)
    return session


async def ending(bench: Bench, number: int = 1) -> Session:
    """The same, ended by command: its destroy is recorded, and due."""
    session = await running(bench, number)
    return await bench.control.end(session.id, "test")


async def orphans(bench: Bench, count: int) -> None:
    """So many machines of sessions that are over, every one of them ripe but for one sweep."""
    for number in range(1, count + 1):
        session = bench.deployment.session(number, state=SessionState.ENDED, ended_at=bench.now())
        bench.market.add(str(number), session.id, price_per_hour=number / 10)
    bench.rules(max_destroys_per_sweep=0, max_share_per_sweep=0.0)
    await sweep(bench, 6)
    bench.rules(max_destroys_per_sweep=3)


async def destroy(bench: Bench) -> None:
    """One run, of a job that remembers nothing of an earlier one."""
    await DestroysJob(bench.context, bench.at).run()


def open_jobs(bench: Bench) -> list[DestroyJob]:
    return bench.store.run_sync(destroys.open_jobs, ACCOUNT)


def job_of(bench: Bench, id_: str = "1") -> DestroyJob:
    found = bench.store.run_sync(destroys.for_instance, ACCOUNT, id_)
    assert found is not None
    return found


def track_of(bench: Bench, id_: str = "1") -> Track:
    found = bench.store.run_sync(instances.get, ACCOUNT, id_)
    assert found is not None
    return found


def session_of(bench: Bench, id_: UUID) -> Session:
    found = bench.store.run_sync(sessions.get, id_)
    assert found is not None
    return found


def freeze_in_the_store(bench: Bench) -> None:
    """As another process would: this one has not been told."""
    bench.store.run_sync(meta.put, FROZEN_KEY, {"reason": "test", "at": bench.now().isoformat()})


def kinds(bench: Bench) -> list[str]:
    return [event.kind for event in bench.store.run_sync(events.page, limit=1000)]


# --- destroys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [None, InstanceNotFound("no_such_instance"), Refused("not now"), NO_ANSWER, AuthFailed("a bad key")],
    ids=lambda answer: type(answer).__name__,
)
async def test_no_answer_to_a_destroy_closes_its_job(bench: Bench, answer: Exception | None) -> None:
    await ending(bench)
    bench.market.destroys = answer
    await destroy(bench)
    assert bench.market.asked("destroy") == ["1"]
    assert [job.instance_id for job in open_jobs(bench)] == ["1"]


async def test_a_destroy_is_over_when_listings_miss_its_machine_and_a_single_read_knows_none(bench: Bench) -> None:
    session = await ending(bench)
    bench.market.add("2")
    await destroy(bench)
    await look(bench, 4)
    assert open_jobs(bench) == []
    assert session_of(bench, session.id).state is SessionState.ENDED


async def test_a_destroy_goes_out_while_nothing_else_of_the_provider_answers(bench: Bench) -> None:
    await ending(bench)
    bench.market.listing = Unclear("down", "server")
    await look(bench, 3)
    await destroy(bench)
    assert bench.market.asked("destroy") == ["1"]


async def test_a_destroy_that_fails_is_tried_for_ever_and_ever_more_slowly(bench: Bench) -> None:
    await ending(bench)
    bench.market.destroys = Unclear("oops", "server")
    waits = []
    for _ in range(20):
        await destroy(bench)
        await destroy(bench)
        due = job_of(bench).next_attempt_at
        waits.append((due - bench.now()).total_seconds())
        bench.clock.advance(waits[-1])
    assert len(bench.market.asked("destroy")) == 20
    rules = bench.context.settings.destroys
    assert rules.retry_min * 0.9 <= waits[0] <= rules.retry_min * 1.1
    assert waits[1] > waits[0] * 1.5
    assert waits[-1] >= rules.retry_max * 0.9


async def test_a_destroy_that_was_accepted_and_shows_is_not_asked_for_again(bench: Bench) -> None:
    await ending(bench)
    await destroy(bench)
    await look(bench)
    bench.clock.advance(3600.0)
    await destroy(bench)
    assert bench.market.asked("destroy") == ["1"]


async def test_a_destroy_that_is_held_holds_no_other(bench: Bench) -> None:
    for number in (1, 2, 3):
        await ending(bench, number)
    await bench.control.exempt(ACCOUNT, "1", "test", exempt=True)
    await destroy(bench)
    assert bench.market.asked("destroy") == ["2", "3"]


async def test_a_verdict_is_not_sent_to_another_machine_under_its_id(bench: Bench) -> None:
    await orphans(bench, 1)
    await sweep(bench)
    bench.market.shows = evolve(bench.market.machines["1"], started_at=bench.now())
    await destroy(bench)
    assert bench.market.asked("show") == ["1"]
    assert bench.market.asked("destroy") == []
    assert job_of(bench).hold is HoldReason.LAST_LOOK


async def test_a_verdict_is_not_sent_unseen(bench: Bench) -> None:
    await orphans(bench, 1)
    await sweep(bench)
    bench.market.shows = NO_ANSWER
    for _ in range(BLIND_LOOKS_MAX + 2):
        await destroy(bench)
        bench.clock.advance(3600.0)
        await sweep(bench)
    assert bench.market.asked("destroy") == []


async def test_a_command_is_not_held_for_ever_by_single_reads_that_fail(bench: Bench) -> None:
    await ending(bench)
    bench.market.shows = NO_ANSWER
    job = DestroysJob(bench.context, bench.at)
    for _ in range(BLIND_LOOKS_MAX):
        assert bench.market.asked("destroy") == []
        await job.run()
        bench.clock.advance(3600.0)
        await look(bench)
    assert bench.market.asked("destroy") == ["1"]


async def test_a_machine_that_listings_hold_goes_although_single_reads_do_not_know_it(bench: Bench) -> None:
    await orphans(bench, 1)
    await sweep(bench)
    bench.market.shows = InstanceNotFound('"instances": null')
    await destroy(bench)
    assert bench.market.asked("destroy") == ["1"]


async def test_a_freeze_that_only_the_store_knows_of_holds_a_destroy(bench: Bench) -> None:
    await ending(bench)
    freeze_in_the_store(bench)
    await destroy(bench)
    assert bench.market.asked("destroy") == []
    assert job_of(bench).hold is HoldReason.FROZEN


async def test_a_freeze_that_only_the_store_knows_of_holds_a_plan(bench: Bench) -> None:
    await orphans(bench, 1)
    freeze_in_the_store(bench)
    await sweep(bench)
    assert open_jobs(bench) == []


async def _freeze(bench: Bench) -> None:
    freeze_in_the_store(bench)


async def _exempt(bench: Bench) -> None:
    await bench.control.exempt(ACCOUNT, "1", "test", exempt=True)


async def _stop(bench: Bench) -> None:
    bench.context.stopping = True


@pytest.mark.parametrize("change", [_freeze, _exempt, _stop])
@pytest.mark.parametrize("moment", ["on_show", "on_turn"])
async def test_what_changes_between_the_guards_and_the_request_holds_it(bench: Bench, change: Any, moment: str) -> None:
    await ending(bench)
    setattr(bench.market, moment, lambda: change(bench))
    await destroy(bench)
    assert bench.market.asked("show") == ["1"]
    assert bench.market.asked("destroy") == []
    assert len(open_jobs(bench)) == 1
    if moment == "on_show":  # what was not even queued is not told as requested
        assert job_of(bench).attempts == 0
        assert "destroy.requested" not in kinds(bench)


async def test_an_attempt_is_on_disk_before_its_request(bench: Bench) -> None:
    await ending(bench)
    seen: list[int] = []

    async def remember() -> None:
        seen.append(job_of(bench).attempts)
        assert "destroy.requested" in kinds(bench)

    bench.market.on_turn = remember
    await destroy(bench)
    assert seen == [1]


async def test_a_stop_destroys_nothing(bench: Bench) -> None:
    await ending(bench)
    bench.context.stopping = True
    await destroy(bench)
    await sweep(bench, 5)
    assert bench.market.asked("destroy") == []


# --- creates ----------------------------------------------------------------------------------------------------------


async def wished(bench: Bench) -> Session:
    """A session whose create waits for the job, with three offers that would do."""
    bench.deployment.offers(*(bench.offer(number) for number in (1, 2, 3)))
    made = await bench.control.create(Wish(Spec(), ACCOUNT))
    return made.session


async def create(bench: Bench, times: int = 1) -> None:
    """Runs of the job, each to the end of what it began."""
    for _ in range(times):
        await CreatesJob(bench.context, bench.at).run()
        while bench.context.in_flight:
            await asyncio.wait(bench.context.in_flight)


async def test_an_intent_is_marked_as_sent_before_the_provider_hears_of_it(bench: Bench) -> None:
    session = await wished(bench)
    seen: list[CreateOutcome] = []

    async def remember() -> None:
        seen.append(session_of(bench, session.id).create_outcome)

    bench.market.on_create = remember
    await create(bench)
    assert seen == [CreateOutcome.SENT]
    assert session_of(bench, session.id).instance_id is not None


@pytest.mark.parametrize(
    "answer",
    [NO_ANSWER, Unclear("reset", "connection"), Unclear("oops", "server"), RateLimited("slow down"), BadAnswer("?")],
    ids=str,
)
async def test_a_create_without_a_clear_answer_is_looked_for_and_never_asked_again(
    bench: Bench, answer: Exception
) -> None:
    session = await wished(bench)
    bench.market.creates = answer
    await create(bench, 3)
    assert bench.market.asked("create") == [session.tag]
    told = session_of(bench, session.id)
    assert (told.state, told.create_outcome) == (SessionState.CREATING, CreateOutcome.UNCLEAR)
    bench.market.add("7", session.id)
    await look(bench)
    assert session_of(bench, session.id).instance_id == "7"


async def test_a_process_that_died_over_a_create_does_not_ask_again(bench: Bench) -> None:
    session = await wished(bench)

    async def die() -> None:
        raise asyncio.CancelledError

    bench.market.on_create = die
    with suppress(asyncio.CancelledError):
        await create(bench)
    await create(bench)
    assert bench.market.asked("create") == [session.tag]


async def test_a_refused_offer_is_followed_by_the_next_and_a_refused_wish_by_none(bench: Bench) -> None:
    session = await wished(bench)
    bench.market.creates = Refused("no money", "insufficient_credit")
    await create(bench)
    assert bench.market.asked("create") == [session.tag]
    assert session_of(bench, session.id).state is SessionState.FAILED


async def test_a_create_that_waits_for_its_turn_is_not_sent_after_a_freeze(bench: Bench) -> None:
    session = await wished(bench)
    bench.market.on_turn = lambda: _freeze(bench)
    await create(bench)
    assert bench.market.asked("create") == []
    assert session_of(bench, session.id).create_outcome is CreateOutcome.NONE


async def test_a_session_that_ends_while_its_create_is_under_way_is_not_forgotten(bench: Bench) -> None:
    session = await wished(bench)
    bench.market.on_create = lambda: bench.control.end(session.id, "test")
    await create(bench)
    told = session_of(bench, session.id)
    assert told.state is SessionState.ENDING
    assert told.instance_id is not None
    assert [job.instance_id for job in open_jobs(bench)] == [told.instance_id]


class ForgetfulStore:
    """A store whose next transaction of one name fails."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        if function.__name__ == self._name:
            self._name = ""
            raise StoreFull("the store", "no room")
        return await self._store.run(function, *args, **kwargs)


async def test_the_id_of_a_create_is_recorded_although_the_store_fails_at_first(bench: Bench) -> None:
    session = await wished(bench)
    context: Context = bench.context
    context.store = ForgetfulStore(context.store, "accept")  # type: ignore[assignment]  # what jobs use of a store
    began = bench.clock.monotonic()
    await create(bench)
    assert session_of(bench, session.id).instance_id is not None
    assert bench.clock.monotonic() - began >= RECORD_AGAIN_SECONDS


async def test_an_answer_that_names_a_machine_of_before_binds_nothing(bench: Bench) -> None:
    theirs = bench.market.add("1000")
    await look(bench)
    bench.clock.advance(60.0)
    session = await wished(bench)
    bench.market.machines.clear()
    await create(bench)
    bench.market.machines = {"1000": theirs}
    told = session_of(bench, session.id)
    assert (told.instance_id, told.create_outcome) == (None, CreateOutcome.UNCLEAR)


# --- sweeps -----------------------------------------------------------------------------------------------------------


async def test_an_orphan_is_destroyed_and_counted_once(bench: Bench, metrics: Metrics) -> None:
    await orphans(bench, 1)
    await sweep(bench)
    await destroy(bench)
    assert bench.market.asked("destroy") == ["1"]
    labels = {"account": ACCOUNT, "provider": "vastai", "kind": "ended"}
    assert metrics.registry.get_sample_value("shopperd_orphans_detected_total", labels) == 1


async def test_the_limit_of_an_hour_outlives_restarts(bench: Bench) -> None:
    await orphans(bench, 8)
    for _ in range(5):
        bench.store.run_sync(memory.wake, bench.now())
        await sweep(bench)
    assert len(open_jobs(bench)) == 3
    held = (
        [orphan.hold for orphan in bench.at.plan.orphans if orphan.phase is OrphanPhase.HELD] if bench.at.plan else []
    )
    assert held == [HoldReason.LIMIT_PER_HOUR] * 5


async def test_the_limit_of_an_hour_is_not_given_back_by_what_is_gone(bench: Bench) -> None:
    await orphans(bench, 8)
    await sweep(bench)
    await destroy(bench)
    await look(bench, 5)
    assert open_jobs(bench) == []
    await sweep(bench)
    assert open_jobs(bench) == []


async def test_a_clock_that_was_set_back_makes_no_limit_last_until_it_has_caught_up(bench: Bench) -> None:
    await orphans(bench, 8)
    await sweep(bench)
    assert len(open_jobs(bench)) == 3
    bench.clock.jump(-7 * 86400.0)
    await sweep(bench, 5)
    assert len(open_jobs(bench)) == 3, "nor is it fresh"
    bench.clock.advance(3600.0)
    await sweep(bench, 5)
    assert len(open_jobs(bench)) == 6


async def test_sweeps_close_together_share_one_limit(bench: Bench) -> None:
    await orphans(bench, 8)
    bench.rules(max_share_per_hour=1.0)
    await sweep(bench, 4, every=10.0)
    assert len(open_jobs(bench)) == 3


async def test_a_failed_or_incomplete_listing_begins_nothing(bench: Bench) -> None:
    await orphans(bench, 1)
    bench.market.complete = False
    await sweep(bench, 2)
    assert open_jobs(bench) == []
    bench.market.listing = Unclear("down", "server")
    await sweep(bench, 2)
    assert open_jobs(bench) == []


async def test_only_sweeps_that_saw_everything_count_as_looked(bench: Bench) -> None:
    bench.store.run_sync(meta.put, observing_key(ACCOUNT), 2)
    bench.market.listing = Unclear("down", "server")
    await sweep(bench, 3)
    assert bench.store.run_sync(meta.get, observing_key(ACCOUNT)) == 2
    bench.market.listing = None
    await sweep(bench)
    assert bench.store.run_sync(meta.get, observing_key(ACCOUNT)) == 1


@pytest.mark.parametrize(
    ("place", "looks"),
    [
        (Binding("host", "store", "1"), 0),
        (Binding("host", "store", "2"), 1),
        (Binding("host", "store", "1", continuous=False), 1),
    ],
    ids=["the same", "another file", "put back from a backup"],
)
def test_a_store_that_changed_only_looks_at_first(bench: Bench, place: Binding, looks: int) -> None:
    settings = bench.context.settings
    bench.store.run_sync(take_up, Binding("host", "store", "1"), settings, bench.now(), created=True)
    bench.store.run_sync(meta.put, observing_key(ACCOUNT), 0)
    bench.store.run_sync(take_up, place, settings, bench.now(), created=False)
    assert bench.store.run_sync(meta.get, observing_key(ACCOUNT)) == looks


def test_every_start_begins_a_memory_of_its_own(bench: Bench) -> None:
    before = len(bench.store.run_sync(memory.spans))
    place = Binding("host", "store", "1")
    bench.store.run_sync(take_up, place, bench.context.settings, bench.now(), created=False)
    assert len(bench.store.run_sync(memory.spans)) == before + 1


async def test_two_listings_of_one_account_never_overlap(bench: Bench) -> None:
    under_way: list[int] = [0]

    async def slowly() -> None:
        under_way[0] += 1
        assert under_way == [1]
        await bench.clock.sleep(5.0)
        under_way[0] -= 1

    bench.market.on_list = slowly
    await asyncio.gather(StatusJob(bench.context, bench.at).run(), SweepJob(bench.context, bench.at).run())
    assert len(bench.market.asked("list")) == 2


# --- proven gone ------------------------------------------------------------------------------------------------------


async def missing(bench: Bench) -> Session:
    """A live session whose machine listings do not show any more, beside others that they show."""
    session = await running(bench)
    for number in (2, 3, 4):
        await running(bench, number)
    bench.market.machines.pop("1")
    return session


@pytest.mark.parametrize(
    "answer",
    [Unclear("down", "server"), NO_ANSWER, AuthFailed("404 auth_error"), BadAnswer("a page"), RateLimited("slow down")],
    ids=str,
)
async def test_a_single_read_that_fails_proves_nothing(bench: Bench, answer: Exception) -> None:
    session = await missing(bench)
    bench.market.shows = answer
    await look(bench, 8)
    assert "1" in bench.market.asked("show")
    assert session_of(bench, session.id).state is SessionState.RUNNING


async def test_a_machine_that_a_single_read_still_shows_is_not_gone(bench: Bench) -> None:
    session = await running(bench)
    machine: Instance = bench.market.machines["1"]
    await running(bench, 2)
    await running(bench, 3)
    bench.market.machines.pop("1")
    bench.market.shows = machine
    await look(bench, 8)
    assert session_of(bench, session.id).state is SessionState.RUNNING


async def test_a_machine_is_not_read_by_itself_before_it_was_missed_often_enough(bench: Bench) -> None:
    session = await missing(bench)
    await look(bench, 2)
    assert bench.market.asked("show") == []
    assert session_of(bench, session.id).state is SessionState.RUNNING
    await look(bench)
    assert session_of(bench, session.id).state is SessionState.LOST


async def test_a_listing_that_shows_a_machine_again_outweighs_the_single_read_before_it(bench: Bench) -> None:
    session = await missing(bench)
    await look(bench, 2)

    async def comes_back() -> None:
        bench.market.on_show, bench.market.shows = _quietly, InstanceNotFound("no_such_instance")
        bench.market.add("1", session.id, started_at=track_of(bench).instance.started_at)
        await SweepJob(bench.context, bench.at).run()

    bench.market.on_show = comes_back
    await look(bench)
    assert bench.market.asked("show") == ["1"]
    assert session_of(bench, session.id).state is SessionState.RUNNING
    assert track_of(bench).gone_at is None


async def _quietly() -> None:
    pass


async def test_an_id_is_kept_until_its_machine_is_proven_gone_and_after(bench: Bench) -> None:
    session = await ending(bench)
    bench.market.add("2")
    assert session_of(bench, session.id).instance_id == "1"
    await destroy(bench)
    await look(bench, 4)
    told = session_of(bench, session.id)
    assert (told.state, told.instance_id) == (SessionState.ENDED, "1")


async def test_a_machine_of_a_session_that_was_ended_by_command_is_no_orphan_while_its_destroy_works(
    bench: Bench,
) -> None:
    await ending(bench)
    bench.market.destroys = NO_ANSWER
    await destroy(bench)
    await sweep(bench, 4)
    assert track_of(bench).kind is None
    assert bench.at.plan is not None
    assert bench.at.plan.orphans == ()

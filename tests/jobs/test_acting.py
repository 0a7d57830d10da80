"""The one acting function, guard by guard: what holds a request, what is written down of it, and what is not sent."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from shopperd.attempts import FREE_ATTEMPTS, Recent
from shopperd.jobs.destroys import (
    BLIND_LOOKS_MAX,
    DestroysJob,
    begin_attempt,
    check_guards,
    check_last,
    note_stuck,
    postpone,
    record_answer,
)
from shopperd.jobs.knowledge import FROZEN_KEY
from shopperd.model import DestroyJob, DestroyOrigin, HoldReason, OrphanKind, Track
from shopperd.providers.contract import GATE, URGENT, InstanceNotFound, Refused
from shopperd.reconcile import Authority
from shopperd.store import destroys, instances, meta
from tests.jobs.desk import ACCOUNT, Desk

FREE = Authority(no_right="", observing=0, frozen=False)
FROZEN = evolve(FREE, frozen=True)


def guarded(desk: Desk, job: DestroyJob, authority: Authority = FREE, lately: Recent = Recent()) -> Any:  # noqa: B008 - frozen
    """What the first guards say: None if there is nothing to do, else the hold."""
    told = desk.store.run_sync(
        check_guards, desk.at.settings, desk.context.settings, authority, job, desk.clock.now(), lately
    )
    return told if told is None else (told[0],)


def begun(desk: Desk, job: DestroyJob, authority: Authority = FREE, lately: Recent = Recent()) -> DestroyJob | None:  # noqa: B008 - frozen
    settings, now = desk.context.settings, desk.clock.now()
    return desk.store.run_sync(begin_attempt, desk.at.settings, settings, authority, job, now, 1.0, lately)


def last(desk: Desk, job: DestroyJob, authority: Authority = FREE) -> HoldReason | None:
    return desk.store.run_sync(check_last, desk.at.settings, desk.context.settings, authority, job, desk.clock.now())


def close(desk: Desk, job: DestroyJob) -> None:
    desk.store.run_sync(destroys.update, evolve(job, gone_at=desk.clock.now()))


def waits(desk: Desk) -> float:
    """Seconds until the one destroy is due."""
    return (desk.job("7").next_attempt_at - desk.clock.now()).total_seconds()


def verdict(desk: Desk, number: int = 7, **changes: Any) -> DestroyJob:
    return desk.over(number, origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED, **changes)


async def run(desk: Desk, job: DestroysJob | None = None) -> str:
    return (await (job or DestroysJob(desk.context, desk.at)).run()).sentence


class TestGuards:
    def test_a_free_one_is_held_by_nothing(self, desk: Desk) -> None:
        job = desk.over(7)
        desk.look()
        assert guarded(desk, job) == (None,)
        assert last(desk, job) is None

    def test_one_that_is_over_or_not_due_is_not_asked_for(self, desk: Desk) -> None:
        job = desk.over(7)
        desk.look()
        desk.store.run_sync(destroys.update, evolve(job, next_attempt_at=desk.clock.now() + timedelta(seconds=5)))
        assert guarded(desk, job) is None
        desk.clock.advance(5)
        assert guarded(desk, job) == (None,)
        close(desk, job)
        assert guarded(desk, job) is None
        assert begun(desk, job) is None
        assert last(desk, job) is HoldReason.LAST_LOOK
        assert desk.trail("destroy.requested") == []

    def test_one_that_is_forgotten_is_not_asked_for(self, desk: Desk) -> None:
        job = evolve(desk.over(7), id=99)
        assert guarded(desk, job) is None
        assert begun(desk, job) is None
        assert last(desk, job) is HoldReason.LAST_LOOK
        desk.store.run_sync(record_answer, job, "ok", desk.clock.now(), None, desk.clock.now())
        desk.store.run_sync(postpone, job, HoldReason.LAST_LOOK, "why", desk.clock.now(), 60.0)
        assert [event.kind for event in desk.trail()] == ["destroy.recorded"]

    @pytest.mark.parametrize("ask", [guarded, begun, last])
    def test_a_hold_is_written_down_once_and_looked_at_again_soon(self, desk: Desk, ask: Any) -> None:
        job = desk.over(7)
        desk.look()
        desk.store.run_sync(destroys.update, evolve(job, last_error="of before"))
        for _ in range(2):
            told = ask(desk, job, FROZEN)
            assert told in (None, HoldReason.FROZEN, (HoldReason.FROZEN,))
            assert [event.data["hold"] for event in desk.trail("destroy.held")] == ["frozen"]
            assert waits(desk) == desk.context.settings.destroys.retry_min
            desk.clock.advance(waits(desk))
        assert (desk.job("7").hold, desk.job("7").last_error) == (HoldReason.FROZEN, "of before")
        assert desk.trail("destroy.requested") == []

    @pytest.mark.parametrize("ask", [guarded, begun, last])
    def test_a_freeze_that_the_store_alone_knows_of_holds_too(self, desk: Desk, ask: Any) -> None:
        job = desk.over(7)
        desk.look()
        desk.store.run_sync(meta.put, FROZEN_KEY, {"reason": "a drill"})
        ask(desk, job)
        assert desk.job("7").hold is HoldReason.FROZEN

    @pytest.mark.parametrize("ask", [guarded, begun, last])
    def test_however_short_the_pace_a_hold_waits_a_second(self, desk: Desk, ask: Any) -> None:
        desk.change(retry_min=0.2)
        job = desk.over(7)
        desk.look()
        ask(desk, job, FROZEN)
        assert waits(desk) == 1.0

    @pytest.mark.parametrize("ask", [guarded, begun])
    @pytest.mark.parametrize("age", [600.0, 3599.5])
    def test_what_this_process_sent_counts_before_each_request(self, desk: Desk, ask: Any, age: float) -> None:
        job = desk.over(7)
        desk.look()
        ask(desk, job, FREE, Recent(machine=(age,) * 15))
        assert desk.job("7").hold is HoldReason.LIMIT_PER_HOUR
        assert waits(desk) == 3600.0 - age
        assert desk.trail("destroy.requested") == []

    @pytest.mark.parametrize("ask", [guarded, begun])
    def test_what_was_written_down_of_the_last_hour_counts_too(self, desk: Desk, ask: Any) -> None:
        job = desk.over(7)
        desk.look()
        for _ in range(15):
            assert begun(desk, job) is not None
            desk.clock.advance(30.0)
        desk.store.run_sync(destroys.update, evolve(desk.job("7"), next_attempt_at=desk.clock.now()))
        ask(desk, job)
        assert (desk.job("7").hold, waits(desk)) == (HoldReason.LIMIT_PER_HOUR, 3150.0)

    def test_what_was_repeated_in_the_account_counts_for_what_is_repeated_alone(self, desk: Desk) -> None:
        desk.change(retry_max=3600.0)
        first, again, *others = (desk.over(number) for number in range(7, 11))
        desk.look()
        for job in (again, *others):
            desk.store.run_sync(destroys.update, evolve(job, attempts=FREE_ATTEMPTS))
        for job in others * 10:
            assert begun(desk, job) is not None
        assert begun(desk, again) is None
        assert desk.job("8").hold is HoldReason.LIMIT_PER_HOUR
        assert begun(desk, first) is not None

    def test_one_that_was_accepted_and_is_missed_waits_for_the_proof_alone(self, desk: Desk) -> None:
        job = desk.over(7)
        desk.look()
        accepted = evolve(job, accepted_at=desk.clock.now())
        desk.store.run_sync(destroys.update, accepted)
        assert guarded(desk, accepted) == (None,), "it is seen still"
        desk.market.machines.clear()
        desk.clock.advance(60)
        desk.look()
        assert guarded(desk, accepted) is None
        assert waits(desk) == desk.context.settings.destroys.retry_max
        assert desk.trail("destroy.held") == []
        desk.clock.advance(waits(desk))
        assert guarded(desk, accepted, FROZEN) == (HoldReason.FROZEN,), "a hold is told first"

    @pytest.mark.parametrize("rented", [True, False])
    def test_one_that_was_accepted_and_that_no_listing_held_is_asked_for(self, desk: Desk, rented: bool) -> None:
        job, now = desk.over(7), desk.clock.now()
        if rented:
            never_listed = Track(desk.market.machines["7"], first_seen_at=now, last_seen_at=now, ever_seen=False)
            desk.store.run_sync(instances.save, ACCOUNT, [never_listed])
        accepted = evolve(job, accepted_at=now)
        desk.store.run_sync(destroys.update, accepted)
        assert guarded(desk, accepted) == (None,)

    def test_one_that_was_not_accepted_and_is_missed_is_asked_for(self, desk: Desk) -> None:
        job = desk.over(7)
        desk.look()
        desk.market.machines.clear()
        desk.clock.advance(60)
        desk.look()
        assert guarded(desk, job) == (None,)


class TestAttempts:
    def test_an_attempt_is_counted_and_its_event_tells_all(self, desk: Desk) -> None:
        job = desk.over(7)
        desk.look()
        desk.store.run_sync(destroys.update, evolve(job, attempts=3, hold=HoldReason.LAST_LOOK))
        told = begun(desk, job)
        assert told == desk.job("7")
        assert told is not None
        assert (told.attempts, told.hold) == (4, None)
        assert waits(desk) == 40.0
        (event,) = desk.trail("destroy.requested")
        assert event.message == "attempt 4: it was asked for"
        assert event.data == {"origin": "command", "attempt": 4, "repeated": True}

    def test_an_answer_is_kept_and_no_later_one_takes_back_a_yes(self, desk: Desk) -> None:
        job, now = desk.over(7), desk.clock.now()
        desk.store.run_sync(record_answer, job, "ok", now, None, now)
        assert (desk.job("7").accepted_at, desk.job("7").last_error) == (now, None)
        desk.clock.advance(60)
        desk.store.run_sync(record_answer, job, "refused", None, "locked", desk.clock.now())
        assert (desk.job("7").accepted_at, desk.job("7").last_error) == (now, "locked")
        told = [(event.kind, event.message, event.data["outcome"]) for event in desk.trail()[-2:]]
        assert sorted(told) == [
            ("destroy.accepted", "the provider said yes", "ok"),
            ("destroy.failed", "locked", "refused"),
        ]

    def test_one_that_is_over_is_put_off_no_more(self, desk: Desk) -> None:
        job = desk.over(7)
        close(desk, job)
        before = desk.store.run_sync(destroys.get, job.id)
        desk.store.run_sync(postpone, job, HoldReason.LAST_LOOK, "why", desk.clock.now(), 60.0)
        assert desk.store.run_sync(destroys.get, job.id) == before

    def test_that_one_is_stuck_is_written_down_once(self, desk: Desk) -> None:
        job, other = desk.over(7), desk.over(8)
        assert desk.store.run_sync(note_stuck, [job], desk.clock.now()) == [job]
        assert desk.store.run_sync(note_stuck, [job, other], desk.clock.now()) == [other]
        assert len(desk.trail("destroy.stuck")) == 2


class TestHourOfVerdicts:
    """Two verdicts in an hour."""

    @pytest.fixture
    def desk(self, desk: Desk) -> Desk:
        self.allow(desk, 2)
        return desk

    def allow(self, desk: Desk, verdicts: int) -> None:
        settings = desk.context.settings
        rules = evolve(
            settings.orphans, max_destroys_per_sweep=verdicts, max_share_per_sweep=0.0, max_share_per_hour=0.0
        )
        desk.context.settings = evolve(settings, orphans=rules)

    def judged(self, desk: Desk, count: int = 3) -> list[DestroyJob]:
        jobs = [verdict(desk, number) for number in range(7, 7 + count)]
        desk.look()
        return jobs

    def test_the_third_waits_until_the_first_is_an_hour_old(self, desk: Desk) -> None:
        third, first, second = self.judged(desk)
        assert begun(desk, first) is not None
        desk.clock.advance(100)
        assert begun(desk, second) is not None
        desk.clock.advance(100)
        assert begun(desk, third) is None
        assert (desk.job("7").hold, waits(desk)) == (HoldReason.LIMIT_PER_HOUR, 3400.0)
        assert len(desk.trail("destroy.requested")) == 2
        desk.clock.advance(3401)
        assert begun(desk, third) is not None

    def test_it_waits_as_long_as_any_other_at_least(self, desk: Desk) -> None:
        third, first, second = self.judged(desk)
        begun(desk, first)
        begun(desk, second)
        desk.clock.advance(3599)
        assert begun(desk, third) is None
        assert waits(desk) == desk.context.settings.destroys.retry_min

    def test_what_was_asked_for_before_is_asked_for_again(self, desk: Desk) -> None:
        again, first, second = self.judged(desk)
        desk.store.run_sync(destroys.update, evolve(again, attempts=1))
        begun(desk, first)
        begun(desk, second)
        assert begun(desk, again) is not None

    def test_repeated_requests_and_commands_use_nothing_up(self, desk: Desk) -> None:
        third, first, again = self.judged(desk)
        desk.store.run_sync(destroys.update, evolve(again, attempts=1))
        command = desk.over(20)
        desk.look()
        for job in (first, again, command):
            assert begun(desk, job) is not None
        assert begun(desk, third) is not None

    def test_commands_are_not_held_by_it(self, desk: Desk) -> None:
        _, first, second = self.judged(desk)
        command = desk.over(20)
        desk.look()
        begun(desk, first)
        begun(desk, second)
        assert begun(desk, command) is not None

    def test_zero_is_none_and_is_looked_at_again_for_another_limit(self, desk: Desk) -> None:
        (job,) = self.judged(desk, 1)
        self.allow(desk, 0)
        assert begun(desk, job) is None
        assert (desk.job("7").hold, waits(desk)) == (
            HoldReason.LIMIT_PER_HOUR,
            desk.context.settings.destroys.retry_max,
        )

    def test_a_share_of_all_is_no_limit(self, desk: Desk) -> None:
        settings = desk.context.settings
        desk.context.settings = evolve(settings, orphans=evolve(settings.orphans, max_share_per_hour=1.0))
        for job in self.judged(desk):
            assert begun(desk, job) is not None

    def test_what_a_clock_ahead_has_noted_uses_nothing_up(self, desk: Desk) -> None:
        third, first, second = self.judged(desk)
        desk.clock.jump(86400.0)
        begun(desk, first)
        begun(desk, second)
        desk.clock.jump(-86400.0)
        assert begun(desk, third) is not None

    def test_what_this_hour_has_destroyed_counts_as_if_it_were_there(self, desk: Desk) -> None:
        settings = desk.context.settings
        rules = evolve(settings.orphans, max_destroys_per_sweep=1, max_share_per_sweep=0.0, max_share_per_hour=0.5)
        desk.context.settings = evolve(settings, orphans=rules)
        third, first, second, _ = self.judged(desk, 4)
        begun(desk, first)
        del desk.market.machines[first.instance_id]
        for _ in range(desk.context.settings.orphans.sightings):
            desk.clock.advance(60)
            desk.look()
        assert begun(desk, second) is not None, "half of the four"
        assert begun(desk, third) is None


class TestLastLook:
    async def test_an_answer_is_counted_told_and_recorded(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        assert await run(desk) == "sent 1 destroys, 1 not proven gone yet, 0 held"
        assert desk.woken == [("status", ACCOUNT)]
        assert counted(desk, "ok") == 1
        assert desk.job("7").accepted_at == desk.clock.now()

    async def test_a_refusal_is_counted_and_kept(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        desk.market.answer = Refused("a minimum rental period", "locked")
        await run(desk)
        assert (desk.job("7").accepted_at, counted(desk, "ok")) == (None, 0)
        assert "a minimum rental period" in str(desk.job("7").last_error)
        assert counted(desk, desk.market.answer.outcome) == 1

    async def test_a_machine_that_the_provider_does_not_know_counts_as_accepted_and_not_as_gone(
        self, desk: Desk
    ) -> None:
        desk.over(7)
        desk.look()
        desk.market.answer = InstanceNotFound("there is no 7")
        await run(desk)
        job = desk.job("7")
        assert (job.accepted_at, job.gone_at) == (desk.clock.now(), None)
        assert counted(desk, "not_found") == 1

    @pytest.mark.parametrize(("age", "asked"), [(3 * 20.0 + 30.0, 1), (3 * 20.0 + 31.0, 0)])
    async def test_a_fresh_listing_outweighs_single_reads_that_fail_for_a_command(
        self, desk: Desk, age: float, asked: int
    ) -> None:
        assert desk.context.settings.jobs.status.interval == 20.0
        desk.over(7)
        desk.look()
        desk.market.hidden.add("7")
        job = DestroysJob(desk.context, desk.at)
        for _ in range(BLIND_LOOKS_MAX - 1):
            assert await run(desk, job) == "sent 0 destroys, 1 not proven gone yet, 1 held"
            desk.clock.advance(waits(desk))
        assert desk.market.asked == []
        desk.at.last_complete_at = desk.clock.now() - timedelta(seconds=age)
        await run(desk, job)
        assert len(desk.market.asked) == asked

    async def test_without_any_listing_nothing_outweighs_them(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        desk.at.last_complete_at = None
        desk.market.hidden.add("7")
        job = DestroysJob(desk.context, desk.at)
        for _ in range(BLIND_LOOKS_MAX + 1):
            await run(desk, job)
            desk.clock.advance(waits(desk))
        assert desk.market.asked == []

    @pytest.mark.parametrize("known", [True, False])
    async def test_a_read_that_is_answered_begins_the_count_of_failed_ones_anew(self, desk: Desk, known: bool) -> None:
        desk.over(7)
        there = desk.market.machines["7"]
        job = DestroysJob(desk.context, desk.at)
        for hidden in (True, True, False, True, True):
            desk.market.hidden = {"7"} if hidden else set()
            desk.market.machines["7"] = there
            desk.look()
            if not known and not hidden:
                del desk.market.machines["7"]
            await run(desk, job)
            desk.clock.advance(waits(desk))
        assert len(desk.market.asked) == 1

    async def test_a_machine_that_a_single_read_does_not_know_goes_by_command_alone(self, desk: Desk) -> None:
        verdict(desk, 7)
        desk.over(8)
        desk.look()
        desk.market.machines.clear()
        desk.at.last_complete_at = None
        assert await run(desk) == "sent 1 destroys, 2 not proven gone yet, 1 held"
        assert [id_ for id_, _ in desk.market.asked] == ["8"]
        assert (desk.job("7").hold, waits(desk) >= 4.5) == (HoldReason.LAST_LOOK, True)

    async def test_a_look_goes_before_other_calls_and_only_it(self, desk: Desk) -> None:
        class Noting(list[tuple[str, float]]):
            urgent = False

            def append(self, _: object) -> None:
                self.urgent = URGENT.get()

        desk.market.looks = noting = Noting()
        desk.over(7)
        desk.look()
        await run(desk)
        assert noting.urgent
        assert not URGENT.get()

    def test_waits_are_drawn_on_both_sides_of_what_is_meant(self, desk: Desk) -> None:
        job = DestroysJob(desk.context, desk.at)
        drawn = [job._jitter() for _ in range(1000)]
        assert [min(drawn), max(drawn)] == pytest.approx([0.9, 1.1], abs=0.01)

    @pytest.mark.parametrize("attempts", [0, FREE_ATTEMPTS])
    async def test_a_request_that_this_process_sent_is_remembered_for_an_hour(self, desk: Desk, attempts: int) -> None:
        desk.clock.advance(1000.0)
        desk.market.stubborn.add("7")
        recorded = desk.over(7)
        desk.look()
        desk.store.run_sync(destroys.update, evolve(recorded, attempts=attempts))
        job = DestroysJob(desk.context, desk.at)
        await run(desk, job)
        other = evolve(desk.job("7"), instance_id="8")
        desk.clock.advance(3599.0)
        repeats = (3599.0,) if attempts else ()
        assert job._lately(desk.job("7")) == Recent(machine=(3599.0,), repeats=repeats)
        assert job._lately(other) == Recent(repeats=repeats)
        desk.clock.advance(1.0)
        assert job._lately(desk.job("7")) == Recent()

    async def test_a_stop_sends_nothing_more(self, desk: Desk) -> None:
        desk.over(7)
        desk.over(8)
        desk.look()
        desk.market.on_destroy = lambda _: setattr(desk.context, "stopping", True)
        await run(desk)
        assert len(desk.market.asked) == 1
        assert desk.trail("destroy.held") == [], "the other one is not even tried"

    async def test_a_run_tells_what_it_did(self, desk: Desk) -> None:
        assert await run(desk) == "nothing to destroy"
        assert desk.woken == []
        job = desk.over(7)
        desk.look()
        desk.market.on_destroy = lambda _: close(desk, desk.job("7"))
        assert await run(desk) == "sent 1 destroys"
        assert job.account == DestroysJob(desk.context, desk.at).account

    async def test_what_is_held_is_told_once(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        desk.store.run_sync(meta.put, FROZEN_KEY, {"reason": "a drill"})
        job = DestroysJob(desk.context, desk.at)
        with capture_logs() as lines:
            for _ in range(3):
                assert await run(desk, job) == "sent 0 destroys, 1 not proven gone yet, 1 held"
                desk.clock.advance(waits(desk))
        assert [line["hold"] for line in lines if line["event"] == "destroy.held"] == ["frozen"]

    async def test_changes_are_told_to_those_who_wait(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        waiting = asyncio.ensure_future(desk.context.changes.wait())
        await asyncio.sleep(0)
        await run(desk)
        await asyncio.wait_for(waiting, 1.0)

    async def test_failed_looks_come_ever_more_rarely(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        desk.at.last_complete_at = None
        desk.market.hidden.add("7")
        job = DestroysJob(desk.context, desk.at)
        for wait in (5.0, 10.0, 20.0, 40.0):
            await run(desk, job)
            assert waits(desk) == pytest.approx(wait, rel=0.1)
            desk.clock.advance(waits(desk))

    async def test_when_it_is_to_run_again_is_when_the_next_one_is_due(self, desk: Desk) -> None:
        desk.market.stubborn.add("7")
        desk.over(7)
        desk.look()
        job = DestroysJob(desk.context, desk.at)
        assert (await job.run()).again_in_seconds == waits(desk)
        desk.clock.advance(waits(desk))
        desk.market.on_destroy = lambda _: desk.clock.advance(3600.0)
        assert (await job.run()).again_in_seconds == 0.05, "a run without a pause would hold up the others"

    async def test_one_that_only_waits_for_its_proof_is_not_sent(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        job = DestroysJob(desk.context, desk.at)
        await run(desk, job)
        desk.clock.advance(waits(desk))
        desk.look()
        assert await run(desk, job) == "sent 0 destroys, 1 not proven gone yet, 0 held"
        assert len(desk.market.asked) == 1

    async def test_stuck_ones_are_told_counted_and_shown(self, desk: Desk) -> None:
        labels = {"account": ACCOUNT, "provider": "vastai"}
        job = DestroysJob(desk.context, desk.at)
        recorded = desk.over(7)
        desk.look()
        desk.store.run_sync(destroys.update, evolve(recorded, attempts=20, hold=HoldReason.LAST_LOOK))
        desk.market.hidden.add("7")
        desk.at.last_complete_at = None
        for told in (1, 0):
            with capture_logs() as lines:
                await run(desk, job)
            assert len([line for line in lines if line["event"] == "destroy.stuck"]) == told
        assert desk.at.destroys_stuck == 1
        assert desk.context.metrics.registry.get_sample_value("shopperd_destroys_stuck", labels) == 1
        close(desk, desk.job("7"))
        await run(desk, job)
        assert desk.at.destroys_stuck == 0
        assert desk.context.metrics.registry.get_sample_value("shopperd_destroys_stuck", labels) == 0

    def test_a_run_may_take_as_long_as_hundreds_of_destroys(self, desk: Desk) -> None:
        job = DestroysJob(desk.context, desk.at)
        assert (job.deadline, job.interval, job.name, job.must_finish) == (3600.0, 30.0, "destroys", True)

    @pytest.mark.parametrize("age", [0.0, 3600.0])
    async def test_a_fresh_listing_outweighs_a_read_that_does_not_know_the_machine(
        self, desk: Desk, age: float
    ) -> None:
        verdict(desk)
        desk.look()
        desk.market.machines.clear()
        desk.at.last_complete_at = desk.clock.now() - timedelta(seconds=age)
        await run(desk)
        assert bool(desk.market.asked) is (age == 0.0)

    @pytest.mark.parametrize("origin", list(DestroyOrigin))
    @pytest.mark.parametrize("listed", ["now", "before", "never"])
    async def test_failed_looks_are_outweighed_for_a_command_alone_and_only_by_what_is_listed(
        self, desk: Desk, origin: DestroyOrigin, listed: str
    ) -> None:
        desk.over(7, origin=origin, kind=OrphanKind.ENDED)
        there = desk.market.machines.copy()
        if listed != "never":
            desk.look()
        job = DestroysJob(desk.context, desk.at)
        desk.market.hidden.add("7")
        for _ in range(BLIND_LOOKS_MAX + 2):
            desk.market.machines = there.copy() if listed == "now" else {}
            desk.look()
            await run(desk, job)
            desk.clock.advance(waits(desk))
        assert bool(desk.market.asked) is (listed == "now" and origin is DestroyOrigin.COMMAND)

    async def test_a_machine_that_nobody_listed_and_no_read_knows_is_asked_for_by_command(self, desk: Desk) -> None:
        desk.over(7)
        desk.market.machines.clear()
        desk.look()
        await run(desk)
        assert len(desk.market.asked) == 1

    async def test_a_look_that_shows_what_no_listing_has_held_yet_counts_as_its_first_sight(self, desk: Desk) -> None:
        desk.over(7)
        now = desk.clock.now()
        rented = Track(desk.market.machines["7"], first_seen_at=now, last_seen_at=now, ever_seen=False)
        desk.store.run_sync(instances.save, ACCOUNT, [rented])
        await run(desk)
        assert desk.store.run_sync(instances.tracks, ACCOUNT)["7"].ever_seen

    async def test_a_look_that_succeeds_ends_the_waiting_for_failed_ones(self, desk: Desk) -> None:
        desk.market.stubborn.add("7")
        desk.over(7)
        job = DestroysJob(desk.context, desk.at)
        for hidden in (True, True, False, True):
            desk.look()
            desk.market.hidden = {"7"} if hidden else set()
            desk.clock.advance(waits(desk))
            await run(desk, job)
        assert waits(desk) == pytest.approx(10.0, rel=0.1)

    async def test_a_freeze_during_the_look_sends_nothing(self, desk: Desk) -> None:
        class Freezing(list[tuple[str, float]]):
            def append(self, _: object) -> None:
                desk.store.run_sync(meta.put, FROZEN_KEY, {"reason": "a drill"})

        desk.market.looks = Freezing()
        desk.over(7)
        desk.look()
        assert await run(desk) == "sent 0 destroys, 1 not proven gone yet, 1 held"
        assert desk.market.asked == []

    async def test_a_store_that_cannot_be_asked_when_its_turn_has_come_sends_nothing(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        job = DestroysJob(desk.context, desk.at)
        desk.wilful.refuses.add("check_last")
        await run(desk, job)
        assert desk.market.asked == []
        assert counted(desk, "ok") == 0
        assert GATE.get() is None

    async def test_a_freeze_while_the_store_takes_its_time_to_answer_sends_nothing(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        desk.freezes_during("check_last")
        with capture_logs() as lines:
            await run(desk)
        assert [line["detail"] for line in lines if line["event"] == "destroy.withheld"] == [
            "while the store was asked about it: the deployment is frozen"
        ]
        assert desk.market.asked == []

    async def test_a_failed_look_is_told_as_a_hold(self, desk: Desk) -> None:
        desk.over(7)
        desk.look()
        desk.market.hidden.add("7")
        with capture_logs() as lines:
            await run(desk)
        assert [line["hold"] for line in lines if line["event"] == "destroy.held"] == ["last_look"]


def counted(desk: Desk, outcome: str) -> float:
    labels = {"account": ACCOUNT, "provider": "vastai", "outcome": outcome}
    return desk.context.metrics.registry.get_sample_value("shopperd_destroy_attempts_total", labels) or 0.0

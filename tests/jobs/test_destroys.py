"""Destroys of machines that do not go away: asked for without end, ever more slowly, and in nobody's way."""

import itertools
from collections import Counter
from datetime import datetime, timedelta

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from shopperd.attempts import FREE_ATTEMPTS, HOUR_SECONDS, attempts_per_hour, repeats_per_hour
from shopperd.jobs.destroys import DestroysJob, record_answer
from shopperd.jobs.knowledge import FROZEN_KEY
from shopperd.model import DestroyOrigin, HoldReason, OrphanKind
from shopperd.providers.contract import Refused
from shopperd.store import destroys, meta
from tests.jobs.desk import ACCOUNT, Desk

LOOK_SECONDS = 20.0
HOUR = int(HOUR_SECONDS)


async def work(desk: Desk, seconds: float, job: DestroysJob | None = None) -> DestroysJob:
    """For so long, run the job whenever it asks to be run, and look at the account now and then."""
    job = job or DestroysJob(desk.context, desk.at)
    end = desk.clock.monotonic() + seconds
    while (left := end - desk.clock.monotonic()) > 0:
        desk.look()
        report = await job.run()
        again = LOOK_SECONDS if report.again_in_seconds is None else report.again_in_seconds
        desk.clock.advance(min(max(again, 0.05), LOOK_SECONDS, left))
    return job


def wake(desk: Desk, *ids: str) -> None:
    """Whatever it is that makes a destroy due at once."""
    for id_ in ids:
        due = evolve(desk.job(id_), next_attempt_at=desk.clock.now())
        desk.store.run_sync(destroys.update, due)


def stay(desk: Desk, *numbers: int) -> None:
    """Machines that no destroy does anything to."""
    for number in numbers:
        desk.over(number)
        desk.market.stubborn.add(str(number))


def most_in_an_hour(moments: list[float]) -> int:
    return max((sum(start <= at < start + HOUR_SECONDS for at in moments) for start in moments), default=0)


def stuck(desk: Desk) -> float | None:
    labels = {"account": ACCOUNT, "provider": "vastai"}
    return desk.context.metrics.registry.get_sample_value("shopperd_destroys_stuck", labels)


async def test_a_machine_that_goes_away_is_asked_for_once(desk: Desk) -> None:
    desk.over(7)
    await work(desk, 600)
    assert len(desk.market.asked) == 1
    assert stuck(desk) == 0


@pytest.mark.parametrize(("before", "after"), [("ok", 0.0), ("timeout", 60.0)])
async def test_a_machine_that_is_not_there_any_more_went_with_the_yes_before_if_there_was_one(
    desk: Desk, before: str, after: float
) -> None:
    job, begin = desk.over(7), desk.clock.now()
    yes = begin if before == "ok" else None
    desk.store.run_sync(record_answer, job, before, yes, None, begin)
    desk.clock.advance(60)
    desk.store.run_sync(record_answer, job, "not_found", desk.clock.now(), "there is no 7", desk.clock.now())
    assert desk.job("7").accepted_at == begin + timedelta(seconds=after)


async def test_a_second_yes_counts_as_the_machine_was_still_there(desk: Desk) -> None:
    job, begin = desk.over(7), desk.clock.now()
    desk.store.run_sync(record_answer, job, "ok", begin, None, begin)
    later = begin + timedelta(seconds=60)
    desk.store.run_sync(record_answer, job, "ok", later, None, later)
    assert desk.job("7").accepted_at == later


async def test_a_machine_that_stays_is_asked_for_ever_more_slowly_and_without_end(desk: Desk) -> None:
    stay(desk, 7)
    await work(desk, 8 * HOUR)
    moments = desk.market.asked_for("7")
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert gaps[0] < 10
    assert max(gaps[:18]) <= 660 + LOOK_SECONDS
    assert len(gaps) > 22
    assert all(3240 <= gap <= 3960 + LOOK_SECONDS for gap in gaps[19:])
    desk.market.stubborn.clear()
    await work(desk, 1.2 * HOUR)
    assert "7" not in desk.market.machines


async def test_a_destroy_that_is_refused_without_end_is_stuck_and_that_is_said_once(desk: Desk) -> None:
    desk.over(7)
    desk.market.answer = Refused("a minimum rental period", "locked")
    with capture_logs() as lines:
        await work(desk, 4 * HOUR)
        # What was said is known to the next process, too.
        await work(desk, HOUR)
    said = [line for line in lines if line["event"] == "destroy.stuck"]
    assert [(line["log_level"], line["instance"]) for line in said] == [("warning", "7")]
    assert "a minimum rental period" in said[0]["detail"]
    (event,) = desk.trail("destroy.stuck")
    assert event.data["attempts"] == desk.context.settings.destroys.stuck_attempts
    assert stuck(desk) == 1
    desk.market.answer = None
    await work(desk, 1.2 * HOUR)
    assert "7" not in desk.market.machines


async def test_a_machine_that_cannot_be_looked_at_is_looked_at_ever_more_rarely_and_is_stuck_after_a_day(
    desk: Desk,
) -> None:
    desk.over(7, origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED)
    desk.market.hidden.add("7")
    job = await work(desk, 3 * HOUR)
    assert desk.market.asked == []
    assert len(desk.market.looks) < 30
    assert desk.trail("destroy.stuck") == []
    desk.clock.advance(22 * HOUR)
    await work(desk, 60, job)
    assert len(desk.trail("destroy.stuck")) == 1
    desk.market.hidden.clear()
    await work(desk, 900, job)
    assert len(desk.market.asked) == 1


async def test_a_freeze_makes_nothing_stuck_and_delays_nothing_after_it(desk: Desk) -> None:
    desk.over(7)
    desk.store.run_sync(meta.put, FROZEN_KEY, {"reason": "a drill"})
    job = await work(desk, 60)
    desk.clock.advance(48 * HOUR)
    await work(desk, 60, job)
    assert desk.trail("destroy.stuck") == []
    assert desk.job("7").hold is HoldReason.FROZEN
    desk.store.run_sync(meta.remove, FROZEN_KEY)
    await work(desk, 60, job)
    assert "7" not in desk.market.machines


class TestLimitForOneMachine:
    async def test_whatever_wakes_it_no_hour_holds_more(self, desk: Desk) -> None:
        stay(desk, 7)
        job = DestroysJob(desk.context, desk.at)
        for _ in range(300):
            wake(desk, "7")
            await job.run()
            desk.clock.advance(30)
        limit = attempts_per_hour(desk.context.settings.destroys)
        assert most_in_an_hour(desk.market.asked_for("7")) == limit
        assert {event.data["hold"] for event in desk.trail("destroy.held")} == {"limit_per_hour"}
        assert len(desk.market.asked) > 2 * limit

    async def test_a_restart_does_not_forget_what_was_asked_for(self, desk: Desk) -> None:
        stay(desk, 7)
        for _ in range(100):
            wake(desk, "7")
            await DestroysJob(desk.context, desk.at).run()
            desk.clock.advance(30)
        assert len(desk.market.asked) == attempts_per_hour(desk.context.settings.destroys)

    async def test_a_new_destroy_of_the_same_machine_does_not_forget_it_either(self, desk: Desk) -> None:
        """It was taken for gone again and again, and came back each time."""
        stay(desk, 7)
        job = DestroysJob(desk.context, desk.at)
        for _ in range(60):
            await job.run()
            desk.store.run_sync(destroys.update, evolve(desk.job("7"), gone_at=desk.clock.now()))
            desk.ask("7")
            desk.clock.advance(30)
        assert len(desk.market.asked) == attempts_per_hour(desk.context.settings.destroys)

    async def test_a_person_who_asks_again_and_again_is_under_it_too(self, desk: Desk) -> None:
        desk.over(7, origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED)
        desk.market.stubborn.add("7")
        desk.look()
        job = DestroysJob(desk.context, desk.at)
        for _ in range(120):
            desk.ask("7")
            await job.run()
            desk.clock.advance(30)
        assert most_in_an_hour(desk.market.asked_for("7")) <= attempts_per_hour(desk.context.settings.destroys)

    async def test_a_clock_that_is_set_ahead_makes_nothing_look_old(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stay(desk, 7)
        job = DestroysJob(desk.context, desk.at)
        steady, ahead = desk.clock.now, timedelta()

        def now() -> datetime:
            return steady() + ahead

        monkeypatch.setattr(desk.clock, "now", now)
        for _ in range(100):
            ahead += timedelta(hours=2)
            await job.run()
            desk.clock.advance(30)
        assert len(desk.market.asked) == attempts_per_hour(desk.context.settings.destroys)

    async def test_a_clock_that_was_set_back_before_a_start_stops_nothing(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stay(desk, 7)
        for _ in range(60):
            wake(desk, "7")
            await DestroysJob(desk.context, desk.at).run()
            desk.clock.advance(10)
        before, steady = len(desk.market.asked), desk.clock.now
        monkeypatch.setattr(desk.clock, "now", lambda: steady() - timedelta(days=30))
        wake(desk, "7")
        await DestroysJob(desk.context, desk.at).run()
        assert len(desk.market.asked) == before + 1


class TestLimitForAnAccount:
    @pytest.fixture(autouse=True)
    def low(self, desk: Desk) -> None:
        """A limit that few machines reach."""
        desk.change(retry_max=HOUR_SECONDS)
        assert repeats_per_hour(desk.context.settings.destroys) == 20

    async def test_machines_that_stay_share_what_an_hour_allows(self, desk: Desk) -> None:
        stay(desk, *range(8))
        await work(desk, 2.5 * HOUR)
        seen = Counter[str]()
        repeats = []
        for id_, at in desk.market.asked:
            seen[id_] += 1
            if seen[id_] > FREE_ATTEMPTS:
                repeats.append(at)
        assert most_in_an_hour(repeats) == repeats_per_hour(desk.context.settings.destroys)
        assert min(seen.values()) > FREE_ATTEMPTS, "one of them was forgotten over the others"

    async def test_a_hundred_true_orphans_go_whatever_stays(self, desk: Desk) -> None:
        stay(desk, *range(8))
        job = await work(desk, HOUR)
        orphans = [str(number) for number in range(1000, 1100)]
        for id_ in orphans:
            desk.over(int(id_))
        wake(desk, *map(str, range(8)))
        desk.look()
        before = len(desk.market.asked)
        await job.run()
        assert {id_ for id_, _ in desk.market.asked[before : before + 100]} == set(orphans)
        assert not set(orphans) & desk.market.machines.keys()


class TestTurns:
    async def test_a_first_destroy_that_is_recorded_during_a_run_goes_next(self, desk: Desk) -> None:
        stay(desk, *range(5))
        job = await work(desk, 30)
        before = len(desk.market.asked)

        def record_another(_: str) -> None:
            if "99" not in desk.market.machines and not desk.market.asked_for("99"):
                desk.over(99)

        desk.market.on_destroy = record_another
        wake(desk, *map(str, range(5)))
        await job.run()
        order = [id_ for id_, _ in desk.market.asked[before:]]
        assert order[1] == "99"
        assert sorted(order) == ["0", "1", "2", "3", "4", "99"]

    async def test_each_that_is_due_is_tried_once_in_a_run(self, desk: Desk) -> None:
        stay(desk, *range(5))
        desk.market.on_destroy = lambda _: desk.clock.advance(3600)
        await DestroysJob(desk.context, desk.at).run()
        assert sorted(id_ for id_, _ in desk.market.asked) == ["0", "1", "2", "3", "4"]

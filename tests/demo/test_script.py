from datetime import timedelta
from typing import Any

import pytest

from shopperd.demo.pace import LENGTH_SECONDS_MIN, ROUND_SECONDS, TROUBLES_SHARE, pace_for
from shopperd.demo.record import Asked
from shopperd.demo.script import BEATS, EXPIRES_SHARE, STATE_SECONDS_MAX, Round, due, limit_forgotten_job
from shopperd.demo.show import STORY_SECONDS_SPARE
from shopperd.demo.stage import Stage
from tests.clocks import FakeClock
from tests.demo.scenes import EXPIRED, VAST, tag


def test_the_beats_are_in_order_and_named_once() -> None:
    shares = [beat.share for beat in BEATS]
    assert shares == sorted(shares)
    assert len({beat.name for beat in BEATS}) == len(BEATS)


def test_every_trouble_begins_before_troubles_end() -> None:
    assert all(0.0 <= beat.share < TROUBLES_SHARE for beat in BEATS)


def test_sessions_are_opened_before_anything_happens_to_them() -> None:
    names = [beat.name for beat in BEATS]
    assert names[:2] == ["sessions that stay", "sessions that go"]
    assert names.index("operators end sessions") < names.index("machines come back")


def test_the_forgotten_job_runs_out_of_time_while_troubles_are_on() -> None:
    (share,) = [beat.share for beat in BEATS if beat.play is limit_forgotten_job]
    assert share < share + EXPIRES_SHARE < TROUBLES_SHARE


class BusyDaemon:
    """It takes so many seconds to have a session run."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self.clock = clock
        self.runs_at = clock.monotonic() + seconds
        self.limited_at: list[float] = []

    async def get(self, path: str) -> dict[str, Any]:
        return {"state": "running" if self.clock.monotonic() >= self.runs_at else "creating"}

    async def change(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == f"/sessions/{EXPIRED}/extend"
        self.limited_at.append(self.clock.monotonic())
        return {"expires_at": (self.clock.now() + timedelta(seconds=body["lifetime"])).isoformat()}


@pytest.mark.parametrize("seconds", [0.0, 40.0])
async def test_the_forgotten_job_has_a_machine_before_its_time_runs_however_busy_all_is(seconds: float) -> None:
    clock = FakeClock()
    daemon: Any = BusyDaemon(clock, seconds)
    stage = Stage(pace_for(20.0), clock, daemon, (), lambda *_: None, kill_daemon=lambda: clock.sleep(0))
    forgotten = Asked(EXPIRED, VAST, tag(EXPIRED), "forgotten")
    await limit_forgotten_job(stage, Round({}, forgotten=forgotten))
    (limited_at,) = daemon.limited_at
    assert limited_at >= seconds
    assert forgotten.expires_at == pytest.approx(clock.now().timestamp() + 20.0 * EXPIRES_SHARE)


def test_a_beat_waits_less_than_the_story_waits_for_a_beat() -> None:
    assert STATE_SECONDS_MAX < STORY_SECONDS_SPARE


def test_every_beat_is_due_once_however_time_is_cut() -> None:
    played = [beat.name for step in range(100) for beat in due(BEATS, (step - 1) / 100, step / 100)]
    assert played == [beat.name for beat in BEATS]


def test_nothing_is_due_twice_or_before_its_time() -> None:
    first = BEATS[2]
    assert first not in due(BEATS, -1.0, first.share - 0.001)
    assert first in due(BEATS, -1.0, first.share)
    assert first not in due(BEATS, first.share, 1.0)


def test_a_short_story_is_paced_faster_than_a_long_one() -> None:
    quick, usual = pace_for(LENGTH_SECONDS_MIN), pace_for(ROUND_SECONDS)
    assert quick.grace < usual.grace
    assert quick.sweep < usual.sweep
    assert quick.sightings == usual.sightings


def test_the_end_waits_longer_than_the_published_bound() -> None:
    pace = pace_for(ROUND_SECONDS)
    assert pace.settle_max(30.0) > 30.0 + pace.create_deadline

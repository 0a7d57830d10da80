from shopperd.demo.pace import LENGTH_SECONDS_MIN, ROUND_SECONDS, TROUBLES_SHARE, pace_for
from shopperd.demo.script import BEATS, EXPIRES_SHARE, due


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
    assert 0.0 < EXPIRES_SHARE < TROUBLES_SHARE


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

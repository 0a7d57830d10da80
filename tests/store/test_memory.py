from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from shopperd.model import MemorySpan
from shopperd.store import Store, memory
from tests.store.nouns import START

GAP = 60.0


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _beat(store: Store, *seconds: float) -> list[MemorySpan]:
    for moment in seconds:
        store.run_sync(memory.beat, _at(moment), GAP)
    return store.run_sync(memory.spans)


def test_beats_without_a_gap_make_one_span(store: Store) -> None:
    assert _beat(store, 0, 60, 120) == [MemorySpan(_at(0), _at(120))]


def test_a_beat_after_a_gap_opens_a_new_span(store: Store) -> None:
    assert _beat(store, 0, 60, 121) == [MemorySpan(_at(0), _at(60)), MemorySpan(_at(121), _at(121))]


def test_a_start_opens_a_new_span_however_short_the_pause(store: Store) -> None:
    _beat(store, 0, 10)
    store.run_sync(memory.wake, _at(10.5))
    assert _beat(store, 20) == [MemorySpan(_at(0), _at(10)), MemorySpan(_at(10.5), _at(20))]


def test_nothing_is_remembered_between_a_time_to_which_the_clock_was_set_back_and_the_newest_beat(store: Store) -> None:
    before = _beat(store, 0, 50, 100, 150)
    assert before == [MemorySpan(_at(0), _at(150))]
    begins = _at(150) + memory.STEP
    assert _beat(store, 90) == [MemorySpan(_at(0), _at(90)), MemorySpan(begins, begins)]
    assert _beat(store, 100, 140) == [MemorySpan(_at(0), _at(90)), MemorySpan(begins, begins + 2 * memory.STEP)]
    assert _beat(store, 155, 160) == [MemorySpan(_at(0), _at(90)), MemorySpan(begins, _at(160))]


def test_a_start_with_a_clock_that_is_behind_remembers_nothing_until_it_has_caught_up(store: Store) -> None:
    _beat(store, 3600)
    store.run_sync(memory.wake, _at(0))
    begins = _at(3600) + memory.STEP
    assert _beat(store, 30) == [MemorySpan(_at(3600), _at(3600)), MemorySpan(begins, begins + memory.STEP)]
    assert _beat(store, 3610)[-1] == MemorySpan(begins, _at(3610))


def test_a_clock_that_is_slewed_back_a_little_breaks_nothing(store: Store) -> None:
    assert _beat(store, 0, 10, 8, 20) == [MemorySpan(_at(0), _at(20))]


@pytest.mark.parametrize("moments", [(0, 10, 10, 8, 20), (3600, 0, 1, 2, 2), (3600, 3601, 5, 3602)])
def test_a_beat_is_later_than_all_before_whatever_the_clock_does(store: Store, moments: tuple[float, ...]) -> None:
    beats: list[datetime] = []
    for seconds in moments:
        beats.append(store.run_sync(memory.beat, _at(seconds), GAP, beats[-1] if beats else None))
        assert beats[-1] == store.run_sync(memory.newest_beat)
    assert all(before < after for before, after in pairwise(beats)), beats


def test_spans_since_a_moment_are_those_that_were_awake_then_or_later(store: Store) -> None:
    _beat(store, 0, 30, 500, 520, 1000)
    assert [span.started_at for span in store.run_sync(memory.spans, _at(520))] == [_at(500), _at(1000)]
    assert [span.started_at for span in store.run_sync(memory.spans, _at(521))] == [_at(1000)]


@pytest.mark.parametrize(("limit", "left"), [(1, 2), (9, 1)])
def test_old_spans_are_pruned_but_never_the_newest(store: Store, limit: int, left: int) -> None:
    _beat(store, 0, 500, 1000)
    store.run_sync(memory.prune_spans, _at(9000), limit)
    assert len(store.run_sync(memory.spans)) == left

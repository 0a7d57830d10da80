"""Which event a hook is sent next."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from shopperd.jobs.outbox import FAILING_MAX, RETRY_SECONDS_MAX, Outbox, Pause
from shopperd.model import Event
from shopperd.store.hooks import Place, Window

AT = datetime(2026, 11, 22, tzinfo=UTC)


def event(number: int, session: int | None = 1, kind: str = "session.moved", **more: str) -> Event:
    return Event(AT, kind, "It moved.", session_id=None if session is None else UUID(int=session), id=number, **more)


def outbox(cursor: int = 0, *ahead: int, patterns: Sequence[str] = ("session.*",)) -> Outbox:
    return Outbox.at(Place(cursor, ahead), patterns)


def test_events_of_one_session_go_in_the_order_of_their_numbers() -> None:
    box, trail = outbox(), [event(1), event(2)]
    assert box.due(trail, 0.0) == trail[0]
    box.taken(trail[0])
    assert box.due(trail, 0.0) == trail[1]
    box.taken(trail[1])
    assert box.due(trail, 0.0) is None
    box.advance(Window(trail, trail[-1].id))
    assert box.place == Place(2)


def test_after_a_failure_the_others_go_on_and_the_same_session_waits() -> None:
    box, trail = outbox(), [event(1), event(2), event(3, session=2), event(4, session=None, instance_id="m1")]
    box.failed(trail[0], 0.0, random.Random(1), unheard=False)
    for other in trail[2:]:
        assert box.due(trail, 0.0) == other
        box.taken(other)
    assert box.due(trail, 0.0) is None
    box.advance(Window(trail, trail[-1].id))
    assert box.place == Place(0, (3, 4))
    assert box.due(trail, RETRY_SECONDS_MAX) == trail[0]


def test_what_was_taken_ahead_is_known_after_a_restart() -> None:
    trail = [event(1), event(2, session=2), event(3, session=2)]
    box = outbox(0, 2)
    assert box.pending(trail) == [trail[0], trail[2]]
    box.taken(trail[0])
    box.advance(Window(trail, trail[-1].id))
    assert box.place == Place(2)


def test_the_cursor_goes_over_what_is_of_no_interest_and_never_back() -> None:
    box = outbox(3)
    box.advance(Window([], 9))
    assert box.place == Place(9)
    box.advance(Window([event(12)], 20))
    assert box.place == Place(11)
    box.advance(Window([], 5))
    assert box.place == Place(11)


def test_nothing_is_sent_while_nobody_hears() -> None:
    box, trail = outbox(), [event(1), event(2, session=2)]
    pause = box.failed(trail[0], 0.0, random.Random(1), unheard=True)
    assert box.due(trail, pause - 0.01) is None
    assert box.due_in(trail, 0.0) == pytest.approx(pause)
    assert box.due(trail, pause) == trail[1], "the one that failed less"


def test_a_pause_doubles_up_to_five_minutes_and_ends_with_success() -> None:
    box, chance = outbox(), random.Random(1)
    seconds = [box.failed(event(1), 0.0, chance, unheard=True) for _ in range(200)]
    for tries, taken in enumerate(seconds):
        assert 0.8 * min(2.0**tries, 300.0) <= taken <= 1.2 * min(2.0**tries, 300.0)
    box.taken(event(1))
    assert (box.silence, box.failing) == (Pause(), {})


def test_when_many_sessions_fail_no_more_are_tried_until_one_gets_through() -> None:
    box = outbox()
    trail = [event(number, session=number) for number in range(1, FAILING_MAX + 2)]
    for each in trail[:-1]:
        assert box.due(trail, 0.0) == each
        box.failed(each, 0.0, random.Random(1), unheard=False)
    assert box.due(trail, 0.0) is None
    tried = box.due(trail, 2.0)
    assert tried in trail[:-1]
    box.taken(tried)
    assert box.due(trail, 2.0) == trail[-1]


def test_what_is_deleted_before_it_was_sent_is_counted() -> None:
    box = outbox(2, 4)
    gone = [(1, "session.ended"), (2, "session.ended"), (3, "session.ended"), (4, "session.ended"), (5, "store.failed")]
    assert box.overtaken(gone) == 1

from uuid import UUID

from shopperd.model import Event
from shopperd.store import Store, events, hooks
from shopperd.store.hooks import Place, Window
from tests.store.nouns import START


def tell(store: Store, kind: str = "session.moved") -> Event:
    return store.run_sync(events.append, Event(START, kind, "It moved.", session_id=UUID(int=1)))


def test_a_new_hook_begins_behind_the_newest_event_and_then_goes_on(store: Store) -> None:
    newest = tell(store).id
    assert store.run_sync(hooks.begin, "ci") == Place(newest)
    tell(store)
    assert store.run_sync(hooks.begin, "ci") == Place(newest)
    store.run_sync(hooks.keep, "ci", Place(newest + 1, (newest + 3, newest + 4)))
    assert store.run_sync(hooks.begin, "ci") == Place(newest + 1, (newest + 3, newest + 4))


def test_one_that_was_taken_out_is_new_when_it_is_back(store: Store) -> None:
    for name in ("ci", "ci-2", "x_y"):
        store.run_sync(hooks.begin, name)
    newest = tell(store).id
    store.run_sync(hooks.forget_others, ["ci-2"])
    assert store.run_sync(hooks.begin, "ci") == store.run_sync(hooks.begin, "x_y") == Place(newest)
    assert store.run_sync(hooks.begin, "ci-2") == Place(newest - 1)


def test_a_window_shows_what_is_wanted_and_how_far_it_reaches(store: Store) -> None:
    kinds = ("session.moved", "sessions.x", "orphan.detected", "orphan.other", "session_x.y")
    moved, _, detected, other, last = [tell(store, kind) for kind in kinds]
    patterns = ("session.*", "orphan.detected")
    assert store.run_sync(hooks.window, 0, patterns, 9) == Window([moved, detected], last.id)
    assert store.run_sync(hooks.window, 0, patterns, 2) == Window([moved, detected], detected.id)
    assert store.run_sync(hooks.window, detected.id, patterns, 2) == Window([], last.id)
    assert store.run_sync(hooks.window, detected.id, ("*",), 9) == Window([other, last], last.id)
    assert store.run_sync(hooks.window, last.id + 5, patterns, 9) == Window([], last.id + 5)

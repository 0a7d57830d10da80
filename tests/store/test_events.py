from datetime import timedelta
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings

from shopperd.model import Event
from shopperd.store import Store, events
from tests.store import nouns
from tests.store.nouns import START


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=nouns.events)
def test_an_event_is_read_as_it_was_written(store: Store, wanted: Event) -> None:
    written = store.run_sync(events.append, wanted)
    assert written == evolve(wanted, id=written.id)
    assert store.run_sync(events.page, after=written.id - 1) == [written]


def _event(minutes: int, **changes: object) -> Event:
    return Event(START + timedelta(minutes=minutes), "test.happened", "It happened.", **changes)  # type: ignore[arg-type]


def test_a_page_begins_after_a_number_and_can_run_backwards(store: Store) -> None:
    first, *others = [store.run_sync(events.append, _event(minutes)).id for minutes in range(4)]
    assert [event.id for event in store.run_sync(events.page, after=first, limit=2)] == others[:2]
    backwards = store.run_sync(events.page, after=first, limit=2, newest_first=True)
    assert [event.id for event in backwards] == [others[2], others[1]]
    assert store.run_sync(events.page, after=others[2]) == []


def test_the_events_of_one_kind_since_a_moment_are_of_one_account_or_one_machine(store: Store) -> None:
    for minutes, machine in enumerate(("m1", "m1", "m2", None)):
        mine = _event(minutes, account="main", instance_id=machine)
        for event in (mine, evolve(mine, account="other"), evolve(mine, kind="test.other")):
            store.run_sync(events.append, event)
    since = START + timedelta(minutes=1)
    found = store.run_sync(events.since, "test.happened", since, account="main")
    assert [(event.at, event.instance_id) for event in found] == [
        (since, "m1"),
        (START + timedelta(minutes=2), "m2"),
        (START + timedelta(minutes=3), None),
    ]
    assert store.run_sync(events.since, "test.happened", since, account="main", instance="m1") == found[:1]


def test_a_page_can_be_of_one_session_instance_or_account(store: Store) -> None:
    one = store.run_sync(events.append, _event(0, account="main", session_id=UUID(int=1), instance_id="m1"))
    store.run_sync(events.append, _event(1, account="other", session_id=UUID(int=2), instance_id="m2"))
    store.run_sync(events.append, _event(2))
    assert store.run_sync(events.page, session=UUID(int=1)) == [one]
    assert store.run_sync(events.page, instance="m1") == [one]
    assert store.run_sync(events.page, account="main") == [one]
    assert store.run_sync(events.page, session=UUID(int=1), instance="m2") == []


def test_the_last_number_is_that_of_the_newest_event(store: Store) -> None:
    assert store.run_sync(events.last_id) == 0
    newest = [store.run_sync(events.append, _event(minutes)) for minutes in range(3)][-1]
    assert store.run_sync(events.last_id) == newest.id


def test_old_events_are_pruned_in_batches_and_their_numbers_not_given_again(store: Store) -> None:
    newest = [store.run_sync(events.append, _event(minutes)) for minutes in range(4)][-1]
    assert store.run_sync(events.prune, START + timedelta(minutes=3), 2) == [(1, newest.kind), (2, newest.kind)]
    assert store.run_sync(events.prune, START + timedelta(minutes=3), 9) == [(3, newest.kind)]
    assert store.run_sync(events.page) == [newest]
    assert store.run_sync(events.prune, START + timedelta(hours=1), 9) == [(4, newest.kind)]
    assert store.run_sync(events.append, _event(9)).id > newest.id


def test_data_may_hold_times_and_ids_which_become_text(store: Store) -> None:
    written = store.run_sync(events.append, _event(0, data={"at": START, "id": UUID(int=1)}))
    (read,) = store.run_sync(events.page)
    assert read.id == written.id
    assert read.data == {"at": "2026-11-22T22:00:00Z", "id": str(UUID(int=1))}


def test_data_that_is_no_json_is_refused(store: Store) -> None:
    with pytest.raises(TypeError):
        store.run_sync(events.append, _event(0, data={"what": object()}))

from datetime import timedelta
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings

from shopperd.model import Session, SessionState, Spec
from shopperd.store import BadCursor, Conflict, Store, destroys, instances, sessions
from tests.store import nouns
from tests.store.nouns import START, job, later, session, track


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=nouns.sessions)
def test_a_session_is_read_as_it_was_written(store: Store, wanted: Session) -> None:
    if store.run_sync(sessions.get, wanted.id) is None:
        store.run_sync(sessions.insert, wanted)
        assert store.run_sync(sessions.get, wanted.id) == wanted
        changed = store.run_sync(sessions.update, wanted)
        assert changed == evolve(wanted, version=wanted.version + 1)
        assert store.run_sync(sessions.get, wanted.id) == changed


def test_what_no_database_can_store_in_a_text_is_replaced(store: Store) -> None:
    store.run_sync(sessions.insert, session(1, reason="a\x00b\ud800c"))
    found = store.run_sync(sessions.get, UUID(int=1))
    assert found is not None
    assert found.reason == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("price", [float("nan"), float("inf")])
def test_a_price_that_is_no_number_is_refused(store: Store, price: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        store.run_sync(sessions.insert, session(1, price_per_hour=price))
    assert store.run_sync(sessions.get, UUID(int=1)) is None


def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="without a zone"):
        store.run_sync(sessions.insert, session(1, created_at=START.replace(tzinfo=None)))


def test_an_id_can_be_inserted_once(store: Store) -> None:
    store.run_sync(sessions.insert, session(1))
    with pytest.raises(Conflict):
        store.run_sync(sessions.insert, session(1, account="other"))
    assert store.run_sync(sessions.get, UUID(int=1)) == session(1)


def test_a_writer_with_the_newest_version_is_accepted(store: Store) -> None:
    store.run_sync(sessions.insert, session(1))
    first = store.run_sync(sessions.update, session(1, state=SessionState.ENDING))
    second = store.run_sync(sessions.update, evolve(first, state=SessionState.ENDED))
    assert second.version == 3


def test_a_writer_with_an_older_version_is_refused(store: Store) -> None:
    store.run_sync(sessions.insert, session(1))
    first = store.run_sync(sessions.update, session(1, state=SessionState.ENDING))
    with pytest.raises(Conflict):
        store.run_sync(sessions.update, session(1, state=SessionState.RUNNING))
    assert store.run_sync(sessions.get, UUID(int=1)) == first


def test_a_session_that_is_not_there_cannot_be_updated(store: Store) -> None:
    with pytest.raises(Conflict):
        store.run_sync(sessions.update, session(1))


def _walk(store: Store, limit: int) -> list[int]:
    found: list[int] = []
    cursor: str | None = None
    while True:
        page = store.run_sync(sessions.page, limit=limit, cursor=cursor)
        found += [item.id.int for item in page.items]
        if (cursor := page.next) is None:
            return found


def test_pages_hold_every_session_once_newest_first_also_of_the_same_moment(store: Store) -> None:
    for number in range(1, 8):
        store.run_sync(sessions.insert, session(number, created_at=later(number // 3)))
    for limit in (1, 2, 3, 7, 100):
        assert _walk(store, limit) == [7, 6, 5, 4, 3, 2, 1]


def test_a_page_is_not_shifted_by_what_is_inserted_meanwhile(store: Store) -> None:
    for number in range(1, 5):
        store.run_sync(sessions.insert, session(number))
    first = store.run_sync(sessions.page, limit=2)
    store.run_sync(sessions.insert, session(9))
    second = store.run_sync(sessions.page, limit=2, cursor=first.next)
    assert [item.id.int for item in (*first.items, *second.items)] == [4, 3, 2, 1]
    assert second.next is None


def test_a_page_can_be_of_some_states_and_of_one_account(store: Store) -> None:
    store.run_sync(sessions.insert, session(1, state=SessionState.ENDED))
    store.run_sync(sessions.insert, session(2))
    store.run_sync(sessions.insert, session(3, account="other"))
    page = store.run_sync(sessions.page, states={SessionState.RUNNING}, account="main")
    assert [item.id.int for item in page.items] == [2]
    assert store.run_sync(sessions.page, states=[]).items == ()


@pytest.mark.parametrize("cursor", ["", "x", "WyJhIl0", "WyJhIiwiYiJd", "é", "A" * 3000, "WzEsMl0"])
def test_a_cursor_from_elsewhere_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursor):
        store.run_sync(sessions.page, cursor=cursor)


def test_open_sessions_are_those_that_are_not_over(store: Store) -> None:
    for number, state in enumerate(SessionState, start=1):
        store.run_sync(sessions.insert, session(number, state=state))
    store.run_sync(sessions.insert, session(99, account="other"))
    found = [item.state for item in store.run_sync(sessions.open_sessions, "main")]
    assert found == [
        SessionState.EXPECTED,
        SessionState.CREATING,
        SessionState.STARTING,
        SessionState.RUNNING,
        SessionState.STOPPED,
        SessionState.ENDING,
    ]
    assert [item.state for item in store.run_sync(sessions.creating, "main")] == [SessionState.CREATING]


def test_lost_sessions_are_found_from_the_moment_of_their_loss_on(store: Store) -> None:
    store.run_sync(sessions.insert, session(1, state=SessionState.LOST, state_since=later(10)))
    store.run_sync(sessions.insert, session(2, state=SessionState.LOST, ended_at=later(20)))
    store.run_sync(sessions.insert, session(3, state=SessionState.ENDED, state_since=later(20)))
    assert [item.id.int for item in store.run_sync(sessions.lost_since, "main", later(10))] == [1, 2]
    assert [item.id.int for item in store.run_sync(sessions.lost_since, "main", later(11))] == [2]


def test_known_ids_are_told_from_unknown_ones_however_many_are_asked(store: Store) -> None:
    store.run_sync(sessions.insert, session(1))
    store.run_sync(sessions.insert, session(1200, state=SessionState.FAILED))
    found = store.run_sync(sessions.known, [UUID(int=number) for number in range(1, 1300)])
    assert found == {UUID(int=1): session(1), UUID(int=1200): session(1200, state=SessionState.FAILED)}
    assert store.run_sync(sessions.known, []) == {}


def test_a_bound_machine_leads_to_its_newest_session(store: Store) -> None:
    store.run_sync(sessions.insert, session(1, instance_id="m1", state=SessionState.ENDED))
    store.run_sync(sessions.insert, session(2, instance_id="m1"))
    store.run_sync(sessions.insert, session(3, instance_id="m1", account="other"))
    found = store.run_sync(sessions.bound, "main", ["m1", "m2"])
    assert {key: value.id.int for key, value in found.items()} == {"m1": 2}


def _over(number: int, **changes: object) -> Session:
    values = {"state": SessionState.ENDED, "ended_at": later(number), "instance_id": f"m{number}", "reason": "done"}
    return session(number, **(values | changes))


def test_an_old_session_is_forgotten_but_its_id_is_known_for_ever(store: Store) -> None:
    store.run_sync(sessions.insert, _over(1, spec=Spec(env={"KEY": "value"})))
    store.run_sync(sessions.remember_key, "key", "print", UUID(int=1), START)
    assert store.run_sync(sessions.forget_ended, later(60), 10) == 1
    assert store.run_sync(sessions.get, UUID(int=1)) is None
    assert store.run_sync(sessions.by_key, "key") is None
    tombstone = _over(1)
    assert store.run_sync(sessions.known, [UUID(int=1)]) == {UUID(int=1): tombstone}
    assert store.run_sync(sessions.bound, "main", ["m1"]) == {"m1": tombstone}
    with pytest.raises(Conflict):
        store.run_sync(sessions.insert, session(1))


def test_a_session_is_not_forgotten_before_its_time_or_while_it_lives(store: Store) -> None:
    store.run_sync(sessions.insert, _over(1, ended_at=later(60)))
    store.run_sync(sessions.insert, session(2, expires_at=START - timedelta(days=900)))
    assert store.run_sync(sessions.forget_ended, later(60), 10) == 0


def test_a_session_is_not_forgotten_while_a_machine_of_it_may_exist(store: Store) -> None:
    for number in (1, 2, 3):
        store.run_sync(sessions.insert, _over(number))
    by_tag = track("m9", instance={"session_id": UUID(int=2)})
    store.run_sync(instances.save, "main", [track("m1"), by_tag, track("m3", gone_at=later(1))])
    assert store.run_sync(sessions.forget_ended, later(60), 10) == 1
    assert store.run_sync(sessions.get, UUID(int=3)) is None


def test_a_session_is_not_forgotten_while_its_destroy_is_open(store: Store) -> None:
    store.run_sync(sessions.insert, _over(1))
    added = store.run_sync(destroys.add, job("m1"))
    assert store.run_sync(sessions.forget_ended, later(60), 10) == 0
    store.run_sync(destroys.update, evolve(added, gone_at=later(1)))
    assert store.run_sync(sessions.forget_ended, later(60), 10) == 1


def test_forgetting_goes_in_batches_oldest_first(store: Store) -> None:
    for number in (1, 2, 3):
        store.run_sync(sessions.insert, _over(number))
    assert store.run_sync(sessions.forget_ended, later(60), 2) == 2
    assert store.run_sync(sessions.get, UUID(int=3)) is not None


def test_an_idempotency_key_names_its_session_and_request(store: Store) -> None:
    store.run_sync(sessions.insert, session(1))
    store.run_sync(sessions.remember_key, "key", "print", UUID(int=1), START)
    assert store.run_sync(sessions.by_key, "key") == (UUID(int=1), "print")
    assert store.run_sync(sessions.by_key, "other") is None


def test_an_idempotency_key_is_used_once(store: Store) -> None:
    store.run_sync(sessions.insert, session(1))
    store.run_sync(sessions.remember_key, "key", "print", UUID(int=1), START)
    with pytest.raises(Conflict):
        store.run_sync(sessions.remember_key, "key", "print", UUID(int=1), START)


def test_an_idempotency_key_without_a_session_is_refused(store: Store) -> None:
    with pytest.raises(Conflict):
        store.run_sync(sessions.remember_key, "key", "print", UUID(int=1), START)

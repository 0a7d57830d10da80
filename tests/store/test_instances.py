from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings

from shopperd.model import InstanceState, Ownership, Track
from shopperd.store import BadCursor, Store, destroys, instances, sessions
from tests.store import nouns
from tests.store.nouns import job, later, session, track


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=nouns.tracks)
def test_a_track_is_read_as_it_was_written_and_rewritten(store: Store, wanted: Track) -> None:
    store.run_sync(instances.save, "main", [track(wanted.instance.id), wanted])
    assert store.run_sync(instances.get, "main", wanted.instance.id) == wanted


def test_tracks_come_in_the_order_of_the_bytes_of_their_ids(store: Store) -> None:
    ids = ["a", "B", "10", "9", "é", "-x", "a-b", "ab"]
    store.run_sync(instances.save, "main", [track(one) for one in ids])
    assert list(store.run_sync(instances.tracks, "main")) == sorted(ids)


def test_tracks_leave_out_gone_machines_unless_asked(store: Store) -> None:
    store.run_sync(instances.save, "main", [track("m1", gone_at=later(1)), track("m2")])
    assert list(store.run_sync(instances.tracks, "main")) == ["m2"]
    assert list(store.run_sync(instances.some, "main", ["m1", "m2", "m3"])) == ["m2", "m1"]


def test_the_same_id_in_two_accounts_is_two_machines(store: Store) -> None:
    other = track("m1", instance={"account": "other"}, sightings=7)
    store.run_sync(instances.save, "main", [track("m1")])
    store.run_sync(instances.save, "other", [other])
    assert store.run_sync(instances.get, "main", "m1") == track("m1")
    assert store.run_sync(instances.get, "other", "m1") == other


def test_a_machine_of_another_account_is_not_saved(store: Store) -> None:
    with pytest.raises(ValueError, match="another account"):
        store.run_sync(instances.save, "other", [track("m1")])


def test_nothing_to_save_is_nothing_to_do(store: Store) -> None:
    store.run_sync(instances.save, "main", [])
    assert store.run_sync(instances.tracks, "main") == {}


def test_an_exemption_survives_a_sweep_that_read_before_it(store: Store) -> None:
    store.run_sync(instances.save, "main", [track("m1")])
    read = store.run_sync(instances.tracks, "main")["m1"]
    assert store.run_sync(instances.set_exempt, "main", "m1", True)
    store.run_sync(instances.save, "main", [evolve(read, sightings=2)])
    assert store.run_sync(instances.get, "main", "m1") == track("m1", sightings=2, exempt=True)
    assert store.run_sync(instances.set_exempt, "main", "m1", False)
    assert store.run_sync(instances.get, "main", "m1") == track("m1", sightings=2)


def test_a_new_machine_can_be_exempt_from_the_start(store: Store) -> None:
    store.run_sync(instances.save, "main", [track("m1", exempt=True)])
    assert store.run_sync(instances.get, "main", "m1") == track("m1", exempt=True)


def test_a_machine_that_is_not_there_cannot_be_exempted(store: Store) -> None:
    assert not store.run_sync(instances.set_exempt, "main", "m1", True)


def test_pages_hold_every_machine_that_is_not_gone_once(store: Store) -> None:
    for account in ("b", "a"):
        machines = [track(str(number), instance={"account": account}) for number in range(3)]
        store.run_sync(
            instances.save, account, [*machines, track("gone", instance={"account": account}, gone_at=later(1))]
        )
    found: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        page = store.run_sync(instances.page, limit=2, cursor=cursor)
        found += [(item.instance.account, item.instance.id) for item in page.items]
        if (cursor := page.next) is None:
            break
    assert found == [(account, str(number)) for account in ("a", "b") for number in range(3)]


def test_a_page_can_be_of_one_account_ownership_and_state(store: Store) -> None:
    ours = {"ownership": Ownership.OURS, "state": InstanceState.STOPPED}
    store.run_sync(instances.save, "main", [track("m1"), track("m2", instance=ours)])
    found = store.run_sync(instances.page, account="main", ownership=Ownership.OURS, state=InstanceState.STOPPED)
    assert [item.instance.id for item in found.items] == ["m2"]
    assert store.run_sync(instances.page, account="other").items == ()


def test_a_cursor_from_elsewhere_is_refused(store: Store) -> None:
    with pytest.raises(BadCursor):
        store.run_sync(instances.page, cursor="nonsense")


def test_gone_machines_are_forgotten_in_batches_and_others_never(store: Store) -> None:
    machines = [
        track("m1", gone_at=later(1)),
        track("m2", gone_at=later(2)),
        track("m3", gone_at=later(9)),
        track("m4"),
    ]
    store.run_sync(instances.save, "main", machines)
    assert store.run_sync(instances.forget_gone, later(5), 1) == 1
    assert store.run_sync(instances.forget_gone, later(5), 9) == 1
    assert list(store.run_sync(instances.some, "main", ["m1", "m2", "m3", "m4"])) == ["m4", "m3"]


def test_a_gone_machine_is_remembered_while_its_destroy_is_open(store: Store) -> None:
    store.run_sync(instances.save, "main", [track("m1", gone_at=later(1))])
    store.run_sync(destroys.add, job("m1"))
    assert store.run_sync(instances.forget_gone, later(5), 9) == 0


def test_a_machine_may_name_a_session_that_the_store_never_had(store: Store) -> None:
    stranger = track("m1", instance={"session_id": UUID(int=5), "ownership": Ownership.UNKNOWN})
    store.run_sync(instances.save, "main", [stranger])
    store.run_sync(sessions.insert, session(1))
    assert store.run_sync(instances.get, "main", "m1") == stranger

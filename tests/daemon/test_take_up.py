"""What a start makes of the store that it finds."""

from __future__ import annotations

from uuid import UUID

import pytest
from attrs import evolve

from shopperd.daemon import take_up
from shopperd.jobs.knowledge import RESTORED_KEY
from shopperd.model import Session, SessionState, Spec, tag_of
from shopperd.settings import Settings
from shopperd.store import Binding, Store, StoreOfAnother, events, meta, sessions
from tests.clocks import FakeClock

PLACE = Binding("host", "/state/shopperd.db", "8:17")
SETTINGS = Settings()


@pytest.fixture
def store() -> Store:
    store = Store.open("sqlite://", clock=FakeClock(), inline=True)
    assert start(store, PLACE, created=True), "the first sweeps of a new store only look"
    return store


def start(store: Store, place: Binding, settings: Settings = SETTINGS, *, created: bool = False) -> bool:
    return store.run_sync(take_up, place, settings, FakeClock().now(), created=created)


def is_restored(store: Store) -> bool:
    kinds = [event.kind for event in store.run_sync(events.page)]
    assert (store.run_sync(meta.get, RESTORED_KEY) is not None) is ("store.restored" in kinds)
    return "store.restored" in kinds


def test_a_start_in_the_same_place_is_nothing_new(store: Store) -> None:
    assert not start(store, PLACE)
    assert not is_restored(store)


@pytest.mark.parametrize("place", [evolve(PLACE, host="another"), evolve(PLACE, inode="9:17")])
def test_a_volume_that_is_mounted_elsewhere_only_has_the_first_sweeps_look(store: Store, place: Binding) -> None:
    assert start(store, place)
    assert not is_restored(store), "deadlines go on to count"


@pytest.mark.parametrize("place", [evolve(PLACE, inode="8:18"), evolve(PLACE, continuous=False)])
def test_another_file_in_its_place_is_a_backup_even_beside_its_own_lock(store: Store, place: Binding) -> None:
    start(store, place)
    assert is_restored(store)


def asked(store: Store) -> None:
    id_ = UUID(int=1)
    session = Session(id_, "main", "vastai", SessionState.ENDED, tag_of(id_), FakeClock().now(), Spec())
    store.run_sync(sessions.insert, session)


def test_a_deployment_of_another_name_does_not_take_over_sessions(store: Store) -> None:
    asked(store)
    with pytest.raises(StoreOfAnother, match="belongs to deployment '', and the configuration says 'prod'"):
        start(store, PLACE, evolve(SETTINGS, deployment="prod"))
    assert not start(store, PLACE), "with its own name it starts as ever"


def test_a_deployment_may_be_named_anew_before_its_first_session(store: Store) -> None:
    start(store, PLACE, evolve(SETTINGS, deployment="prod"))
    asked(store)
    with pytest.raises(StoreOfAnother):
        start(store, PLACE)

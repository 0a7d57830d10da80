from collections.abc import Callable

import pytest
from attrs import evolve

from shopperd.store import Store, StoreDamaged, meta
from tests.clocks import FakeClock
from tests.store.nouns import START, later


def test_a_value_is_read_as_it_was_put_last(store: Store) -> None:
    assert store.run_sync(meta.get, "frozen", "no") == "no"
    store.run_sync(meta.put, "frozen", {"reason": "holiday", "n": [1, 2.5, True, None]})
    store.run_sync(meta.put, "frozen", {"reason": "audit"})
    assert store.run_sync(meta.get, "frozen") == {"reason": "audit"}


def test_a_removed_value_is_not_there(store: Store) -> None:
    store.run_sync(meta.put, "frozen", False)
    assert store.run_sync(meta.get, "frozen") is False
    store.run_sync(meta.remove, "frozen")
    store.run_sync(meta.remove, "frozen")
    assert store.run_sync(meta.get, "frozen") is None


def test_null_is_no_value(store: Store) -> None:
    with pytest.raises(ValueError, match="remove"):
        store.run_sync(meta.put, "frozen", None)


def test_a_new_store_has_an_identity_and_no_place(store: Store, clock: FakeClock) -> None:
    identity = store.run_sync(meta.identity)
    assert store.created
    assert identity.created_at == clock.now()
    assert identity.host is identity.path is identity.inode is identity.bound_at is None


def test_a_store_is_new_when_it_is_bound_first_and_known_after_a_restart(
    url: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(url)
    identity = store.run_sync(meta.identity)
    assert store.run_sync(meta.bind, store.binding, START)
    store.close_sync()
    again = open_store(url)
    assert not again.created
    assert not again.run_sync(meta.bind, again.binding, later(1))
    found = again.run_sync(meta.identity)
    assert (found.store_id, found.created_at) == (identity.store_id, identity.created_at)
    assert (found.path, found.inode, found.bound_at) == (store.binding.path, store.binding.inode, START)


@pytest.mark.parametrize("part", ["host", "path", "inode"])
def test_a_store_that_lives_elsewhere_now_is_noticed_once(store: Store, part: str) -> None:
    binding = evolve(store.binding, continuous=True)
    store.run_sync(meta.bind, binding, START)
    moved = evolve(binding, **{part: "elsewhere"})
    assert store.run_sync(meta.bind, moved, later(1))
    assert not store.run_sync(meta.bind, moved, later(2))
    assert store.run_sync(meta.identity).bound_at == later(1)


def test_a_store_that_was_put_back_is_noticed_in_the_same_place(store: Store) -> None:
    store.run_sync(meta.bind, store.binding, START)
    assert store.run_sync(meta.bind, evolve(store.binding, continuous=False), later(1))


def test_an_identity_that_cannot_be_read_is_damage(store: Store) -> None:
    store.run_sync(meta.put, "store.identity", {"store_id": "nonsense"})
    with pytest.raises(StoreDamaged):
        store.run_sync(meta.identity)
    store.run_sync(meta.remove, "store.identity")
    with pytest.raises(StoreDamaged):
        store.run_sync(meta.identity)

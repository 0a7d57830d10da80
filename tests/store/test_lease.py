from datetime import timedelta
from uuid import UUID

from shopperd.store import Store, lease
from tests.clocks import FakeClock

ONE, OTHER = UUID(int=1), UUID(int=2)


def test_a_store_is_held_by_one_process_until_its_lease_is_over() -> None:
    clock = FakeClock()
    store = Store.open("sqlite://", clock=clock, inline=True)
    now = clock.now()
    assert store.run_sync(lease.hold, ONE, now, 30.0) is None
    held = store.run_sync(lease.hold, OTHER, now + timedelta(seconds=29), 30.0)
    assert held == lease.Holder(ONE.hex, now + timedelta(seconds=30))
    assert store.run_sync(lease.hold, ONE, now + timedelta(seconds=29), 30.0) is None, "it renews its own"
    assert store.run_sync(lease.hold, OTHER, now + timedelta(seconds=58), 30.0) is not None
    assert store.run_sync(lease.hold, OTHER, now + timedelta(seconds=59), 30.0) is None
    assert store.run_sync(lease.hold, ONE, now + timedelta(seconds=60), 30.0) is not None
    store.close_sync()


def test_the_databases_own_clock_tells_when_a_lease_is_over(store: Store) -> None:
    clock = FakeClock()
    assert store.run_sync(lease.hold, ONE, clock.now(), 3600.0) is None
    far = clock.now() + timedelta(days=365 * 90)
    another = store.run_sync(lease.hold, OTHER, far, 3600.0)
    assert (another is not None) is store.binding.shared, "a host's clock that is ahead ends no lease in a shared store"


def test_what_is_given_up_can_be_taken_at_once_but_only_by_its_holder(store: Store) -> None:
    now = FakeClock().now()
    store.run_sync(lease.hold, ONE, now, 30.0)
    store.run_sync(lease.release, OTHER)
    assert store.run_sync(lease.hold, OTHER, now, 30.0) is not None
    store.run_sync(lease.release, ONE)
    assert store.run_sync(lease.hold, OTHER, now, 30.0) is None

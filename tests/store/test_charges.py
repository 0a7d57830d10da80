from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from shopperd.model import Charge, InstanceState
from shopperd.store import Store, charges
from tests.clocks import FakeClock
from tests.store.nouns import START

OWNER = UUID(int=1, version=4)
HOUR = 3600.0


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _charge(start: float = 0, end: float | None = None, **changes: Any) -> Charge:
    values: dict[str, Any] = {"session_id": OWNER, "state": InstanceState.RUNNING, "usd_per_hour": 2.0} | changes
    ended = None if end is None else _at(end)
    return evolve(Charge("main", "vastai", "7", _at(start), ended_at=ended), **values)


def _save(store: Store, *changed: Charge) -> None:
    store.run_sync(charges.save, "main", changed)


def _between(store: Store, since: float = 0, until: float = 1e6, account: str = "main", **wishes: Any) -> list[Charge]:
    return store.run_sync(lambda conn: charges.between(conn, account, _at(since), _at(until), **wishes))


def test_a_charge_goes_on_until_it_is_over(store: Store) -> None:
    _save(store, _charge())
    assert store.run_sync(charges.going_on, "main") == {"7": _charge()}
    _save(store, _charge(end=HOUR), _charge(HOUR, usd_per_hour=0.5))
    assert store.run_sync(charges.going_on, "main") == {"7": _charge(HOUR, usd_per_hour=0.5)}
    assert _between(store) == [_charge(end=HOUR), _charge(HOUR, usd_per_hour=0.5)]
    assert store.run_sync(charges.newest_ends, "main", ["7", "8"]) == {"7": _at(HOUR)}


def test_what_goes_on_is_read_from_the_store_as_it_was_written(store: Store) -> None:
    _save(store, _charge(), _charge(instance_id="8", session_id=None, usd_per_hour=None, estimated=True))
    before = dict(store.run_sync(charges.going_on, "main"))

    def anew(conn: Any) -> dict[str, Charge]:
        conn.info.pop("shopperd.memo", None)
        return dict(charges.going_on(conn, "main"))

    assert store.run_sync(anew) == before


def test_a_charge_that_is_over_as_it_begins_is_none(store: Store) -> None:
    _save(store, _charge())
    _save(store, _charge(end=0), _charge(usd_per_hour=0.5))
    assert _between(store) == [_charge(usd_per_hour=0.5)]


def test_a_price_that_is_told_late_is_that_of_all_charges_without_one(store: Store) -> None:
    _save(store, _charge(end=HOUR, usd_per_hour=None), _charge(HOUR, usd_per_hour=None))
    assert store.run_sync(charges.settled_since, "main", _at(0)) == 0
    store.run_sync(charges.price, "main", "7", 3.0)
    assert store.run_sync(charges.settled_since, "main", _at(0)) == pytest.approx(3.0)
    assert store.run_sync(charges.going_on, "main")["7"].usd_per_hour == 3.0


def test_a_window_holds_what_has_a_share_in_it(store: Store) -> None:
    _save(store, _charge(0, HOUR), _charge(HOUR, 2 * HOUR), _charge(2 * HOUR))
    assert [charge.started_at for charge in _between(store, 0.5 * HOUR, 1.5 * HOUR)] == [_at(0), _at(HOUR)]
    assert _between(store, 0, 1, account="other") == []
    assert _between(store, session=UUID(int=2, version=4)) == []
    assert len(_between(store, session=OWNER)) == 3


def test_a_window_is_read_in_pieces_that_miss_nothing_and_repeat_nothing(store: Store) -> None:
    over = [_charge(0, HOUR, instance_id=id_) for id_ in "123"] + [_charge(HOUR, 2 * HOUR)]
    _save(store, *over, _charge(2 * HOUR))
    first = _between(store, limit=2)
    second = _between(store, limit=2, after=first[-1])
    third = _between(store, limit=2, after=second[-1])
    assert [first, second, third] == [over[:2], over[2:], [_charge(2 * HOUR)]]


def test_every_account_with_a_charge_is_told(store: Store) -> None:
    assert store.run_sync(charges.accounts) == []
    _save(store, _charge(0, HOUR), _charge(HOUR))
    store.run_sync(charges.save, "dock", [_charge(account="dock")])
    assert store.run_sync(charges.accounts) == ["dock", "main"]


def test_what_is_over_is_summed_up(store: Store) -> None:
    _save(store, _charge(0, HOUR), _charge(HOUR, 3 * HOUR, usd_per_hour=1.0), _charge(3 * HOUR))
    assert store.run_sync(charges.settled_since, "main", _at(0)) == pytest.approx(4.0)
    assert store.run_sync(charges.settled_since, "main", _at(2 * HOUR)) == pytest.approx(1.0), "of one it is cut"
    assert store.run_sync(charges.settled_of_sessions, [OWNER, UUID(int=2, version=4)]) == {OWNER: pytest.approx(4.0)}
    assert store.run_sync(charges.settled_of_instances, "main", ["7", "8"]) == {"7": pytest.approx(4.0)}


def test_old_ones_go_and_what_goes_on_stays(store: Store) -> None:
    _save(store, _charge(0, HOUR), _charge(HOUR, 2 * HOUR), _charge(2 * HOUR))
    assert store.run_sync(charges.prune, _at(1.5 * HOUR), 10) == 1
    assert store.run_sync(charges.prune, _at(9e6), 10) == 1
    assert _between(store) == [_charge(2 * HOUR)]


def test_an_account_whose_name_is_no_text_any_more_hides_no_other(clock: FakeClock) -> None:
    store = Store.open("sqlite://", clock=clock, inline=True)
    for name in ("a", "b", "c"):
        store.run_sync(charges.save, name, [evolve(_charge(end=HOUR), account=name)])
    assert store.run_sync(charges.accounts) == ["a", "b", "c"]
    spoil = "UPDATE charges SET account = CAST(X'62FF' AS TEXT) WHERE account = 'b'"
    store.run_sync(lambda conn: conn.exec_driver_sql(spoil).close())
    assert store.run_sync(charges.accounts) == ["a", "c"]
    store.close_sync()

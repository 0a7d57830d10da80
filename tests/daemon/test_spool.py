"""The whole daemon while its store takes nothing: what it rents meanwhile is not forgotten, and it rents nothing more."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from shopperd.daemon import Daemon, open_spool
from shopperd.model import Event
from shopperd.settings import Settings, StoreSettings
from shopperd.store import Spool, StoreError, databases, events
from tests.daemon.house import Api, alive, destroys, dock, quick_settings, ready, running, simulated, until, vast


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program holds the store's file, as a backup may."""
    with closing(sqlite3.connect(folder / "shopperd.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def no_more_pages(conn: Connection) -> None:
    pages = conn.exec_driver_sql("PRAGMA page_count").scalar()
    conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


async def fill(daemon: Daemon) -> None:
    """Leave no room in the store, not even for the smallest row."""
    store, now = daemon.context.store, daemon.context.clock.now()
    await store.run(no_more_pages)
    for size in (500, 50, 1):
        with contextlib.suppress(StoreError):
            while True:
                await store.run(events.append, Event(now, "test.filled", "x" * size))


async def rented(simulator: Any, api: Api, account: str, provider: str) -> dict[str, Any]:
    """A session whose machine is there, and whose create is not answered yet."""
    simulator.world.switch_on("create_slow", provider=provider, count=1, delay=2.5)
    made = await api.create(account)

    async def there() -> bool:
        return len(alive(simulator)) == 1

    await until(there, "the machine is there")
    return made


async def spooled(daemon: Daemon) -> bool:
    return daemon.context.spool is not None and len(daemon.context.spool.waiting) == 1


async def test_what_a_full_store_did_not_take_is_bound_by_the_next_start(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(dock(simulator))
        async with running(settings, tmp_path) as (daemon, api):
            await ready(api)
            # Without its tag no listing can tell whose it is.
            simulator.world.switch_on("create_tag_missing", provider="tensordock", count=1)
            made = await rented(simulator, api, "dock-v2", "tensordock")
            await fill(daemon)
            await until(lambda: spooled(daemon), "the id is in the spool")
            (machine,) = alive(simulator)
        async with running(settings, tmp_path) as (daemon, api):
            shown = await api.get(f"/sessions/{made['id']}")
            assert shown["instance_id"] == machine["id"]
            kinds = [event["kind"] for event in shown["events"]]
            assert kinds.count("create.recovered") == 1
            assert not await spooled(daemon)
            assert destroys(simulator) == []
        spool = Spool.open(tmp_path / "shopperd.db.spool")
        assert not spool.waiting
        spool.close()


async def test_what_a_locked_store_did_not_take_is_bound_as_soon_as_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0.05)
    async with simulated() as simulator, running(quick_settings(vast(simulator)), tmp_path) as (daemon, api):
        await ready(api)
        made = await rented(simulator, api, "vast", "vastai")
        with locked(tmp_path):
            await until(lambda: spooled(daemon), "the id is in the spool")
            assert "shopperd_store_spooled 1.0" in await api.metrics()
            assert (await api.ask("GET", "/api/v1/status"))["store"]["spooled"] == 1
            assert daemon.context.authority().no_right

        async def bound() -> bool:
            return (await api.get(f"/sessions/{made['id']}"))["instance_id"] is not None

        await until(bound, "it is bound")
        await until(lambda: _well(daemon), "it may act again")
        assert "shopperd_store_spooled 0.0" in await api.metrics()
        await api.create("vast", wait=10)
        assert len(alive(simulator)) == 2


async def _well(daemon: Daemon) -> bool:
    return daemon.context.no_right == ""


class TestOpening:
    def test_it_is_opened_beside_the_store(self, tmp_path: Path) -> None:
        settings = Settings(store=StoreSettings(url=f"sqlite:///{tmp_path}/state/shopperd.db"))
        spool = open_spool(settings, {})
        assert spool is not None
        assert spool.path == tmp_path.resolve() / "state" / "shopperd.db.spool"
        spool.close()

    def test_it_is_opened_in_the_state_folder_for_a_server(self, tmp_path: Path) -> None:
        settings = Settings(store=StoreSettings(url="postgresql://host/db"))
        spool = open_spool(settings, {"STATE_DIRECTORY": str(tmp_path)})
        assert spool is not None
        assert spool.path.parent == tmp_path
        spool.close()

    def test_it_is_opened_where_it_is_set(self, tmp_path: Path) -> None:
        settings = Settings(store=StoreSettings(url="postgresql://host/db", spool=tmp_path / "room"))
        spool = open_spool(settings, {})
        assert spool is not None
        assert spool.path == tmp_path / "room"
        spool.close()

    def test_a_store_in_memory_has_none(self) -> None:
        assert open_spool(Settings(store=StoreSettings(url="sqlite://")), {}) is None

    def test_one_that_cannot_be_is_said_and_is_no_reason_not_to_run(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        settings = Settings(store=StoreSettings(url="sqlite://", spool=tmp_path / "file" / "spool"))
        with capture_logs() as lines:
            assert open_spool(settings, {}) is None
        assert [(line["event"], line["log_level"]) for line in lines] == [("spool.unavailable", "error")]


@pytest.mark.parametrize("ready_for_it", [True, False])
async def test_whether_there_is_room_can_be_seen(tmp_path: Path, ready_for_it: bool) -> None:
    async with simulated() as simulator:
        settings = quick_settings(vast(simulator))
        async with running(settings, tmp_path, spooling=ready_for_it) as (_, api):
            assert f"shopperd_store_spool_ready {float(ready_for_it)}" in await api.metrics()

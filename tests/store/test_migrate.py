import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from shopperd.store import Store, StoreDamaged, StoreLocked, StoreTooNew, events, lease, schema
from shopperd.store.databases import sqlite_engine
from shopperd.store.migrate import configuration, migrate
from tests.clocks import FakeClock


def _differences(conn: sa.Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), schema.metadata))


def test_the_steps_from_nothing_lead_to_the_tables_of_today(store: Store) -> None:
    assert store.run_sync(_differences) == []


def test_a_difference_would_be_found(store: Store) -> None:
    def drop(conn: sa.Connection) -> list[object]:
        conn.exec_driver_sql("DROP INDEX ix_events_at")
        conn.exec_driver_sql("ALTER TABLE events ADD COLUMN colour TEXT")
        return _differences(conn)

    assert len(store.run_sync(drop)) == 2


def _definitions(conn: sa.Connection) -> dict[str, list[str]]:
    rows = conn.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
    )
    # The order of the constraints in a table is of no consequence.
    return {name: sorted(re.split(r",\s*|\(|\)|\s+", sql)) for name, sql in rows if "sqlite_" not in name}


def test_the_steps_write_what_the_schema_writes_to_the_letter(clock: FakeClock) -> None:
    """Alembic's comparison does not see everything: STRICT, the WHERE of an index, an order."""
    stepped = sqlite_engine(None)
    with stepped.begin() as conn:
        migrate(conn, "here")
        by_steps = _definitions(conn)
    direct = sqlite_engine(None)
    with direct.begin() as conn:
        schema.metadata.create_all(conn)
        assert _definitions(conn) == by_steps
    stepped.dispose()
    direct.dispose()


def test_the_schema_says_which_step_is_the_newest() -> None:
    assert ScriptDirectory.from_config(configuration()).get_current_head() == schema.REVISION


def test_a_store_of_any_earlier_version_is_brought_up_to_date(clock: FakeClock, tmp_path: Path) -> None:
    revisions = [step.revision for step in ScriptDirectory.from_config(configuration()).walk_revisions()]
    for revision in revisions[1:]:
        url = f"sqlite:///{tmp_path / revision}.db"
        before = Store.open(url, clock=clock)
        before.run_sync(lambda conn, back=revision: command.downgrade(configuration(conn), back))
        before.close_sync()
        store = Store.open(url, clock=clock)
        assert store.run_sync(_differences) == []
        store.close_sync()


def test_the_way_back_leaves_nothing(store: Store) -> None:
    def back(conn: sa.Connection) -> set[str]:
        command.downgrade(configuration(conn), "base")
        return set(sa.inspect(conn).get_table_names())

    assert store.run_sync(back) <= {"alembic_version", "sqlite_sequence"}


def test_a_step_that_fails_leaves_nothing_half_done(clock: FakeClock) -> None:
    engine = sqlite_engine(None)

    def fail(conn: sa.Connection, *_args: object) -> None:
        if "memory" in str(_args[1]):
            raise RuntimeError("in the middle")

    sa.event.listen(engine, "before_cursor_execute", fail)
    with pytest.raises(RuntimeError), engine.begin() as conn:
        migrate(conn, "here")
    with engine.begin() as conn:
        assert sa.inspect(conn).get_table_names() == []
    engine.dispose()


def test_a_store_of_a_newer_version_is_refused_and_left_alone(url: str, open_store: Callable[..., Store]) -> None:
    store = open_store(url)
    store.run_sync(lambda conn: conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'") and None)
    store.close_sync()
    with pytest.raises(StoreTooNew, match="9999"):
        open_store(url)


def test_tables_without_a_version_are_damage_and_not_a_new_store(url: str, open_store: Callable[..., Store]) -> None:
    store = open_store(url)
    store.run_sync(lambda conn: conn.exec_driver_sql("DELETE FROM alembic_version") and None)
    store.close_sync()
    with pytest.raises(StoreDamaged, match="no schema version"):
        open_store(url)


def test_two_replicas_that_start_on_an_empty_server_make_one_schema(
    postgres_url: str, clock: FakeClock, open_store: Callable[..., Store]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: open_store(postgres_url), range(4)))
    assert [store.created for store in stores].count(True) == 1
    assert all(store.run_sync(events.last_id) == 0 for store in stores)


def test_an_older_schema_is_left_alone_as_long_as_somebody_acts_on_it(
    postgres_url: str, clock: FakeClock, open_store: Callable[..., Store]
) -> None:
    before = open_store(postgres_url)
    before.run_sync(lambda conn: command.downgrade(configuration(conn), "0003"))
    before.run_sync(lease.hold, UUID(int=1), clock.now(), 3600.0)
    with pytest.raises(StoreLocked, match="stop all of them"):
        open_store(postgres_url)
    before.run_sync(lease.release, UUID(int=1))
    assert open_store(postgres_url).run_sync(_differences) == []

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Connection

from shopperd.model import DestroyJob, HoldReason, InstanceState, OrphanKind, Session, SessionState, Spec, Track
from shopperd.store import Conflict, Store, StoreDamaged, destroys, instances, schema, sessions
from shopperd.store.migrate import configuration
from shopperd.store.seals import BrokenSealError, Sealed, seal_of
from tests.clocks import FakeClock
from tests.sealed import SEALED, broken_seals
from tests.store import nouns
from tests.store.nouns import START, job, later, session, track

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rewrite(conn: Connection, table: str, **values: Any) -> None:
    """Another program writes these values into every row, as they are stored."""
    columns = sa.table(table, *(sa.column(name) for name in values))
    conn.execute(sa.update(columns).values(values))


def stored(conn: Connection, table: str) -> dict[str, Any]:
    """The one row of the table, as it is stored."""
    return dict(conn.execute(sa.select(sa.literal_column("*")).select_from(sa.table(table))).mappings().one())


def flipped(value: Any) -> Any:
    """The nearest to it that another bit makes, of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value ^ 1
        case float():
            return value + 1.0
        case str():
            return chr(ord(value[0]) ^ 1) + value[1:]
        case _:
            return value + timedelta(microseconds=1)


WHOLE_SESSION = session(
    1,
    spec=Spec(gpu="H100", env={"TOKEN": "hunter2"}),
    state=SessionState.ENDED,
    instance_id="m1",
    offer_id="o1",
    gpu="H100",
    gpu_count=2,
    price_per_hour=1.5,
    expires_at=later(60),
    ended_at=later(61),
    reason="expired",
    create_deadline_at=later(2),
    state_since=later(61),
    deadline_set_at=START,
)
WHOLE_TRACK = track(
    "m1",
    instance={
        "tag": WHOLE_SESSION.tag,
        "session_id": WHOLE_SESSION.id,
        "provider_state": "running",
        "gpu": "H100",
        "gpu_count": 2,
        "vram_gb": 80,
        "price_per_hour": 1.5,
        "address": "192.0.2.1",
        "ssh_port": 22,
        "started_at": START,
        "billed_per_hour": 1.5,
    },
    kind=OrphanKind.ENDED,
    orphan_since=later(1),
    missed_at=later(2),
    gone_at=later(3),
)
WHOLE_JOB = job(
    "m1",
    session_id=WHOLE_SESSION.id,
    tag=WHOLE_SESSION.tag,
    instance_started_at=START,
    accepted_at=later(1),
    last_error="busy",
    hold=HoldReason.FROZEN,
)


def write(conn: Connection, table: str) -> None:
    """One row in that table, and none in the other ones with seals."""
    match table:
        case "sessions" | "tombstones":
            sessions.insert(conn, WHOLE_SESSION)
            if table == "tombstones":
                assert sessions.forget_ended(conn, later(100_000), 10) == 1
        case "instances":
            instances.save(conn, "main", [WHOLE_TRACK])
        case "destroys":
            destroys.update(conn, evolve(destroys.add(conn, WHOLE_JOB), gone_at=later(2)))


OF_THE_FIRST_VERSION = {
    "sessions": -1931499923924438697,
    "tombstones": -8691562264174200899,
    "instances": -6369998322390806238,
    "destroys": 9020387121555912869,
}
"""The seals of the rows above as 0004 wrote them."""

READ: dict[str, Callable[[Connection], object]] = {
    "sessions": lambda conn: sessions.page(conn),
    "tombstones": lambda conn: sessions.known(conn, conn.scalars(sa.select(schema.tombstones.c.id)).all()),
    "instances": lambda conn: [
        instances.get(conn, *row) for row in conn.execute(sa.select(schema.instances.c.account, schema.instances.c.id))
    ],
    "destroys": lambda conn: [destroys.get(conn, id_) for id_ in conn.scalars(sa.select(schema.destroys.c.id))],
}
"""The rows of each table with seals, whatever they hold."""

FOUND: dict[str, Callable[[Connection], list[str | None]]] = {
    "tombstones": lambda conn: [one.tag for one in READ["tombstones"](conn).values()],  # type: ignore[attr-defined]  # READ tells no type of its rows
    "instances": lambda conn: [one.instance.tag for one in READ["instances"](conn)],  # type: ignore[attr-defined]  # READ tells no type of its rows
    "destroys": lambda conn: [one.tag for one in READ["destroys"](conn)],  # type: ignore[attr-defined]  # READ tells no type of its rows
}
"""Their tags."""


@pytest.mark.parametrize("table", SEALED)
def test_a_value_that_changes_by_itself_is_noticed_whatever_the_column(table: str, store: Store) -> None:
    noticed = []

    def spoil(conn: Connection, column: str) -> None:
        write(conn, table)
        rewrite(conn, table, **{column: flipped(stored(conn, table)[column])})
        conn.info.clear()  # what was written is kept
        with pytest.raises(BrokenSealError, match=rf"the row .* of its table {table} is not as it was written"):
            READ[table](conn)
        noticed.append(column)
        raise Conflict("leave it as it was")

    columns = [column.name for column in schema.metadata.tables[table].columns]
    for column in columns:
        with pytest.raises(Conflict):
            store.run_sync(spoil, column)
    assert noticed == columns


@pytest.mark.parametrize("table", SEALED)
def test_a_broken_seal_is_lasting_damage_that_is_told_and_shows_no_secret(
    table: str, url: str, open_store: Callable[..., Store]
) -> None:
    def spoil(conn: Connection) -> None:
        write(conn, table)
        rewrite(conn, table, tag="another")

    store = open_store(url)
    store.run_sync(spoil)
    store.close_sync()
    store = open_store(url)
    with pytest.raises(StoreDamaged, match=f"of its table {table} .* restore a backup") as caught:
        store.run_sync(READ[table])
    assert store.problem is caught.value
    assert caught.value.lasting
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreDamaged):
        store.run_sync(sessions.open_sessions, "another")


@pytest.mark.parametrize("table", SEALED)
def test_a_row_without_a_seal_is_believed(table: str, store: Store) -> None:
    def read(conn: Connection) -> None:
        write(conn, table)
        rewrite(conn, table, seal=None, tag="another")

    if table == "sessions":
        store.run_sync(read)
        [found] = store.run_sync(sessions.page).items
        assert found.tag == "another"
        store.run_sync(sessions.update, found)
        assert store.run_sync(broken_seals) == []
    else:
        store.run_sync(read)

        def found(conn: Connection) -> list[str | None]:
            conn.info.clear()  # what was written is kept
            return FOUND[table](conn)

        assert store.run_sync(found) == ["another"]


def test_what_is_read_is_as_it_was_written_and_has_its_seal_whatever_it_was(store: Store) -> None:
    numbers = itertools.count()

    @quick
    @given(wanted=nouns.sessions, machine=nouns.tracks, work=nouns.jobs)
    def written(wanted: Session, machine: Track, work: DestroyJob) -> None:
        own = evolve(wanted, account=f"account {next(numbers)}")
        if not store.run_sync(sessions.known, [own.id]):
            store.run_sync(sessions.insert, own)
            store.run_sync(sessions.update, own)
        store.run_sync(instances.save, "main", [machine])
        store.run_sync(instances.set_exempt, "main", machine.instance.id, True)
        store.run_sync(destroys.add, evolve(work, account=own.account))
        assert store.run_sync(broken_seals) == []

    written()
    store.run_sync(sessions.forget_ended, later(10**8), 10)
    assert store.run_sync(broken_seals) == []


@pytest.mark.parametrize("price", [-0.0, 1, 5e-324, 0.1 + 0.2])
def test_a_number_has_one_stored_form(store: Store, price: float) -> None:
    store.run_sync(instances.save, "main", [track("m1", instance={"price_per_hour": price})])
    found = store.run_sync(instances.get, "main", "m1")
    assert found is not None
    assert found.instance.price_per_hour == price
    assert store.run_sync(broken_seals) == []


@pytest.mark.parametrize("id_", ["m1", 123])
@pytest.mark.parametrize("count", [24, 24.0, True, "24", 23.7])
def test_what_a_plug_in_tells_in_another_type_is_sealed_as_it_is_stored(store: Store, id_: Any, count: Any) -> None:
    odd = {"id": id_, "vram_gb": count, "gpu_count": count, "ssh_port": count}
    store.run_sync(instances.save, "main", [track("m1", instance=odd)])
    store.run_sync(sessions.insert, session(1, gpu_count=count, instance_id=id_))
    store.run_sync(destroys.add, job(id_))
    assert store.run_sync(broken_seals) == []

    def read(conn: Connection) -> Any:
        conn.info.clear()
        return instances.get(conn, "main", str(id_))

    found = store.run_sync(read)
    assert found is not None
    assert found.instance.vram_gb == round(float(count))


@pytest.mark.parametrize("table", SEALED)
def test_a_text_that_is_none_any_more_is_named_too(
    table: str, sqlite_url: str, open_store: Callable[..., Store]
) -> None:
    def spoil(conn: Connection) -> None:
        write(conn, table)
        conn.exec_driver_sql(f"UPDATE {table} SET tag = CAST(X'6DFF' AS TEXT)")  # noqa: S608 - a word of ours
        conn.info.clear()
        READ[table](conn)

    with pytest.raises(StoreDamaged, match=rf"the row .* of its table {table} is not as it was written"):
        open_store(sqlite_url).run_sync(spoil)


def test_a_clock_that_was_ahead_is_corrected_with_the_seal(store: Store) -> None:
    store.run_sync(destroys.add, job("m1", requested_at=later(60)))
    store.run_sync(destroys.correct_future, "main", later(1))
    found = store.run_sync(destroys.for_instance, "main", "m1")
    assert found is not None
    assert found.requested_at == later(1)
    assert store.run_sync(broken_seals) == []


def test_a_damaged_session_is_not_turned_into_a_tombstone(store: Store) -> None:
    def spoil(conn: Connection) -> None:
        write(conn, "sessions")
        rewrite(conn, "sessions", instance_id="m2")

    store.run_sync(spoil)
    with pytest.raises(StoreDamaged, match="sessions"):
        store.run_sync(sessions.forget_ended, later(100_000), 10)


def test_a_damaged_exemption_gets_no_new_seal(url: str, open_store: Callable[..., Store]) -> None:
    def spoil(conn: Connection) -> None:
        instances.save(conn, "main", [track("m1", exempt=True)])
        rewrite(conn, "instances", exempt=0 if conn.dialect.name == "sqlite" else False)

    store = open_store(url)
    store.run_sync(spoil)
    store.close_sync()
    store = open_store(url)
    with pytest.raises(StoreDamaged, match="instances"):
        store.run_sync(instances.save, "main", [track("m1", instance={"state": InstanceState.RUNNING})])


def test_the_step_seals_what_is_there(url: str, open_store: Callable[..., Store]) -> None:
    def back(conn: Connection) -> None:
        sessions.insert(conn, session(2))
        write(conn, "tombstones")
        write(conn, "instances")
        write(conn, "destroys")
        command.downgrade(configuration(conn), "0003")

    store = open_store(url)
    store.run_sync(back)
    store.close_sync()
    store = open_store(url)
    assert store.run_sync(broken_seals) == []
    assert [one.id for one in store.run_sync(sessions.page).items] == [session(2).id]
    assert store.run_sync(instances.get, "main", "m1") == WHOLE_TRACK


@pytest.mark.parametrize("table", SEALED)
def test_a_text_that_is_none_is_not_sealed_but_named(
    table: str, sqlite_url: str, open_store: Callable[..., Store]
) -> None:
    def back(conn: Connection) -> None:
        write(conn, table)
        command.downgrade(configuration(conn), "0003")
        conn.exec_driver_sql(f"UPDATE {table} SET tag = CAST(X'6DFF' AS TEXT)")  # noqa: S608 - a word of ours

    store = open_store(sqlite_url)
    store.run_sync(back)
    store.close_sync()
    with pytest.raises(StoreDamaged, match=rf"a text in the row .* of its table {table} is none"):
        open_store(sqlite_url)


def test_a_row_that_is_not_read_as_a_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="as a whole"):
        Sealed(schema.tombstones, ["id", "account"])


def test_a_seal_stays_what_it_was_from_version_to_version() -> None:
    """Rows of years ago have these: whoever changes them writes a migration that seals all anew."""
    row = ["id", -0.5, 7, None, "2026-11-22T22:00:00.000000Z", "\u00e9", None]
    assert seal_of("sessions", row) == 3229850999497851259
    assert seal_of("sessions", [*row, None]) == seal_of("sessions", row)
    assert seal_of("tombstones", row) != seal_of("sessions", row)


@pytest.mark.parametrize("table", SEALED)
def test_a_table_is_sealed_as_it_was_from_version_to_version(table: str, clock: FakeClock) -> None:
    store = Store.open("sqlite://", clock=clock, inline=True)
    store.run_sync(write, table)
    assert store.run_sync(stored, table)["seal"] == OF_THE_FIRST_VERSION[table]
    store.close_sync()

import asyncio
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from attrs import fields

from shopperd.model import Event, Session, Spec
from shopperd.store import (
    Conflict,
    Store,
    StoreDamaged,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
    databases,
    events,
    meta,
    schema,
    sessions,
)
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.store.nouns import START, session

_EVENT = Event(START, "test.happened", "It happened.")


def _add(conn: sa.Connection) -> int:
    count = int(meta.get(conn, "count", 0)) + 1
    meta.put(conn, "count", count)
    return count


async def test_transactions_of_many_tasks_run_one_after_another(store: Store) -> None:
    counts = await asyncio.gather(*(store.run(_add) for _ in range(50)))
    assert sorted(counts) == list(range(1, 51))


async def test_a_transaction_that_raises_changes_nothing(store: Store) -> None:
    def both(conn: sa.Connection) -> None:
        _add(conn)
        raise KeyError("no")

    with pytest.raises(KeyError):
        await store.run(both)
    assert await store.run(meta.get, "count") is None
    assert store.problem is None


async def test_a_transaction_that_returns_is_kept(store: Store) -> None:
    assert await store.run(_add) == 1
    assert await store.run(meta.get, "count") == 1


async def test_a_coroutine_function_is_refused(store: Store) -> None:
    async def wrong(conn: sa.Connection) -> None:
        _add(conn)

    with pytest.raises(TypeError, match="plain"):
        await store.run(wrong)


async def test_a_task_that_is_cancelled_while_its_transaction_runs_leaves_a_whole_one(store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def both(conn: sa.Connection) -> None:
        events.append(conn, _EVENT)
        begun.set()
        go_on.wait(30)
        events.append(conn, _EVENT)

    task = asyncio.create_task(store.run(both))
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert len(await store.run(events.page)) == 2


async def test_a_task_that_is_cancelled_before_its_turn_leaves_nothing(store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def occupy(conn: sa.Connection) -> None:
        begun.set()
        go_on.wait(30)

    first = asyncio.create_task(store.run(occupy))
    await asyncio.to_thread(begun.wait, 30)
    second = asyncio.create_task(store.run(_add))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go_on.set()
    await first
    assert await store.run(meta.get, "count") is None


async def test_a_closed_store_has_done_what_was_asked_before_and_refuses_the_rest(
    sqlite_url: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)
    asked = [asyncio.create_task(store.run(_add)) for _ in range(5)]
    await asyncio.sleep(0)
    await store.close()
    assert [await task for task in asked] == [1, 2, 3, 4, 5]
    with pytest.raises(StoreUnreachable, match="closed"):
        await store.run(_add)
    await store.close()


@pytest.mark.parametrize("inline", [True, False])
async def test_a_transaction_runs_in_the_callers_thread_only_if_inline(
    open_store: Callable[..., Store], inline: bool
) -> None:
    store = open_store("sqlite://", inline=inline)
    thread = await store.run(lambda _conn: threading.current_thread())
    assert (thread is threading.current_thread()) is inline
    await store.close()
    with pytest.raises(StoreUnreachable, match="closed"):
        store.run_sync(_add)


async def test_an_inline_store_never_gives_way_to_another_task(open_store: Callable[..., Store]) -> None:
    store = open_store("sqlite://", inline=True)
    order: list[str] = []
    other = asyncio.create_task(asyncio.to_thread(lambda: None))
    asyncio.get_running_loop().call_soon(order.append, "other")
    await store.run(_add)
    order.append("mine")
    await other
    assert order == ["mine", "other"]


def test_two_stores_in_memory_are_two_stores(open_store: Callable[..., Store]) -> None:
    one, two = open_store("sqlite://"), open_store("sqlite://")
    one.run_sync(_add)
    assert one.created
    assert two.created
    assert two.run_sync(meta.get, "count") is None


async def test_each_transaction_is_measured_by_its_name(open_store: Callable[..., Store], metrics: Metrics) -> None:
    store = open_store("sqlite://", metrics=metrics)
    await store.run(_add)
    await store.run(_add)
    value = metrics.registry.get_sample_value("shopperd_store_duration_seconds_count", {"operation": "add"})
    assert value == 2


async def test_a_check_of_a_well_store_says_nothing(store: Store) -> None:
    await store.check()
    assert store.problem is None


def test_a_problem_stands_until_the_next_success(sqlite_url: str, open_store: Callable[..., Store]) -> None:
    store = open_store(sqlite_url)

    def broken(conn: sa.Connection) -> None:
        conn.exec_driver_sql("SELECT * FROM nothing_here")

    with pytest.raises(StoreDamaged, match="nothing_here") as caught:
        store.run_sync(broken)
    assert store.problem is caught.value
    store.run_sync(events.last_id)
    assert store.problem is None


def test_a_store_that_cannot_be_written_is_not_well_just_because_it_can_be_read(
    sqlite_url: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)
    store.run_sync(lambda conn: conn.exec_driver_sql("PRAGMA query_only = ON") and None)
    with pytest.raises(StoreReadOnly):
        store.run_sync(_add)
    assert store.run_sync(events.last_id) == 0
    assert isinstance(store.problem, StoreReadOnly)
    store.run_sync(lambda conn: conn.exec_driver_sql("PRAGMA query_only = OFF") and None)
    store.run_sync(_add)
    assert store.problem is None


def test_a_row_that_cannot_be_read_is_damage(store: Store) -> None:
    store.run_sync(sessions.insert, session(1))
    store.run_sync(lambda conn: conn.exec_driver_sql("UPDATE sessions SET state = 'dreaming', seal = NULL") and None)
    with pytest.raises(StoreDamaged, match="dreaming"):
        store.run_sync(sessions.open_sessions, "main")
    store.run_sync(
        lambda conn: conn.exec_driver_sql("""UPDATE sessions SET state = 'running', spec = '{"env": 7}'""") and None
    )
    with pytest.raises(StoreDamaged):
        store.run_sync(sessions.open_sessions, "main")


@pytest.mark.parametrize("column", ["created_at", "id", "price_per_hour"])
def test_no_error_shows_the_values_of_a_row(store: Store, column: str) -> None:
    spec = Spec(env={"TOKEN": "hunter2"}, onstart="echo hunter2")

    def wrong(conn: sa.Connection) -> None:
        values: dict[str, object] = {
            field.name: getattr(session(1, spec=spec), field.name) for field in fields(Session)
        }
        values["account"] = None
        values["price_per_hour"] = float("nan") if column == "price_per_hour" else 1.0
        conn.execute(sa.insert(schema.sessions).values(values))

    with pytest.raises((Conflict, ValueError)) as caught:
        store.run_sync(wrong)
    error: BaseException | None = caught.value
    while error is not None and not error.__suppress_context__:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__
    assert error is None or "hunter2" not in str(error)


def test_another_programs_lock_is_waited_for_and_then_said(
    sqlite_url: str, open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(sqlite_url)
    monkeypatch.setattr(databases, "BUSY_SECONDS", 0.05)
    other = sa.create_engine(sqlite_url)
    with other.connect() as conn:
        conn.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(StoreLocked, match="another program"):
            store.run_sync(_add)
        assert store.run_sync(events.last_id) == 0
    assert store.run_sync(_add) == 1
    other.dispose()


def test_a_transaction_that_another_program_overtook_is_repeated(
    sqlite_url: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(sqlite_url)
    other = sa.create_engine(sqlite_url)
    attempts = 0

    def overtaken(conn: sa.Connection) -> int:
        nonlocal attempts
        attempts += 1
        count = int(meta.get(conn, "count", 0))
        if attempts == 1:
            with other.begin() as elsewhere:
                elsewhere.exec_driver_sql("INSERT INTO meta VALUES ('count', '41')")
        meta.put(conn, "count", count + 1)
        return count + 1

    assert store.run_sync(overtaken) == 42
    other.dispose()


async def test_replicas_that_write_the_same_row_lose_no_write(
    postgres_url: str, open_store: Callable[..., Store]
) -> None:
    one, two = open_store(postgres_url), open_store(postgres_url)
    await asyncio.gather(*(store.run(_add) for store in (one, two) for _ in range(20)))
    assert await one.run(meta.get, "count") == 40


async def test_a_reader_that_follows_two_replicas_misses_no_event(
    postgres_url: str, open_store: Callable[..., Store]
) -> None:
    """A number is given before the commit, so the later one may be committed first unless somebody sees to it."""
    one, two, reader = open_store(postgres_url), open_store(postgres_url), open_store(postgres_url)
    numbered, go_on = threading.Event(), threading.Event()

    def slow(conn: sa.Connection) -> int:
        number = events.append(conn, _EVENT).id
        numbered.set()
        go_on.wait(30)
        return number

    first = asyncio.create_task(one.run(slow))
    await asyncio.to_thread(numbered.wait, 30)
    second = asyncio.create_task(two.run(events.append, _EVENT))
    done, _ = await asyncio.wait([second], timeout=0.1)
    assert not done
    assert await reader.run(events.page) == []
    go_on.set()
    assert await first < (await second).id
    assert len(await reader.run(events.page)) == 2


async def test_a_connection_that_the_server_ended_is_made_anew(
    postgres_url: str, open_store: Callable[..., Store]
) -> None:
    store, other = open_store(postgres_url), open_store(postgres_url)
    await store.run(_add)
    pid = await store.run(lambda conn: conn.scalar(sa.text("SELECT pg_backend_pid()")))

    def end(conn: sa.Connection) -> None:
        conn.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    await other.run(end)
    assert await store.run(_add) == 2


async def test_a_connection_that_ends_in_a_transaction_is_said_and_changes_nothing(
    postgres_url: str, open_store: Callable[..., Store]
) -> None:
    store, other = open_store(postgres_url), open_store(postgres_url)

    def cut(conn: sa.Connection) -> None:
        _add(conn)
        pid = conn.scalar(sa.text("SELECT pg_backend_pid()"))
        other.run_sync(
            lambda other_conn: other_conn.execute(sa.text(f"SELECT pg_terminate_backend({pid}, 5000)")) and None
        )

    with pytest.raises(StoreUnreachable, match="unknown"):
        await store.run(cut)
    assert isinstance(store.problem, StoreUnreachable)
    assert await store.run(_add) == 1
    assert store.problem is None


def test_a_server_that_is_not_there_is_said_without_its_password(clock: FakeClock) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(StoreUnreachable, match="store@127") as caught:
        Store.open("postgresql://store:hunter2@127.0.0.1:1/main", clock=clock)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://user:hunter2@host/db", "sqlite:////var/x.db?mode=ro", "hunter2", ""])
def test_a_url_that_cannot_be_used_is_said_without_being_shown(clock: FakeClock, url: str) -> None:
    with pytest.raises(StoreUnreachable) as caught:
        Store.open(url, clock=clock)
    assert "hunter2" not in str(caught.value)

"""What is kept between transactions is what reading again would give, whatever was written, and by whom."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection

from shopperd.model import SessionState
from shopperd.store import Conflict, Store, destroys, instances, memory, meta, sessions
from tests.clocks import FakeClock
from tests.sealed import broken_seals
from tests.store.nouns import job, later, session, track

NUMBERS = (1, 2, 3)
IDS = tuple(UUID(int=number) for number in NUMBERS)
MACHINES = ("m1", "m2", "m3")
ACCOUNTS = ("main", "other")

numbers = st.sampled_from(NUMBERS)
machines = st.sampled_from(MACHINES)
maybe_machines = st.none() | machines
states = st.sampled_from((SessionState.CREATING, SessionState.RUNNING, SessionState.LOST, SessionState.ENDED))
minutes = st.integers(0, 9).map(later)


def everything(conn: Connection) -> dict[str, Any]:
    """All that may be kept, as the queries tell it."""
    told: dict[str, Any] = {
        "spans": memory.spans(conn),
        "meta": [meta.get(conn, key) for key in ("a", "b")],
        "one": [sessions.get(conn, id_) for id_ in IDS],
        "known": sessions.known(conn, IDS),
        "jobs": [destroys.get(conn, number) for number in range(1, 6)],
    }
    for account in ACCOUNTS:
        told[account] = (
            sessions.open_sessions(conn, account),
            sessions.creating(conn, account),
            sessions.lost_since(conn, account, later(4)),
            sessions.bound(conn, account, MACHINES),
            list(instances.tracks(conn, account).items()),
            instances.some(conn, account, MACHINES),
            [instances.get(conn, account, id_) for id_ in MACHINES],
            destroys.open_jobs(conn, account),
        )
    return told


class Writes(RuleBasedStateMachine):
    """Any order of writes, some of which fail."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.open("sqlite://", clock=FakeClock(), inline=True)
        self.fresh = True

    def do(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return self.store.run_sync(function, *args)
        except (Conflict, RuntimeError):
            return None

    @rule(number=numbers, state=states, machine=maybe_machines, at=minutes)
    def insert(self, number: int, state: SessionState, machine: str | None, at: Any) -> None:
        self.do(sessions.insert, session(number, state=state, instance_id=machine, state_since=at))

    @rule(number=numbers, state=states, machine=maybe_machines, fails=st.booleans(), odd=st.booleans())
    def update(self, number: int, state: SessionState, machine: str | None, fails: bool, odd: bool) -> None:
        def change(conn: Connection) -> None:
            known = sessions.get(conn, UUID(int=number))
            if known is not None:
                reason = "an odd\x00one" if odd else "why not"
                sessions.update(conn, evolve(known, state=state, instance_id=machine, reason=reason))
            if fails:
                raise RuntimeError

        self.do(change)

    @rule(at=minutes)
    def forget(self, at: Any) -> None:
        self.do(sessions.forget_ended, at, 1)
        self.do(instances.forget_gone, at, 1)
        self.do(destroys.forget_gone, at, 1)

    @rule(
        machine=machines,
        gone=st.none() | minutes,
        count=st.integers(0, 2),
        exempt=st.booleans(),
        odd=st.booleans(),
        number=st.none() | numbers,
    )
    def save(self, machine: str, gone: Any, count: int, exempt: bool, odd: bool, number: int | None) -> None:
        tag = "odd\ud800" if odd else None
        told = {"tag": tag, "session_id": None if number is None else UUID(int=number)}
        self.do(instances.save, "main", [track(machine, instance=told, gone_at=gone, sightings=count, exempt=exempt)])

    @rule(machine=machines, exempt=st.booleans())
    def exempt(self, machine: str, exempt: bool) -> None:
        self.do(instances.set_exempt, "main", machine, exempt)

    @rule(machine=machines, account=st.sampled_from(ACCOUNTS))
    def add(self, machine: str, account: str) -> None:
        self.do(destroys.add, job(machine, account=account, requested_at=later(5)))

    @rule(number=st.integers(1, 5), gone=st.none() | minutes, odd=st.booleans())
    def work(self, number: int, gone: Any, odd: bool) -> None:
        def change(conn: Connection) -> None:
            known = destroys.get(conn, number)
            if known is not None:
                error = "odd\x00" if odd else None
                destroys.update(conn, evolve(known, attempts=known.attempts + 1, gone_at=gone, last_error=error))

        self.do(change)

    @rule(at=minutes, new=st.booleans())
    def beat(self, at: Any, new: bool) -> None:
        if new:
            self.do(memory.wake, at)
        else:
            self.do(memory.beat, at, 90.0)

    @rule(at=minutes)
    def prune(self, at: Any) -> None:
        self.do(memory.prune_spans, at, 1)

    @rule(key=st.sampled_from("ab"), value=st.integers(0, 3))
    def put(self, key: str, value: int) -> None:
        self.do(*((meta.put, key, value) if value else (meta.remove, key)))

    @rule(part=st.sampled_from(("tracks", "some", "known", "bound")))
    def read_some(self, part: str) -> None:
        match part:
            case "tracks":
                self.do(instances.tracks, "main")
            case "some":
                self.do(instances.some, "main", ["m1"])
            case "known":
                self.do(sessions.known, IDS[:1])
            case _:
                self.do(sessions.bound, "main", ["m2"])

    @invariant()
    def what_is_kept_is_what_is_there(self) -> None:
        kept = self.store.run_sync(everything)
        with self.store._engine.connect() as conn:
            conn.info.clear()
            read = everything(conn)
            conn.rollback()
        assert kept == read

    @invariant()
    def every_row_has_its_seal(self) -> None:
        assert self.store.run_sync(broken_seals) == []

    @rule(at=minutes)
    def correct(self, at: Any) -> None:
        self.do(destroys.correct_future, "main", at)

    def teardown(self) -> None:
        self.store.close_sync()


def test_what_is_kept_is_what_reading_again_would_give() -> None:
    run_state_machine_as_test(Writes, settings=settings(max_examples=12, stateful_step_count=20, deadline=None))


def test_what_another_program_writes_is_seen(open_store: Callable[..., Store], sqlite_path: Path) -> None:
    store = open_store(f"sqlite:///{sqlite_path}")
    store.run_sync(instances.save, "main", [track("m1")])
    before = store.run_sync(instances.tracks, "main")
    assert not before["m1"].exempt
    with sqlite3.connect(sqlite_path) as other:
        other.execute("UPDATE instances SET exempt = 1, seal = NULL")
    other.close()
    after = store.run_sync(instances.tracks, "main")
    assert after["m1"].exempt
    assert not before["m1"].exempt, "what was read stays as it was read"


def test_what_another_program_writes_in_the_middle_of_a_transaction_has_it_done_again(
    open_store: Callable[..., Store], sqlite_path: Path
) -> None:
    store = open_store(f"sqlite:///{sqlite_path}")
    store.run_sync(instances.save, "main", [track("m1")])
    store.run_sync(instances.tracks, "main")
    seen = []

    def look(conn: Connection) -> None:
        seen.append(instances.tracks(conn, "main")["m1"].exempt)
        if len(seen) == 1:
            with sqlite3.connect(sqlite_path) as other:
                other.execute("UPDATE instances SET exempt = 1, seal = NULL")
            other.close()
        meta.put(conn, "looked", len(seen))

    store.run_sync(look)
    assert seen == [False, True]
    assert store.run_sync(meta.get, "looked") == 2


def test_what_a_failed_transaction_wrote_is_forgotten(open_store: Callable[..., Store], url: str) -> None:
    store = open_store(url)

    def fail(conn: Connection) -> None:
        instances.save(conn, "main", [track("m1")])
        assert list(instances.tracks(conn, "main")) == ["m1"]
        raise RuntimeError("no")

    assert store.run_sync(instances.tracks, "main") == {}
    with pytest.raises(RuntimeError):
        store.run_sync(fail)
    assert store.run_sync(instances.tracks, "main") == {}


def test_what_was_read_before_costs_no_statement(open_store: Callable[..., Store], sqlite_path: Path) -> None:
    store = open_store(f"sqlite:///{sqlite_path}")
    store.run_sync(instances.save, "main", [track("m1")])
    statements: list[str] = []

    def look(conn: Connection) -> tuple[Any, ...]:
        conn.connection.driver_connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
        return (
            instances.tracks(conn, "main"),
            sessions.open_sessions(conn, "main"),
            sessions.known(conn, IDS),
            sessions.bound(conn, "main", MACHINES),
            destroys.open_jobs(conn, "main"),
            memory.spans(conn),
            meta.get(conn, "a"),
        )

    first = store.run_sync(look)
    assert statements
    statements.clear()
    assert store.run_sync(look) == first
    assert [text for text in statements if not text.startswith("PRAGMA data_version")] == []

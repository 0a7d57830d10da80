import pytest
import sqlalchemy as sa
from attrs import evolve
from hypothesis import HealthCheck, given, settings

from shopperd.model import DestroyJob, DestroyOrigin, HoldReason
from shopperd.store import Conflict, Store, destroys, schema
from tests.store import nouns
from tests.store.nouns import job, later


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=nouns.jobs)
def test_a_job_is_read_as_it_was_written_and_rewritten(store: Store, wanted: DestroyJob) -> None:
    if store.run_sync(destroys.for_instance, wanted.account, wanted.instance_id) is None:
        added = store.run_sync(destroys.add, wanted)
        assert added.id > 0
        assert store.run_sync(destroys.get, added.id) == added == evolve(wanted, id=added.id)
        changed = evolve(added, attempts=3, hold=HoldReason.FROZEN)
        assert store.run_sync(destroys.update, changed) == changed == store.run_sync(destroys.get, added.id)


def test_a_machine_has_one_open_job(store: Store) -> None:
    first = store.run_sync(destroys.add, job("m1"))
    assert store.run_sync(destroys.add, job("m1", reason="again")) == first
    assert store.run_sync(destroys.open_jobs, "main") == [first]


def test_the_database_itself_refuses_a_second_open_job(store: Store) -> None:
    first = store.run_sync(destroys.add, job("m1"))

    def twice(conn: sa.Connection) -> None:
        columns = [column for column in schema.destroys.c if column.name != "id"]
        row = sa.select(*columns).where(schema.destroys.c.id == first.id)
        conn.execute(sa.insert(schema.destroys).from_select([column.name for column in columns], row))

    with pytest.raises(Conflict):
        store.run_sync(twice)


def test_a_machine_whose_job_is_closed_gets_a_new_one(store: Store) -> None:
    first = store.run_sync(destroys.add, job("m1"))
    store.run_sync(destroys.update, evolve(first, gone_at=later(1)))
    second = store.run_sync(destroys.add, job("m1"))
    assert second.id > first.id
    assert store.run_sync(destroys.for_instance, "main", "m1") == second


def test_the_same_id_in_another_account_is_another_machine(store: Store) -> None:
    store.run_sync(destroys.add, job("m1"))
    store.run_sync(destroys.add, job("m1", account="other"))
    assert len(store.run_sync(destroys.open_jobs, "main")) == 1


def test_a_command_takes_over_an_open_verdict(store: Store) -> None:
    verdict = store.run_sync(destroys.add, job("m1", hold=HoldReason.GRACE, next_attempt_at=later(9)))
    command = job("m1", origin=DestroyOrigin.COMMAND, reason="asked for", next_attempt_at=later(1))
    now = store.run_sync(destroys.add, command)
    assert now == evolve(verdict, origin=DestroyOrigin.COMMAND, reason="asked for", next_attempt_at=later(1), hold=None)
    assert store.run_sync(destroys.open_jobs, "main") == [now]


def test_a_verdict_does_not_take_over_an_open_command(store: Store) -> None:
    command = store.run_sync(destroys.add, job("m1", origin=DestroyOrigin.COMMAND))
    assert store.run_sync(destroys.add, job("m1")) == command


def test_a_worker_that_read_the_verdict_does_not_undo_the_command(store: Store) -> None:
    verdict = store.run_sync(destroys.add, job("m1"))
    store.run_sync(destroys.add, job("m1", origin=DestroyOrigin.COMMAND, reason="asked for"))
    late = evolve(verdict, attempts=1, hold=HoldReason.FLEET_JUMP, next_attempt_at=later(9))
    written = store.run_sync(destroys.update, late)
    assert (written.origin, written.reason) == (DestroyOrigin.COMMAND, "asked for")
    assert (written.attempts, written.hold, written.next_attempt_at) == (1, None, verdict.next_attempt_at)
    assert store.run_sync(destroys.get, verdict.id) == written


def test_a_closed_job_is_never_opened_again(store: Store) -> None:
    first = store.run_sync(destroys.add, job("m1"))
    store.run_sync(destroys.update, evolve(first, gone_at=later(1)))
    with pytest.raises(Conflict):
        store.run_sync(destroys.update, evolve(first, attempts=1))
    assert store.run_sync(destroys.open_jobs, "main") == []


def test_a_job_that_is_not_there_cannot_be_updated(store: Store) -> None:
    with pytest.raises(Conflict):
        store.run_sync(destroys.update, job("m1", id=7))


def test_open_jobs_come_in_the_order_in_which_they_are_due(store: Store) -> None:
    for name, minutes in (("m1", 3), ("m2", 1), ("m3", 2), ("m4", 1)):
        store.run_sync(destroys.add, job(name, next_attempt_at=later(minutes)))
    assert [one.instance_id for one in store.run_sync(destroys.open_jobs, "main")] == ["m2", "m4", "m3", "m1"]


def test_verdicts_are_counted_from_a_moment_on_closed_ones_too(store: Store) -> None:
    for minutes in range(4):
        added = store.run_sync(destroys.add, job(f"m{minutes}", requested_at=later(minutes)))
    store.run_sync(destroys.update, evolve(added, gone_at=later(9)))
    store.run_sync(destroys.add, job("other", account="other", requested_at=later(3)))
    assert store.run_sync(destroys.verdicts_since, "main", later(2)) == 2
    assert store.run_sync(destroys.verdicts_since, "main", later(4)) == 0


def test_commands_are_not_counted_unless_they_took_over_a_verdict(store: Store) -> None:
    store.run_sync(destroys.add, job("m1", origin=DestroyOrigin.COMMAND))
    assert store.run_sync(destroys.verdicts_since, "main", later(0)) == 0
    store.run_sync(destroys.add, job("m2"))
    store.run_sync(destroys.add, job("m2", origin=DestroyOrigin.COMMAND))
    assert store.run_sync(destroys.verdicts_since, "main", later(0)) == 1


def test_closed_jobs_are_forgotten_and_open_ones_never(store: Store) -> None:
    for name in ("m1", "m2"):
        added = store.run_sync(destroys.add, job(name))
    store.run_sync(destroys.update, evolve(added, gone_at=later(1)))
    assert store.run_sync(destroys.forget_gone, later(1), 9) == 0
    assert store.run_sync(destroys.forget_gone, later(2), 9) == 1
    assert [one.instance_id for one in store.run_sync(destroys.open_jobs, "main")] == ["m1"]

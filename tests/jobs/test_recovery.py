"""What the spool holds is given to the store: each record once, whatever happened to its session meanwhile."""

import errno
from pathlib import Path
from uuid import UUID

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from shopperd.jobs.creates import accept, accepted_create
from shopperd.jobs.destroys import DestroysJob
from shopperd.jobs.recovery import recover, recover_create
from shopperd.lifecycle import moved
from shopperd.model import CreateOutcome, Ownership, Session, SessionState
from shopperd.providers.contract import CreatedInstance
from shopperd.store import Conflict, Spool, Store, StoreError, StoreFull, instances, sessions
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.jobs.desk import ACCOUNT, Desk, machine, make_desk, offer

CREATED = CreatedInstance("900", 0.42)


@pytest.fixture
def session(desk: Desk) -> Session:
    """A session whose create was sent and accepted, which the spool alone knows."""
    session = desk.session(1, create_outcome=CreateOutcome.SENT)
    assert desk.context.spool is not None
    desk.context.spool.keep(accepted_create(session, CREATED, offer(), desk.clock.now()))
    return session


def change(desk: Desk, session: Session) -> Session:
    return desk.store.run_sync(sessions.update, session)


async def test_a_record_binds_its_session_and_says_so(desk: Desk, spool: Spool, session: Session) -> None:
    desk.clock.advance(30)
    with capture_logs() as lines:
        assert await recover(desk.context) == 1
    told = desk.told(session)
    assert (told.state, told.instance_id, told.create_outcome) == (
        SessionState.STARTING,
        "900",
        CreateOutcome.ACCEPTED,
    )
    track = desk.store.run_sync(instances.get, ACCOUNT, "900")
    assert track is not None
    assert (track.instance.gpu, track.instance.vram_gb, track.instance.price_per_hour) == ("RTX 4090", 24, 0.42)
    assert [event.kind for event in desk.trail()] == ["create.recovered", "create.accepted"]
    assert "22:00:00" in desk.trail("create.recovered")[0].message
    assert [line["instance"] for line in lines if line["event"] == "create.recovered"] == ["900"]
    assert spool.waiting == ()


async def test_an_empty_spool_asks_nothing_of_the_store(desk: Desk) -> None:
    desk.wilful.refuses.add("everything")
    assert await recover(desk.context) == 0


async def test_a_deployment_without_a_spool_has_nothing_to_recover(
    store: Store, clock: FakeClock, metrics: Metrics
) -> None:
    assert await recover(make_desk(store, clock, metrics).context) == 0


async def test_a_record_stays_until_the_store_takes_it(desk: Desk, spool: Spool, session: Session) -> None:
    desk.wilful.refuses.add("recover_create")
    with pytest.raises(StoreFull):
        await recover(desk.context)
    assert len(spool.waiting) == 1
    desk.wilful.refuses.clear()
    assert await recover(desk.context) == 1
    assert desk.told(session).instance_id == "900"


async def test_a_record_is_given_again_after_a_kill_and_changes_nothing(
    desk: Desk, session: Session, tmp_path: Path
) -> None:
    """The process dies between the commit and the clearing of the spool."""
    assert desk.context.spool is not None
    left = tmp_path / "left"
    left.write_bytes(desk.context.spool.path.read_bytes())
    await recover(desk.context)
    before, trail = desk.told(session), desk.trail()
    desk.context.spool = Spool.open(left)
    assert len(desk.context.spool.waiting) == 1
    assert await recover(desk.context) == 1
    assert not desk.context.spool.untidy
    assert (desk.told(session), desk.trail()) == (before, trail)
    desk.context.spool.close()


async def test_what_a_listing_found_by_its_tag_meanwhile_is_left_as_it_is(desk: Desk, session: Session) -> None:
    desk.market.machines["900"] = machine("900", session.tag)
    desk.look()
    before, trail = desk.told(session), desk.trail()
    assert before.instance_id == "900"
    await recover(desk.context)
    assert (desk.told(session), desk.trail()) == (before, trail)


async def test_a_session_that_was_ended_meanwhile_has_its_machine_destroyed(desk: Desk, session: Session) -> None:
    change(desk, moved(session, SessionState.ENDING, desk.clock.now(), reason="not wanted any more"))
    await recover(desk.context)
    assert desk.told(session).instance_id == "900"
    assert desk.job("900").reason == "not wanted any more"


@pytest.mark.parametrize("tag", ["its own", None])
async def test_a_session_that_failed_meanwhile_has_its_machine_destroyed(
    desk: Desk, session: Session, tag: str | None
) -> None:
    """Also where the machine came out without its tag, so that the id in the answer is its only trace."""
    change(desk, moved(session, SessionState.FAILED, desk.clock.now(), reason="no clear answer"))
    await recover(desk.context)
    desk.market.machines["900"] = machine("900", session.tag if tag else None)
    desk.look()
    await DestroysJob(desk.context, desk.at).run()
    assert desk.market.machines == {}
    assert desk.told(session).state is SessionState.ENDING


async def test_a_machine_whose_session_the_store_does_not_know_is_remembered(desk: Desk, spool: Spool) -> None:
    """The store was put back from a backup that is older than the session."""
    known = desk.session(1)
    stranger = evolve(known, id=UUID(int=77, version=4))
    spool.keep(accepted_create(stranger, CREATED, offer(), desk.clock.now()))
    await recover(desk.context)
    track = desk.store.run_sync(instances.get, ACCOUNT, "900")
    assert track is not None
    assert (track.ever_seen, track.instance.ownership, track.instance.session_id) == (
        False,
        Ownership.UNKNOWN,
        stranger.id,
    )
    assert "does not know" in desk.trail("create.recovered")[0].message


async def test_a_record_that_cannot_be_given_is_set_aside_and_holds_nothing_up(
    desk: Desk, spool: Spool, session: Session
) -> None:
    desk.wilful.breaks.add("recover_create")
    with capture_logs() as lines:
        assert await recover(desk.context) == 1
    assert "create.unrecoverable" in [line["event"] for line in lines]
    (event,) = desk.trail("create.unrecoverable")
    assert (event.instance_id, event.session_id) == ("900", session.id)
    assert spool.waiting == ()
    assert desk.context.no_right == ""


async def test_a_session_that_changed_in_that_moment_is_tried_again(
    desk: Desk, spool: Spool, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collide(*_: object) -> bool:
        raise Conflict("somebody was first")

    with monkeypatch.context() as patched:
        patched.setattr("shopperd.jobs.recovery.recover_create", collide)
        assert await recover(desk.context) == 0
    assert len(spool.waiting) == 1
    assert await recover(desk.context) == 1


async def test_a_damaged_line_is_said_once_and_kept_in_the_trail(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "torn"
    path.write_bytes(b'{"kind":"create.accepted","record":{"instance_id":"90')
    spool = desk.context.spool = Spool.open(path)
    with capture_logs() as lines:
        await recover(desk.context)
        await recover(desk.context)
    assert [line["log_level"] for line in lines if line["event"] == "spool.damaged"] == ["warning"]
    (event,) = desk.trail("spool.damaged")
    assert "90" in str(event.data["line"])
    assert not spool.untidy
    spool.close()


async def test_a_spool_that_cannot_be_emptied_holds_nothing_up(desk: Desk, spool: Spool, session: Session) -> None:
    def write(file: int, data: bytes, offset: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    spool._disk.write = write  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await recover(desk.context)
    assert desk.told(session).instance_id == "900"
    assert desk.context.no_right == ""
    del spool._disk.write
    await recover(desk.context)
    assert not spool.untidy


def test_what_is_recovered_is_what_would_have_been_recorded(desk: Desk) -> None:
    one, two = desk.session(1, create_outcome=CreateOutcome.SENT), desk.session(2, create_outcome=CreateOutcome.SENT)
    desk.store.run_sync(accept, one.id, CREATED, offer(), desk.clock.now())
    record = accepted_create(two, CreatedInstance("901", 0.42), offer(), desk.clock.now())
    desk.store.run_sync(recover_create, record, desk.clock.now())
    first, second = desk.told(one), desk.told(two)
    assert evolve(second, id=first.id, tag=first.tag, instance_id="900") == first

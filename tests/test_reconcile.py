"""The heart: no destroy without positive evidence, and no orphan that is never dealt with."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from shopperd.model import (
    CreateOutcome,
    DestroyJob,
    DestroyOrigin,
    Fleet,
    HoldReason,
    Instance,
    InstanceState,
    MemorySpan,
    OrphanKind,
    OrphanPhase,
    Ownership,
    Session,
    SessionState,
    tag_of,
)
from shopperd.reconcile import (
    Account,
    Authority,
    Guard,
    Judgement,
    Orphan,
    Plan,
    Window,
    blast_limit,
    command_for,
    confirms,
    first_hold,
    guards_of_request,
    guards_of_verdict,
    held_reasons,
    limit_per_hour,
    may_send,
    observe,
    plan,
    published_bound_seconds,
    settle,
    verdict,
    wants_proof,
)
from shopperd.settings import OrphanSettings, Settings
from tests.nouns import (
    ACCOUNT,
    NOW,
    SETTINGS,
    account,
    after,
    instance,
    job,
    rounds,
    session,
    sid,
    snapshot,
    track,
    watch,
)

LATER = NOW + timedelta(minutes=10)
MAY_ACT = Authority()
NOTHING_LATELY = Window()


def with_rules(**changed: Any) -> Settings:
    return evolve(SETTINGS, orphans=evolve(SETTINGS.orphans, **changed))


def planned(
    known: Account,
    settings: Settings = SETTINGS,
    *,
    authority: Authority = MAY_ACT,
    window: Window = NOTHING_LATELY,
    fresh: bool = True,
    at: Any = LATER,
) -> Plan:
    return plan(known, settings, authority, window, at, snapshot_is_fresh=fresh)


def ripe(known: Account, *instances: Any, count: int = 4) -> Account:
    """The account after enough snapshots for any verdict in it to be ripe at LATER."""
    return watch(known, *rounds(*instances, count=count))


def only_hold(made: Plan) -> HoldReason | None:
    (orphan,) = made.orphans
    return orphan.hold


ENDED = session(1, SessionState.ENDED)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_an_instance_of_a_live_session_is_no_orphan() -> None:
    known = ripe(account(session(1, instance_id="a")), instance("a", 1))
    assert planned(known).orphans == ()


def test_an_instance_of_an_ended_session_is_destroyed() -> None:
    made = planned(ripe(account(ENDED), instance("a", 1)))
    assert [(d.instance_id, d.kind, d.origin) for d in made.destroys] == [
        ("a", OrphanKind.ENDED, DestroyOrigin.VERDICT)
    ]


def test_a_foreign_instance_is_nobodys_business() -> None:
    known = ripe(account(ENDED), instance("a", tag="my-own-machine"), instance("b", tag="shopper-test"))
    assert planned(known).orphans == ()
    assert {t.instance.ownership for t in known.tracks.values()} == {Ownership.FOREIGN}


@pytest.mark.parametrize(
    "tag",
    [
        f"SHOPPER-{ENDED.id}",
        f"shopper-{ENDED.id} ",
        f"shopper-{str(ENDED.id).upper()}x",
        f"shopper-{ENDED.id}-2",
        f"shopper-prod-{ENDED.id}",
        f"shopper-{str(ENDED.id)[:-1]}",
        "",
    ],
)
def test_a_tag_that_is_not_exactly_ours_is_foreign(tag: str) -> None:
    assert planned(ripe(account(ENDED), instance("a", tag=tag))).orphans == ()


def test_the_bound_instance_stays_and_its_double_goes() -> None:
    known = ripe(account(session(1, instance_id="a")), instance("a", 1), instance("b", 1))
    made = planned(known)
    assert [(d.instance_id, d.kind) for d in made.destroys] == [("b", OrphanKind.DUPLICATE)]


def test_a_double_is_left_alone_while_the_bound_instance_is_out_of_sight() -> None:
    known = ripe(account(session(1, instance_id="a")), instance("a", 1), instance("b", 1))
    known = watch(known, snapshot(instance("b", 1), at=LATER))
    assert planned(known, at=LATER + timedelta(minutes=1)).destroys == ()


def test_of_two_unbound_doubles_the_running_one_is_bound() -> None:
    waiting = session(1, SessionState.CREATING, create_outcome=CreateOutcome.UNCLEAR)
    known = ripe(account(waiting), instance("a", 1, state=InstanceState.STARTING), instance("b", 1))
    assert known.sessions[waiting.id].instance_id == "b"
    assert [d.instance_id for d in planned(known).destroys] == ["a"]


def test_of_two_unbound_running_doubles_the_older_is_bound() -> None:
    waiting = session(1, SessionState.CREATING, create_outcome=CreateOutcome.UNCLEAR)
    older = instance("b", 1, started_at=NOW - timedelta(hours=2))
    known = watch(account(waiting), snapshot(instance("a", 1), older))
    assert known.sessions[waiting.id].instance_id == "b"


def test_an_expired_session_is_ended_first_and_its_instance_goes_by_verdict() -> None:
    due = session(1, instance_id="a", expires_at=NOW - timedelta(seconds=1))
    known = ripe(account(due), instance("a", 1))
    assert known.sessions[due.id].state is SessionState.ENDING
    assert [d.kind for d in planned(known).destroys] == [OrphanKind.EXPIRED]
    assert known.jobs == {}


def test_a_session_before_its_deadline_is_left_alone() -> None:
    known = ripe(account(session(1, instance_id="a", expires_at=NOW + timedelta(days=1))), instance("a", 1))
    assert planned(known).orphans == ()


def test_a_deadline_of_before_a_restore_ends_nothing() -> None:
    due = session(1, instance_id="a", expires_at=NOW - timedelta(seconds=1))
    known = ripe(account(due, restored_at=NOW - timedelta(minutes=5)), instance("a", 1))
    assert planned(known).orphans == ()


def test_a_deadline_that_was_set_after_a_restore_counts() -> None:
    due = session(1, instance_id="a", expires_at=NOW, deadline_set_at=NOW - timedelta(minutes=1))
    known = ripe(account(due, restored_at=NOW - timedelta(minutes=5)), instance("a", 1))
    assert [d.kind for d in planned(known).destroys] == [OrphanKind.EXPIRED]


def test_the_longest_lifetime_ends_a_session_that_has_no_deadline() -> None:
    settings = evolve(SETTINGS, sessions=evolve(SETTINGS.sessions, max_lifetime=60.0))
    known = watch(account(session(1, instance_id="a")), *rounds(instance("a", 1), count=4), settings=settings)
    assert [d.kind for d in planned(known, settings).destroys] == [OrphanKind.EXPIRED]


def test_an_expired_machine_with_an_edited_tag_still_goes() -> None:
    due = session(1, instance_id="a", expires_at=NOW - timedelta(seconds=1))
    known = ripe(account(due), instance("a", tag="renamed by hand"))
    (destroy,) = planned(known).destroys
    assert destroy.session_id == due.id
    assert confirms(known, destroy, instance("a", tag="renamed by hand"))


def test_a_machine_whose_tag_was_lost_stays_with_its_live_session() -> None:
    known = ripe(account(session(1, instance_id="a")), instance("a", tag=None))
    assert planned(known).orphans == ()
    assert known.tracks["a"].instance.ownership is Ownership.OURS


DAYS_AGO = NOW - timedelta(days=30)
LOST_LONG_AGO = session(1, SessionState.LOST, instance_id="b", ended_at=DAYS_AGO)
BY_COMMAND = session(1, SessionState.ENDING, instance_id="a", reason="ended by request")


@pytest.mark.parametrize(
    ("owner", "more", "kind", "because"),
    [
        pytest.param(session(1, instance_id="a"), {}, None, "a live session is bound to it", id="claimed"),
        pytest.param(
            evolve(BY_COMMAND, reason="expired"),
            {},
            OrphanKind.EXPIRED,
            "its session is past its deadline",
            id="expired",
        ),
        pytest.param(
            BY_COMMAND,
            {"jobs": {"a": job("a")}},
            None,
            "its session was ended by command, and the destroy recorded with that is at work",
            id="ended by command",
        ),
        pytest.param(
            BY_COMMAND,
            {"jobs": {"b": job("b")}},
            OrphanKind.ENDED,
            "its session was ended, and no destroy of it is at work",
            id="ended, and its destroy is lost",
        ),
        pytest.param(
            BY_COMMAND,
            {"jobs": {"a": job("a", origin=DestroyOrigin.VERDICT)}},
            OrphanKind.ENDED,
            "its session was ended, and no destroy of it is at work",
            id="ended, and destroyed by verdict",
        ),
        pytest.param(
            session(1, account="other", instance_id="a"),
            {},
            None,
            "its session is at home in another account that sees the same machine",
            id="seen through two accounts",
        ),
        pytest.param(
            session(1, account="other", instance_id="b"),
            {},
            OrphanKind.UNKNOWN,
            "its tag is exactly ours, and the store never heard of that session in this account",
            id="another account's tag",
        ),
        pytest.param(
            session(2),
            {},
            OrphanKind.UNKNOWN,
            "its tag is exactly ours, and the store never heard of that session in this account",
            id="unknown",
        ),
        pytest.param(
            session(1, SessionState.EXPECTED),
            {},
            None,
            "a live session that has no instance yet waits for its tag",
            id="awaited",
        ),
        pytest.param(
            session(1, instance_id="b"),
            {"tracks": {"b": track(instance("b", 1))}},
            OrphanKind.DUPLICATE,
            "a live session has this tag, and its own instance is another one that is there",
            id="a double",
        ),
        pytest.param(
            session(1, instance_id="b"),
            {"tracks": {"b": track(instance("b", 1), absences=1)}},
            None,
            "a live session has this tag, and its own instance is out of sight: this one may have to take its place",
            id="a double of what is missed",
        ),
        pytest.param(
            session(1, instance_id="b"),
            {},
            None,
            "a live session has this tag, and its own instance is out of sight: this one may have to take its place",
            id="a double of what was never listed",
        ),
        pytest.param(
            session(1, SessionState.ENDING, create_outcome=CreateOutcome.UNCLEAR),
            {},
            None,
            "its session is ending, and a create of it may still be answered",
            id="of an open create",
        ),
        pytest.param(
            evolve(LOST_LONG_AGO, ended_at=NOW - timedelta(hours=23)),
            {},
            None,
            "its session was lost and may still come back (sessions.resurrection_window)",
            id="lost lately",
        ),
        pytest.param(LOST_LONG_AGO, {}, OrphanKind.ENDED, "its session is over", id="lost long ago"),
        pytest.param(
            LOST_LONG_AGO,
            {"restored_at": NOW - timedelta(days=9)},
            None,
            "its session was lost and may still come back (sessions.resurrection_window)",
            id="lost in a backup, and not listed since that was put back",
        ),
        pytest.param(
            LOST_LONG_AGO,
            {"restored_at": NOW - timedelta(days=9), "last_complete_at": NOW - timedelta(days=9)},
            OrphanKind.ENDED,
            "its session is over",
            id="lost in a backup that was put back long ago",
        ),
        pytest.param(ENDED, {}, OrphanKind.ENDED, "its session is over", id="over"),
        pytest.param(
            session(1, SessionState.ENDING, instance_id="b"),
            {},
            OrphanKind.ENDED,
            "its session is over",
            id="a double of what is ending",
        ),
    ],
)
def test_a_verdict_says_why(owner: Session, more: dict[str, Any], kind: OrphanKind | None, because: str) -> None:
    known = account(owner, **more)
    judged = verdict(known, instance("a", 1), known.bindings.get("a"), known.tracks, SETTINGS, NOW)
    assert judged == Judgement(kind, because)


def test_of_several_sessions_with_one_id_the_one_that_is_not_over_is_bound_to_it() -> None:
    over, live = session(1, SessionState.ENDED, instance_id="a"), session(2, instance_id="a")
    later = session(3, SessionState.LOST, instance_id="a")
    assert account(session(5), over, live, later).bindings == {"a": live}
    assert account(live, over).bindings == {"a": live}
    assert account(over, session(4, account="other", instance_id="a")).bindings == {"a": over}


def test_a_foreign_tag_is_told_from_one_of_ours() -> None:
    judged = verdict(account(ENDED), instance("a", tag="training-run"), None, {}, SETTINGS, NOW)
    assert judged == Judgement(None, "its tag is not exactly ours: it is foreign, and never touched")


# --- what an observation tells ----------------------------------------------------------------------------------------


def test_a_verdict_is_noted_with_its_count_and_since_when() -> None:
    known = account(ENDED)
    first = observe(known, snapshot(instance("a", 1)), SETTINGS, NOW)
    again = observe(after(known, first), snapshot(instance("a", 1), at=LATER), SETTINGS, LATER)
    noted = [(told.kind, told.kind_sightings, told.orphan_since) for seen in (first, again) for told in seen.tracks]
    assert noted == [(OrphanKind.ENDED, 1, NOW), (OrphanKind.ENDED, 2, NOW)]


@pytest.mark.parametrize(
    ("kind", "count", "since"),
    [
        (OrphanKind.ENDED, 3, NOW),
        (OrphanKind.ENDED, 3, None),
        (OrphanKind.ENDED, 0, NOW),
        (OrphanKind.ENDED, 0, None),
        (None, 0, NOW),
        (None, 2, None),
    ],
)
def test_nothing_is_left_of_a_verdict_that_is_not_given_any_more(
    kind: OrphanKind | None, count: int, since: datetime | None
) -> None:
    before = track(instance("a", 1), kind=kind, kind_sightings=count, orphan_since=since)
    known = account(session(1, instance_id="a"), tracks={"a": before})
    (told,) = observe(known, snapshot(instance("a", 1), at=LATER), SETTINGS, LATER).tracks
    assert (told.kind, told.kind_sightings, told.orphan_since) == (None, 0, None)


def test_sightings_under_another_tag_do_not_count_for_this_one() -> None:
    known = ripe(account(ENDED, session(2, SessionState.ENDED)), instance("a", 1))
    (told,) = observe(known, snapshot(instance("a", 2), at=LATER), SETTINGS, LATER).tracks
    assert (told.kind, told.kind_sightings, told.orphan_since) == (OrphanKind.ENDED, 1, LATER)


def test_a_listing_that_tells_nothing_new_changes_nothing() -> None:
    condemned = track(instance("a", 1), sightings=3, kind=OrphanKind.ENDED, kind_sightings=1000, orphan_since=NOW)
    calm = track(instance("b", 2), sightings=3)
    known = account(
        ENDED, session(2, instance_id="b", price_per_hour=0.5), tracks={"a": condemned, "b": calm}, jobs={"a": job("a")}
    )
    seen = observe(known, snapshot(instance("a", 1), instance("b", 2), at=LATER), SETTINGS, LATER)
    assert (seen.tracks, seen.steps, seen.commands, seen.settled) == ((), (), (), ())
    assert (seen.fleet, seen.returned, seen.replaced) == (Fleet(), (), ())


def test_what_is_missed_was_last_seen_by_the_newest_complete_listing() -> None:
    newest = NOW + timedelta(minutes=2)
    known = account(ENDED, tracks={"a": track(instance("a", 1))}, last_complete_at=newest)
    (missed,) = observe(known, snapshot(at=LATER), SETTINGS, LATER).tracks
    assert (missed.last_seen_at, missed.absences) == (newest, 1)


def test_what_comes_back_from_the_dead_is_told() -> None:
    known = account(ENDED, tracks={"a": track(instance("a", 1), gone_at=NOW)})
    seen = observe(known, snapshot(instance("a", 1), instance("b", 1), at=LATER), SETTINGS, LATER)
    assert (seen.returned, seen.replaced) == (("a",), ())


def test_a_listing_closes_the_destroys_of_what_is_gone_with_its_moment() -> None:
    tracks = {
        "gone": track(instance("gone", 1), gone_at=NOW),
        "there": track(instance("there", 1)),
        "replaced": track(instance("replaced", 1)),
        "missed": track(instance("missed", 1)),
    }
    known = account(ENDED, tracks=tracks, jobs={id_: job(id_) for id_ in (*tracks, "never seen")})
    another = instance("replaced", 1, started_at=NOW + timedelta(minutes=4))
    seen = observe(known, snapshot(instance("there", 1), another, at=LATER), SETTINGS, LATER)
    assert seen.settled == (job("gone", gone_at=LATER), job("replaced", gone_at=LATER))


def test_every_session_of_the_account_is_moved_whoever_stands_before_it() -> None:
    elsewhere, over = session(4, account="other", instance_id="a"), session(3, SessionState.ENDED, instance_id="a")
    calm, waiting = session(2, SessionState.EXPECTED), session(1, SessionState.EXPECTED)
    seen = observe(account(elsewhere, over, calm, waiting), snapshot(instance("a", 1)), SETTINGS, NOW)
    (step,) = seen.steps
    assert (step.session.id, step.session.instance_id, step.session.state) == (waiting.id, "a", SessionState.RUNNING)
    assert (step.was, step.kind) == (SessionState.EXPECTED, "session.bound")


def test_a_session_whose_machine_is_gone_is_told_from_one_whose_id_names_another() -> None:
    mine = session(1, instance_id="a")
    known = account(mine, tracks={"a": track(instance("a", 1), absences=3)})
    (gone,) = settle(known, ["a"], SETTINGS, LATER).steps
    stranger = snapshot(instance("a", tag=None, started_at=NOW + timedelta(minutes=4)), at=LATER)
    (replaced,) = observe(known, stranger, SETTINGS, LATER).steps
    assert gone.session.reason == "its instance is gone"
    assert replaced.session.reason == "its id names another machine now"


# --- unknown ----------------------------------------------------------------------------------------------------------


def test_an_unknown_tag_is_held_unless_the_account_is_exclusive() -> None:
    known = ripe(account(), instance("a", 7))
    assert known.tracks["a"].instance.ownership is Ownership.UNKNOWN
    assert only_hold(planned(known)) is HoldReason.NOT_EXCLUSIVE


def test_an_unknown_tag_goes_where_the_account_is_exclusive_and_the_memory_unbroken() -> None:
    known = ripe(account(exclusive=True), instance("a", 7))
    assert [d.kind for d in planned(known).destroys] == [OrphanKind.UNKNOWN]


@pytest.mark.parametrize(
    "spans",
    [
        (),
        (MemorySpan(NOW - timedelta(minutes=10), NOW + timedelta(days=1)),),
        (
            MemorySpan(NOW - timedelta(days=9), NOW - timedelta(minutes=51)),
            MemorySpan(NOW - timedelta(minutes=49), NOW + timedelta(days=1)),
        ),
    ],
    ids=["none", "younger than the machine", "a gap around its creation"],
)
def test_an_unknown_tag_is_held_while_memory_has_a_gap_at_its_creation(spans: tuple[MemorySpan, ...]) -> None:
    known = ripe(account(exclusive=True, spans=spans), instance("a", 7))
    assert only_hold(planned(known)) is HoldReason.MEMORY_BROKEN


def test_an_unknown_machine_of_untold_age_is_held_if_the_first_listing_held_it() -> None:
    known = ripe(account(exclusive=True), instance("a", 7, started_at=None))
    assert only_hold(planned(known)) is HoldReason.MEMORY_BROKEN


def test_an_unknown_machine_of_untold_age_goes_if_an_earlier_listing_missed_it_and_nothing_was_slept_through() -> None:
    known = ripe(account(exclusive=True, missed_since=NOW - timedelta(minutes=2)), instance("a", 7, started_at=None))
    assert [d.kind for d in planned(known).destroys] == [OrphanKind.UNKNOWN]


def test_an_unknown_machine_of_untold_age_is_held_if_it_may_have_come_while_the_memory_slept() -> None:
    spans = (
        MemorySpan(NOW - timedelta(days=9), NOW - timedelta(minutes=90)),
        MemorySpan(NOW - timedelta(minutes=1), NOW + timedelta(days=1)),
    )
    known = account(exclusive=True, spans=spans, missed_since=NOW - timedelta(minutes=91))
    assert only_hold(planned(ripe(known, instance("a", 7, started_at=None)))) is HoldReason.MEMORY_BROKEN


@pytest.mark.parametrize(("beats_on", "hold"), [(59, HoldReason.MEMORY_BROKEN), (60, None)])
def test_a_memory_that_fell_asleep_right_after_a_birth_may_have_missed_its_create(
    beats_on: int, hold: HoldReason | None
) -> None:
    born = NOW - timedelta(minutes=50)
    spans = (MemorySpan(born - timedelta(days=1), born + timedelta(seconds=beats_on)),)
    known = ripe(account(exclusive=True, spans=spans), instance("a", 7, started_at=born))
    assert only_hold(planned(known)) is hold


def test_a_machine_that_a_second_account_sees_too_is_no_orphan_there() -> None:
    elsewhere = session(1, account="other", instance_id="a")
    assert planned(ripe(account(elsewhere, exclusive=True), instance("a", 1))).orphans == ()


def test_a_tag_of_another_accounts_session_is_never_destroyed() -> None:
    elsewhere = session(1, SessionState.ENDED, account="other")
    known = ripe(account(elsewhere, exclusive=True), instance("a", 1))
    assert only_hold(planned(known)) is HoldReason.NOT_OURS


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_two_sightings_are_not_three() -> None:
    known = watch(account(ENDED), *rounds(instance("a", 1), count=2))
    made = planned(known)
    assert made.destroys == ()
    assert made.orphans[0].phase is OrphanPhase.SUSPECTED
    assert only_hold(made) is HoldReason.SIGHTINGS


def test_incomplete_snapshots_are_no_sightings() -> None:
    seen = [evolve(one, complete=False) for one in rounds(instance("a", 1), count=9)]
    known = watch(account(ENDED), *seen)
    assert planned(known).destroys == ()


def test_a_gap_in_the_sightings_starts_the_count_again() -> None:
    first = rounds(instance("a", 1), count=2)
    gap = snapshot(at=NOW + timedelta(minutes=4))
    again = rounds(instance("a", 1), count=2, start=NOW + timedelta(minutes=6))
    known = watch(account(ENDED), *first, gap, *again)
    assert only_hold(planned(known)) is HoldReason.SIGHTINGS


def test_grace_counts_from_the_first_sight() -> None:
    known = watch(account(ENDED), *rounds(instance("a", 1), count=3, every=1.0))
    assert only_hold(planned(known, at=NOW + timedelta(seconds=299))) is HoldReason.GRACE
    assert len(planned(known, at=NOW + timedelta(seconds=302)).destroys) == 1


def test_nothing_begins_on_a_stale_snapshot() -> None:
    known = ripe(account(ENDED), instance("a", 1))
    assert only_hold(planned(known, fresh=False)) is HoldReason.STALE_SNAPSHOT


def test_what_the_newest_snapshot_does_not_hold_is_not_destroyed() -> None:
    known = watch(ripe(account(ENDED), instance("a", 1)), snapshot(at=LATER))
    assert planned(known).orphans == ()


def test_a_session_that_comes_alive_again_saves_its_instance() -> None:
    known = ripe(account(ENDED), instance("a", 1))
    known = evolve(known, sessions={ENDED.id: session(1, SessionState.RUNNING, instance_id="a")})
    assert watch(known, snapshot(instance("a", 1), at=LATER)).tracks["a"].kind is None
    assert may_send(known, job("a", origin=DestroyOrigin.VERDICT), Authority(), SETTINGS.orphans, NOW) is (
        HoldReason.LIVE_SESSION
    )


# --- guards -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authority", "settings", "hold"),
    [
        (Authority(no_right="store full"), SETTINGS, HoldReason.NO_RIGHT_TO_ACT),
        (Authority(observing=1), SETTINGS, HoldReason.OBSERVING),
        (Authority(frozen=True), SETTINGS, HoldReason.FROZEN),
        (Authority(), with_rules(mode="report"), HoldReason.REPORT_MODE),
        (
            Authority(no_right="x", observing=1, frozen=True),
            with_rules(mode="report"),
            HoldReason.NO_RIGHT_TO_ACT,
        ),
    ],
)
def test_guards_hold_in_their_order(authority: Authority, settings: Settings, hold: HoldReason) -> None:
    known = ripe(account(ENDED), instance("a", 1))
    assert only_hold(planned(known, settings, authority=authority)) is hold


def test_the_first_of_all_guards_that_holds_is_the_hold_of_the_plan() -> None:
    """An explanation lists them all: those behind the first are told too, and none is asked in another way."""
    known = ripe(account(ENDED), instance("a", 1))
    known = evolve(known, tracks={"a": evolve(known.tracks["a"], exempt=True)})
    authority = Authority(frozen=True)
    told = guards_of_verdict(known, known.tracks["a"], SETTINGS, authority, Window(), LATER, snapshot_is_fresh=False)
    assert only_hold(planned(known, authority=authority, fresh=False)) is first_hold(told) is HoldReason.FROZEN
    assert [guard.reason for guard in told if guard.holds] == [
        HoldReason.FROZEN,
        HoldReason.EXEMPT,
        HoldReason.STALE_SNAPSHOT,
    ]


def test_each_place_in_the_queue_is_told_by_its_own_limit() -> None:
    known = orphans(8)
    made = planned(known)
    assert len(made.destroys) == 3
    for orphan in made.orphans:
        told = guards_of_verdict(known, orphan.track, SETTINGS, MAY_ACT, Window(), LATER, snapshot_is_fresh=True)
        assert first_hold(told) is orphan.hold


def test_an_exempt_instance_is_held() -> None:
    known = ripe(account(ENDED), instance("a", 1))
    known = evolve(known, tracks={"a": evolve(known.tracks["a"], exempt=True)})
    assert only_hold(planned(known)) is HoldReason.EXEMPT


def test_an_exempt_session_protects_its_instance() -> None:
    known = ripe(account(evolve(ENDED, exempt=True)), instance("a", 1))
    assert only_hold(planned(known)) is HoldReason.EXEMPT


@pytest.mark.parametrize("hold", [HoldReason.FROZEN, HoldReason.REPORT_MODE, HoldReason.EXEMPT])
def test_a_command_passes_no_guard_that_a_person_set(hold: HoldReason) -> None:
    known = ripe(account(session(1, SessionState.ENDING, instance_id="a")), instance("a", 1))
    authority, rules = Authority(), SETTINGS.orphans
    if hold is HoldReason.FROZEN:
        authority = Authority(frozen=True)
    elif hold is HoldReason.REPORT_MODE:
        rules = evolve(rules, mode="report")
    else:
        known = evolve(known, tracks={"a": evolve(known.tracks["a"], exempt=True)})
    assert may_send(known, job("a"), authority, rules, NOW) is hold


def test_a_command_needs_no_sightings_no_grace_and_no_observing_sweep() -> None:
    ending = session(1, SessionState.ENDING, instance_id="a")
    known = watch(account(ending), snapshot(instance("a", 1)))
    assert may_send(known, job("a"), Authority(observing=1), SETTINGS.orphans, NOW) is None


def test_a_command_never_touches_a_foreign_instance() -> None:
    known = watch(account(), snapshot(instance("a", tag="theirs")))
    assert may_send(known, job("a"), Authority(), SETTINGS.orphans, NOW) is HoldReason.NOT_OURS


def test_a_command_settles_an_unknown_instance() -> None:
    known = watch(account(), snapshot(instance("a", 7)))
    assert may_send(known, job("a"), Authority(), SETTINGS.orphans, NOW) is None


def test_an_open_create_with_the_tag_holds_everything() -> None:
    ending = session(1, SessionState.ENDING, create_outcome=CreateOutcome.UNCLEAR, reason="expired")
    known = evolve(account(ending), tracks={"a": track(instance("a", 1))})
    assert may_send(known, job("a", origin=DestroyOrigin.VERDICT), Authority(), SETTINGS.orphans, NOW) is (
        HoldReason.OPEN_CREATE
    )


def test_a_verdict_waits_while_its_instance_is_out_of_sight() -> None:
    known = evolve(account(ENDED), tracks={"a": track(instance("a", 1), absences=1, sightings=0)})
    assert may_send(known, job("a", origin=DestroyOrigin.VERDICT), Authority(), SETTINGS.orphans, NOW) is (
        HoldReason.LAST_LOOK
    )


A_MACHINE = instance("a", 1)


def of_verdict(known: Account, one: str = "a", **more: Any) -> tuple[Guard, ...]:
    """Every guard that the sweep at LATER would ask of this one."""
    asked: dict[str, Any] = {
        "settings": SETTINGS,
        "authority": MAY_ACT,
        "window": NOTHING_LATELY,
        "now": LATER,
        "snapshot_is_fresh": True,
    }
    return guards_of_verdict(known, known.tracks[one], **(asked | more))


def that_hold(guards: Iterable[Guard]) -> list[HoldReason]:
    return [guard.reason for guard in guards if guard.holds]


ASKED_OF_ANY = (
    HoldReason.FROZEN,
    HoldReason.REPORT_MODE,
    HoldReason.NOT_OURS,
    HoldReason.EXEMPT,
    HoldReason.LIVE_SESSION,
    HoldReason.OPEN_CREATE,
)


def test_a_verdict_that_may_be_carried_out_has_every_guard_told() -> None:
    assert of_verdict(ripe(account(ENDED), A_MACHINE)) == tuple(
        Guard(reason, holds=False)
        for reason in (
            HoldReason.SIGHTINGS,
            HoldReason.GRACE,
            HoldReason.NO_RIGHT_TO_ACT,
            HoldReason.OBSERVING,
            *ASKED_OF_ANY,
            HoldReason.FLEET_JUMP,
            HoldReason.STALE_SNAPSHOT,
            HoldReason.LIMIT_PER_SWEEP,
        )
    )


@pytest.mark.parametrize(
    ("more", "held"),
    [
        pytest.param({"settings": with_rules(sightings=5)}, [HoldReason.SIGHTINGS], id="a sighting is missing"),
        pytest.param({"settings": with_rules(sightings=4)}, [], id="just enough sightings"),
        pytest.param({"settings": with_rules(grace=600.0)}, [HoldReason.GRACE], id="a second too young"),
        pytest.param({"settings": with_rules(grace=599.0)}, [], id="just old enough"),
        pytest.param({"authority": Authority(no_right="store")}, [HoldReason.NO_RIGHT_TO_ACT], id="no right to act"),
        pytest.param({"authority": Authority(observing=1)}, [HoldReason.OBSERVING], id="a sweep that only looks"),
        pytest.param({"authority": Authority(frozen=True)}, [HoldReason.FROZEN], id="frozen"),
        pytest.param({"settings": with_rules(mode="report")}, [HoldReason.REPORT_MODE], id="report mode"),
        pytest.param({"snapshot_is_fresh": False}, [HoldReason.STALE_SNAPSHOT], id="a stale snapshot"),
        pytest.param({"window": Window(last_sweep=3)}, [HoldReason.LIMIT_PER_SWEEP], id="the sweep's limit"),
        pytest.param({"window": Window(last_hour=3)}, [HoldReason.LIMIT_PER_HOUR], id="the hour's limit"),
        pytest.param(
            {
                "settings": with_rules(sightings=5, mode="report"),
                "authority": Authority(no_right="store", frozen=True),
                "window": Window(last_hour=3),
                "snapshot_is_fresh": False,
            },
            [
                HoldReason.SIGHTINGS,
                HoldReason.NO_RIGHT_TO_ACT,
                HoldReason.FROZEN,
                HoldReason.REPORT_MODE,
                HoldReason.STALE_SNAPSHOT,
                HoldReason.LIMIT_PER_HOUR,
            ],
            id="many at once",
        ),
    ],
)
def test_every_guard_that_holds_a_verdict_is_told(more: dict[str, Any], held: list[HoldReason]) -> None:
    assert that_hold(of_verdict(ripe(account(ENDED), A_MACHINE), **more)) == held


@pytest.mark.parametrize("tag", [None, "theirs"])
def test_a_foreign_machine_is_held_as_such_and_by_no_other_guard(tag: str | None) -> None:
    condemned = track(instance("a", tag=tag), kind=OrphanKind.ENDED, kind_sightings=3)
    assert that_hold(of_verdict(account(spans=(), tracks={"a": condemned}))) == [HoldReason.NOT_OURS]


def test_an_unknown_machine_has_two_guards_more() -> None:
    known = ripe(account(spans=()), instance("a", 7))
    assert that_hold(of_verdict(known)) == [HoldReason.NOT_EXCLUSIVE, HoldReason.MEMORY_BROKEN]


@pytest.mark.parametrize(
    ("one", "held"),
    [
        ("i005", []),
        ("i004", []),
        ("i003", []),
        ("i002", [HoldReason.LIMIT_PER_SWEEP]),
        ("i001", [HoldReason.LIMIT_PER_SWEEP]),
    ],
)
def test_the_limit_holds_those_that_cost_less_than_what_goes_before_them(one: str, held: list[HoldReason]) -> None:
    assert that_hold(of_verdict(orphans(5), one)) == held


def of_request(known: Account, asked: DestroyJob, authority: Authority = MAY_ACT) -> tuple[Guard, ...]:
    return tuple(guards_of_request(known, asked, authority, SETTINGS.orphans))


def test_a_command_has_every_guard_told_also_where_no_listing_held_its_machine() -> None:
    asked = (HoldReason.NO_RIGHT_TO_ACT, *ASKED_OF_ANY)
    command = job("a", session_id=ENDED.id, tag=ENDED.tag)
    assert of_request(account(ENDED), command) == tuple(Guard(reason, holds=False) for reason in asked)


def test_a_recorded_verdict_has_every_guard_told_and_waits_where_no_listing_held_its_machine() -> None:
    recorded = job("a", origin=DestroyOrigin.VERDICT, session_id=ENDED.id, tag=ENDED.tag)
    asked = (HoldReason.NO_RIGHT_TO_ACT, HoldReason.OBSERVING, *ASKED_OF_ANY, HoldReason.OBSERVING)
    assert of_request(account(ENDED), recorded) == (
        *(Guard(reason, holds=False) for reason in asked),
        Guard(HoldReason.LAST_LOOK, holds=True),
    )


@pytest.mark.parametrize(
    ("owner", "asked", "held"),
    [
        pytest.param(ENDED, job("a"), [HoldReason.NOT_OURS], id="an id alone"),
        pytest.param(BY_COMMAND, job("a"), [], id="an id that is bound"),
        pytest.param(
            session(1, instance_id="b"), job("a", session_id=sid(1)), [], id="the tag of a session with another machine"
        ),
        pytest.param(
            session(1, SessionState.EXPECTED),
            job("a", session_id=sid(1)),
            [HoldReason.LIVE_SESSION],
            id="the tag of a session that waits for it",
        ),
        pytest.param(
            evolve(ENDED, exempt=True), job("a", session_id=sid(1)), [HoldReason.EXEMPT], id="the tag of an exempt one"
        ),
    ],
)
def test_a_command_at_what_no_listing_held_is_judged_by_what_it_names(
    owner: Session, asked: DestroyJob, held: list[HoldReason]
) -> None:
    assert that_hold(of_request(account(owner, tracks={"b": track(instance("b", 1))}), asked)) == held


def test_a_verdict_that_an_earlier_run_recorded_goes_on_while_the_first_sweeps_only_look() -> None:
    known = ripe(account(ENDED), A_MACHINE)
    recorded = job("a", origin=DestroyOrigin.VERDICT)
    assert may_send(known, recorded, Authority(observing=1), SETTINGS.orphans, LATER) is None


# --- what is made -----------------------------------------------------------------------------------------------------

A_VERDICT = DestroyJob(
    id=0,
    account=ACCOUNT,
    instance_id="i001",
    origin=DestroyOrigin.VERDICT,
    reason="orphan of kind ended",
    requested_at=LATER,
    next_attempt_at=LATER,
    session_id=sid(1),
    kind=OrphanKind.ENDED,
    tag=tag_of(sid(1)),
    instance_started_at=NOW - timedelta(minutes=50),
)


def test_a_plan_tells_all_that_it_makes_of_an_account() -> None:
    known = orphans(5)
    tracks = dict(known.tracks)
    tracks["i003"] = evolve(tracks["i003"], exempt=True)
    tracks["i002"] = evolve(tracks["i002"], kind_sightings=2)
    by_verdict = {"origin": DestroyOrigin.VERDICT, "kind": OrphanKind.ENDED}
    jobs = {
        "i005": job("i005", requested_at=LATER - timedelta(days=1), attempts=3, **by_verdict),
        "i004": job("i004", requested_at=NOW, attempts=2, hold=HoldReason.FROZEN, **by_verdict),
    }
    assert planned(evolve(known, tracks=tracks, jobs=jobs)) == Plan(
        account=ACCOUNT,
        orphans=(
            Orphan(tracks["i005"], OrphanKind.ENDED, OrphanPhase.DESTROYING, attempts=3, stuck=True),
            Orphan(
                tracks["i004"], OrphanKind.ENDED, OrphanPhase.DESTROYING, HoldReason.FROZEN, attempts=2, stuck=False
            ),
            Orphan(tracks["i003"], OrphanKind.ENDED, OrphanPhase.HELD, HoldReason.EXEMPT),
            Orphan(tracks["i002"], OrphanKind.ENDED, OrphanPhase.SUSPECTED, HoldReason.SIGHTINGS),
            Orphan(tracks["i001"], OrphanKind.ENDED, OrphanPhase.DESTROYING),
        ),
        destroys=(A_VERDICT,),
        allowed=3,
    )


def test_what_tells_no_price_goes_with_what_costs_nothing() -> None:
    ended = [session(n, SessionState.ENDED) for n in (1, 2, 3)]
    free = [instance("a", 1, price_per_hour=None), instance("b", 2, price_per_hour=0.0)]
    known = ripe(account(*ended), *free, instance("c", 3, price_per_hour=0.4))
    assert [orphan.track.instance.id for orphan in planned(known).orphans] == ["c", "a", "b"]


A_COMMAND = DestroyJob(
    id=0,
    account=ACCOUNT,
    instance_id="a",
    origin=DestroyOrigin.COMMAND,
    reason="ended by request",
    requested_at=LATER,
    next_attempt_at=LATER,
    session_id=sid(1),
    tag=tag_of(sid(1)),
    instance_started_at=NOW - timedelta(minutes=50),
)


def test_a_command_names_its_machine_and_its_session() -> None:
    assert command_for(BY_COMMAND, track(A_MACHINE), LATER) == A_COMMAND
    unlisted, untold = command_for(BY_COMMAND, None, LATER), command_for(evolve(BY_COMMAND, reason=None), None, LATER)
    assert unlisted == evolve(A_COMMAND, instance_started_at=None)
    assert untold == evolve(unlisted, reason="the session was ended")


def test_there_is_no_command_without_a_machine() -> None:
    with pytest.raises(ValueError, match=f"session {ENDED.id} has no instance to destroy"):
        command_for(ENDED, None, LATER)


@pytest.mark.parametrize(
    ("owner", "commands"),
    [
        pytest.param(evolve(BY_COMMAND, instance_id=None), (A_COMMAND,), id="ended by command"),
        pytest.param(evolve(BY_COMMAND, instance_id=None, reason="expired"), (), id="expired"),
        pytest.param(session(1, SessionState.CREATING), (), id="live"),
        pytest.param(
            evolve(
                BY_COMMAND,
                created_at=NOW + timedelta(hours=1),
                create_deadline_at=NOW + timedelta(hours=2),
            ),
            (),
            id="commanded already, by a clock that was put back",
        ),
    ],
)
def test_what_a_listing_finds_of_a_session_that_was_ended_is_destroyed_by_command(
    owner: Session, commands: tuple[DestroyJob, ...]
) -> None:
    known = account(evolve(owner, create_outcome=CreateOutcome.UNCLEAR))
    assert observe(known, snapshot(A_MACHINE, at=LATER), SETTINGS, LATER).commands == commands


# --- limits -----------------------------------------------------------------------------------------------------------


def orphans(count: int) -> Account:
    ended = [session(n, SessionState.ENDED) for n in range(1, count + 1)]
    seen = [instance(f"i{n:03}", n, price_per_hour=n / 10) for n in range(1, count + 1)]
    # Known for long, so that their number is no jump.
    return watch(account(*ended), *rounds(*seen, count=4))


def test_up_to_the_limit_the_costliest_go_and_the_rest_is_held() -> None:
    made = planned(orphans(8))
    assert [d.instance_id for d in made.destroys] == ["i008", "i007", "i006"]
    held = [o for o in made.orphans if o.phase is OrphanPhase.HELD]
    assert {o.hold for o in held} == {HoldReason.LIMIT_PER_SWEEP}
    assert len(held) == 5


def test_limits_at_zero_mean_nothing_ever() -> None:
    settings = with_rules(max_destroys_per_sweep=0, max_share_per_sweep=0.0)
    assert planned(orphans(8), settings).destroys == ()
    no_hour = evolve(settings, orphans=evolve(settings.orphans, max_share_per_hour=1.0))
    assert planned(orphans(8), no_hour).destroys == ()


@pytest.mark.parametrize(
    ("instances", "window", "rules", "allowed"),
    [
        (10, Window(), {}, 3),
        (100, Window(), {}, 10),
        (100, Window(last_hour=15), {}, 5),
        (100, Window(last_hour=20), {}, 0),
        (100, Window(last_hour=50), {}, 0),
        (100, Window(last_hour=50), {"max_share_per_hour": 1.0}, 10),
        (10, Window(last_hour=3), {}, 0),
        (10, Window(last_sweep=2, last_hour=2), {}, 1),
        (100, Window(), {"max_share_per_sweep": 0.0}, 3),
        (100, Window(), {"max_destroys_per_sweep": 0}, 10),
        (100, Window(last_hour=0), {"max_share_per_hour": 0.0}, 10),
        (0, Window(), {"max_destroys_per_sweep": 0}, 0),
    ],
)
def test_limits_are_what_is_published(instances: int, window: Window, rules: dict[str, Any], allowed: int) -> None:
    assert blast_limit(instances, window, evolve(OrphanSettings(), **rules))[0] == allowed


@pytest.mark.parametrize(
    ("instances", "window", "rules", "limit"),
    [
        (100, Window(last_sweep=4), {}, (6, HoldReason.LIMIT_PER_SWEEP)),
        (100, Window(last_sweep=10), {}, (0, HoldReason.LIMIT_PER_SWEEP)),
        (100, Window(last_sweep=11), {}, (0, HoldReason.LIMIT_PER_SWEEP)),
        (100, Window(last_sweep=10), {"max_share_per_hour": 1.0}, (0, HoldReason.LIMIT_PER_SWEEP)),
        (100, Window(last_sweep=11), {"max_share_per_hour": 1.0}, (0, HoldReason.LIMIT_PER_SWEEP)),
        (100, Window(last_hour=10), {}, (10, HoldReason.LIMIT_PER_SWEEP)),
        (100, Window(last_hour=11), {}, (9, HoldReason.LIMIT_PER_HOUR)),
        (100, Window(last_hour=21), {}, (0, HoldReason.LIMIT_PER_HOUR)),
    ],
)
def test_the_stricter_limit_is_the_one_that_is_told(
    instances: int, window: Window, rules: dict[str, Any], limit: tuple[int, HoldReason]
) -> None:
    assert blast_limit(instances, window, evolve(OrphanSettings(), **rules)) == limit


@pytest.mark.parametrize(
    ("rules", "limit"),
    [
        ({}, 20),
        ({"max_share_per_hour": 0.99}, 99),
        ({"max_share_per_hour": 1.0}, None),
        ({"max_share_per_hour": 0.0}, 10),
        ({"max_destroys_per_sweep": 1, "max_share_per_sweep": 0.0}, 20),
        ({"max_destroys_per_sweep": 0, "max_share_per_sweep": 0.0}, 0),
        ({"max_destroys_per_sweep": 0, "max_share_per_sweep": 0.0, "max_share_per_hour": 1.0}, 0),
    ],
)
def test_the_limit_of_an_hour_is_what_is_published(rules: dict[str, Any], limit: int | None) -> None:
    assert limit_per_hour(100, evolve(OrphanSettings(), **rules)) == limit


# --- fleets that jump -------------------------------------------------------------------------------------------------


def test_verdicts_are_held_after_most_of_a_fleet_vanished() -> None:
    sessions = [session(n, instance_id=f"i{n}") for n in range(1, 5)] + [session(9, SessionState.ENDED)]
    fleet = [instance(f"i{n}", n) for n in range(1, 5)]
    orphan = instance("o", 9)
    known = ripe(account(*sessions), *fleet, orphan)
    known = watch(known, snapshot(orphan, at=NOW + timedelta(minutes=8)))
    assert known.fleet.change == "vanished"
    assert only_hold(planned(known, at=NOW + timedelta(minutes=9))) is HoldReason.FLEET_JUMP


def test_half_of_a_fleet_is_not_most_of_it() -> None:
    sessions = [session(n, instance_id=f"i{n}") for n in range(1, 5)]
    fleet = [instance(f"i{n}", n) for n in range(1, 5)]
    known = watch(ripe(account(*sessions), *fleet), snapshot(*fleet[:2], at=LATER))
    assert known.fleet == Fleet()


def test_machines_that_we_asked_to_go_are_no_jump() -> None:
    sessions = [session(n, SessionState.ENDING, instance_id=f"i{n}") for n in range(1, 5)]
    fleet = [instance(f"i{n}", n) for n in range(1, 5)]
    jobs = {f"i{n}": job(f"i{n}", id=n) for n in range(1, 5)}
    known = evolve(ripe(account(*sessions), *fleet), jobs=jobs, fleet=Fleet())
    assert watch(known, snapshot(at=LATER)).fleet == Fleet()


def test_a_sudden_crowd_of_orphans_is_held_until_it_has_settled() -> None:
    ended = [session(n, SessionState.ENDED) for n in range(1, 6)]
    mine = session(9, instance_id="m")
    known = ripe(account(*ended, mine), instance("m", 9))
    crowd = [instance(f"i{n}", n) for n in range(1, 6)]
    start = NOW + timedelta(minutes=10)
    known = watch(known, *rounds(instance("m", 9), *crowd, count=4, start=start, every=20.0))
    assert known.fleet.change == "appeared"
    rules = with_rules(grace=0.0)
    assert len(planned(known, rules, at=start + timedelta(minutes=2)).destroys) == 3
    early = watch(
        ripe(account(*ended, mine), instance("m", 9)),
        *rounds(instance("m", 9), *crowd, count=3, start=start, every=20.0),
    )
    made = planned(early, rules, at=start + timedelta(minutes=2))
    assert {o.hold for o in made.orphans} == {HoldReason.FLEET_JUMP}


# --- proven gone ------------------------------------------------------------------------------------------------------


def gone_from_sight(known: Account, count: int = 3) -> Account:
    return watch(known, *rounds(count=count, start=LATER))


def test_an_instance_missed_often_enough_asks_for_proof() -> None:
    known = ripe(account(session(1, instance_id="a")), instance("a", 1))
    assert wants_proof(gone_from_sight(known, 2), SETTINGS, LATER) == ()
    missing = gone_from_sight(known)
    assert [t.instance.id for t in wants_proof(missing, SETTINGS, LATER)] == ["a"]
    lost = after(missing, settle(missing, ["a"], SETTINGS, LATER))
    (only,) = lost.sessions.values()
    assert only.state is SessionState.LOST


def test_incomplete_snapshots_prove_no_absence() -> None:
    known = ripe(account(session(1, instance_id="a")), instance("a", 1))
    empty = [evolve(one, complete=False) for one in rounds(count=9, start=LATER)]
    assert wants_proof(watch(known, *empty), SETTINGS, LATER) == ()


def test_one_sight_takes_all_absences_back() -> None:
    known = gone_from_sight(ripe(account(session(1, instance_id="a")), instance("a", 1)))
    back = evolve(snapshot(instance("a", 1), at=LATER + timedelta(hours=1)), complete=False)
    assert wants_proof(watch(known, back), SETTINGS, LATER) == ()


def test_when_most_vanish_at_once_nobody_is_declared_gone_before_it_settles() -> None:
    sessions = [session(n, instance_id=f"i{n}") for n in range(1, 5)]
    fleet = [instance(f"i{n}", n) for n in range(1, 5)]
    known = gone_from_sight(ripe(account(*sessions), *fleet))
    assert wants_proof(known, SETTINGS, LATER + timedelta(minutes=4)) == ()
    later = watch(known, *rounds(count=3, start=LATER + timedelta(minutes=6)))
    assert len(wants_proof(later, SETTINGS, LATER + timedelta(minutes=12))) == 4


def test_an_id_that_no_listing_ever_held_waits_for_its_create_deadline() -> None:
    new = session(1, SessionState.STARTING, instance_id="a", create_deadline_at=LATER + timedelta(minutes=30))
    known = evolve(account(new), tracks={"a": track(instance("a", 1), ever_seen=False, sightings=0)})
    known = gone_from_sight(known)
    assert wants_proof(known, SETTINGS, LATER + timedelta(minutes=29)) == ()
    assert len(wants_proof(known, SETTINGS, LATER + timedelta(minutes=31))) == 1


def test_all_that_are_ripe_ask_for_proof_the_longest_unseen_first() -> None:
    new = session(1, SessionState.STARTING, instance_id="new", create_deadline_at=LATER)
    missed = {"absences": 3, "sightings": 0}
    tracks = {
        "gone": track(instance("gone", 9), gone_at=NOW, **missed),
        "new": track(instance("new", 1), ever_seen=False, last_seen_at=NOW + timedelta(seconds=2), **missed),
        "late": track(instance("late", 9), last_seen_at=NOW + timedelta(seconds=1), **missed),
        "b": track(instance("b", 9), **missed),
        "a": track(instance("a", 9), **missed),
        "there": track(instance("there", 9)),
        "nobody's": track(instance("nobody's", 9), ever_seen=False, last_seen_at=NOW + timedelta(seconds=3), **missed),
    }
    known = account(new, tracks=tracks)
    asked = [one.instance.id for one in wants_proof(known, SETTINGS, LATER)]
    assert asked == ["a", "b", "late", "new", "nobody's"], "the deadline of its create has just come"
    before = [one.instance.id for one in wants_proof(known, SETTINGS, LATER - timedelta(seconds=1))]
    assert before == ["a", "b", "late", "nobody's"]


def test_proof_wipes_the_verdict_and_is_noted_with_its_moment() -> None:
    condemned = track(instance("a", 1), absences=3, kind=OrphanKind.ENDED, kind_sightings=3, orphan_since=NOW)
    known = account(ENDED, tracks={"a": condemned, "b": track(instance("b", 1))}, jobs={"a": job("a"), "b": job("b")})
    seen = settle(known, ["a"], SETTINGS, LATER)
    assert seen.tracks == (evolve(condemned, gone_at=LATER, kind=None, kind_sightings=0),), (
        "and since when it was one stays"
    )
    assert seen.settled == (job("a", gone_at=LATER),)


def test_a_single_read_is_no_listing_and_fails_no_create() -> None:
    known = account(UNCLEAR, tracks={"a": track(instance("a", 2), absences=3)})
    past = NOW + timedelta(minutes=11)
    assert settle(known, ["a"], SETTINGS, past).steps == ()


def test_proof_closes_the_destroy_and_ends_the_session() -> None:
    ending = session(1, SessionState.ENDING, instance_id="a")
    known = evolve(ripe(account(ending), instance("a", 1)), jobs={"a": job("a", session_id=ending.id)})
    known = gone_from_sight(known)
    seen = settle(known, ["a"], SETTINGS, LATER)
    assert [j.instance_id for j in seen.settled] == ["a"]
    assert after(known, seen).sessions[ending.id].state is SessionState.ENDED


def test_a_lost_sessions_instance_that_comes_back_is_alive_and_no_orphan() -> None:
    known = gone_from_sight(ripe(account(session(1, instance_id="a")), instance("a", 1)))
    known = after(known, settle(known, ["a"], SETTINGS, LATER))
    known = watch(known, *rounds(instance("a", 1), count=4, start=LATER + timedelta(hours=1)))
    (only,) = known.sessions.values()
    assert only.state is SessionState.RUNNING
    assert planned(known, at=LATER + timedelta(hours=2)).orphans == ()


def test_a_lost_sessions_instance_that_comes_back_too_late_is_an_orphan() -> None:
    known = gone_from_sight(ripe(account(session(1, instance_id="a")), instance("a", 1)))
    known = after(known, settle(known, ["a"], SETTINGS, LATER))
    late = LATER + timedelta(hours=25)
    known = watch(known, *rounds(instance("a", 1), count=4, start=late))
    assert [d.kind for d in planned(known, at=late + timedelta(hours=1)).destroys] == [OrphanKind.ENDED]


def test_a_session_whose_instance_moved_is_rebound_and_not_lost() -> None:
    known = ripe(account(session(1, instance_id="a")), instance("a", 1))
    known = watch(known, *rounds(instance("b", 1), count=3, start=LATER))
    known = after(known, settle(known, ["a"], SETTINGS, LATER))
    (only,) = known.sessions.values()
    assert (only.state, only.instance_id) == (SessionState.RUNNING, "b")


# --- ids that are used again ------------------------------------------------------------------------------------------


def test_a_re_used_id_is_another_machine() -> None:
    ending = session(1, SessionState.ENDING, instance_id="a")
    known = evolve(ripe(account(ending), instance("a", 1)), jobs={"a": job("a", session_id=ending.id)})
    new = instance("a", tag="somebody else's", started_at=NOW + timedelta(minutes=9))
    seen = observe(known, snapshot(new, at=LATER), SETTINGS, LATER)
    assert seen.replaced == ("a",)
    assert [j.instance_id for j in seen.settled] == ["a"]


def test_the_last_look_refuses_another_machine() -> None:
    known = ripe(account(ENDED), instance("a", 1))
    (destroy,) = planned(known).destroys
    assert confirms(known, destroy, instance("a", 1))
    assert not confirms(known, destroy, instance("a", 1, started_at=NOW))
    assert not confirms(known, destroy, instance("a", 2))
    assert not confirms(known, destroy, instance("a", tag="renamed"))
    assert not confirms(known, destroy, instance("b", 1))
    assert not confirms(known, destroy, None)


def test_a_machine_that_was_first_seen_after_its_destroy_was_recorded_is_known_by_its_start_too() -> None:
    ending = session(1, SessionState.ENDING, instance_id="a")
    known = account(ending, tracks={"a": track(instance("a", 1, started_at=NOW))})
    recorded = job("a", session_id=ending.id, tag=ending.tag)
    assert recorded.instance_started_at is None
    assert confirms(known, recorded, instance("a", 1, started_at=NOW))
    assert not confirms(known, recorded, instance("a", tag="training-run-7", started_at=LATER))
    of_another = evolve(recorded, instance_started_at=LATER)
    assert not confirms(known, of_another, instance("a", 1, started_at=NOW)), "what the destroy had noted goes first"


@pytest.mark.parametrize(
    ("listed", "confirmed"),
    [
        pytest.param(A_MACHINE, True, id="as the verdict has it"),
        pytest.param(instance("a", tag="renamed"), False, id="as something else"),
        pytest.param(None, False, id="never"),
    ],
)
def test_a_last_look_that_tells_no_tag_leaves_that_to_the_listing(listed: Instance | None, *, confirmed: bool) -> None:
    known = account(ENDED, tracks={} if listed is None else {"a": track(listed)})
    recorded = job("a", origin=DestroyOrigin.VERDICT, session_id=ENDED.id, tag=ENDED.tag)
    assert confirms(known, recorded, instance("a", tag=None)) is confirmed


def test_a_command_goes_on_where_a_single_read_knows_nothing_yet() -> None:
    known = account(session(1, SessionState.ENDING, instance_id="a"))
    assert confirms(known, job("a"), None)


# --- create as intent -------------------------------------------------------------------------------------------------

UNCLEAR = session(
    1, SessionState.CREATING, create_outcome=CreateOutcome.UNCLEAR, create_deadline_at=NOW + timedelta(minutes=10)
)


def test_an_unclear_create_is_found_by_its_tag() -> None:
    known = watch(account(UNCLEAR), snapshot(), snapshot(instance("a", 1), at=NOW + timedelta(minutes=1)))
    (only,) = known.sessions.values()
    assert (only.state, only.instance_id) == (SessionState.RUNNING, "a")


def test_an_unclear_create_fails_only_after_a_complete_look_past_its_deadline() -> None:
    past = NOW + timedelta(minutes=11)
    known = watch(account(UNCLEAR), snapshot(at=NOW + timedelta(minutes=9)), snapshot(at=past, complete=False))
    assert next(iter(known.sessions.values())).state is SessionState.CREATING
    known = watch(known, snapshot(at=past + timedelta(minutes=1)))
    assert next(iter(known.sessions.values())).state is SessionState.FAILED


def test_a_machine_that_turns_up_after_its_create_failed_is_an_orphan_of_kind_ended() -> None:
    failed = evolve(UNCLEAR, state=SessionState.FAILED)
    assert [d.kind for d in planned(ripe(account(failed), instance("a", 1))).destroys] == [OrphanKind.ENDED]


def test_a_session_ended_while_its_create_is_unclear_has_what_turns_up_destroyed_by_command() -> None:
    ending = evolve(UNCLEAR, state=SessionState.ENDING, reason="ended by request")
    known = watch(account(ending), snapshot(instance("a", 1)))
    assert [(j.instance_id, j.origin) for j in known.jobs.values()] == [("a", DestroyOrigin.COMMAND)]


def test_a_session_ended_while_its_create_is_unclear_is_not_over_before_the_deadline() -> None:
    ending = evolve(UNCLEAR, state=SessionState.ENDING)
    known = watch(account(ending), snapshot(at=NOW + timedelta(minutes=9)))
    assert known.sessions[ending.id].state is SessionState.ENDING
    known = watch(known, snapshot(at=NOW + timedelta(minutes=11)))
    assert known.sessions[ending.id].state is SessionState.ENDED


def test_a_registered_session_binds_what_another_tool_rented() -> None:
    expected = session(1, SessionState.EXPECTED, create_outcome=CreateOutcome.NONE)
    known = watch(account(expected), snapshot(instance("a", 1, state=InstanceState.STARTING)))
    assert known.sessions[expected.id].state is SessionState.STARTING
    assert known.sessions[expected.id].account == ACCOUNT


# --- what peers got wrong ---------------------------------------------------------------------------------------------


def test_a_listing_that_began_before_a_machine_was_seen_does_not_miss_it() -> None:
    known = watch(account(session(1, instance_id="a")), snapshot(instance("a", 1), at=LATER))
    older = evolve(snapshot(at=LATER - timedelta(seconds=30)), ended_at=LATER + timedelta(seconds=30))
    missed = watch(known, older, older, older)
    assert missed.tracks["a"].absences == 0
    assert watch(known, snapshot(at=LATER + timedelta(minutes=1))).tracks["a"].absences == 1


def test_a_verdict_of_another_kind_starts_the_count_again() -> None:
    bound_to_a = session(1, instance_id="a")
    known = watch(account(bound_to_a), *rounds(instance("a", 1), instance("b", 1), count=2))
    known = evolve(known, sessions={bound_to_a.id: evolve(bound_to_a, state=SessionState.ENDED)})
    known = watch(known, snapshot(instance("a", 1), instance("b", 1), at=LATER))
    assert (known.tracks["b"].kind, known.tracks["b"].kind_sightings) == (OrphanKind.ENDED, 1)
    assert planned(known, at=LATER + timedelta(minutes=1)).destroys == ()


@pytest.mark.parametrize("state", InstanceState)
def test_an_orphan_goes_whatever_it_does(state: InstanceState) -> None:
    known = ripe(account(ENDED), instance("a", 1, state=state))
    assert [d.instance_id for d in planned(known).destroys] == ["a"]
    verdict_job = job("a", origin=DestroyOrigin.VERDICT)
    assert may_send(known, verdict_job, Authority(), SETTINGS.orphans, NOW) is None


@pytest.mark.parametrize("state", InstanceState)
def test_a_machine_that_is_listed_is_not_gone_whatever_it_does(state: InstanceState) -> None:
    known = ripe(account(session(1, instance_id="a")), instance("a", 1, state=state), count=9)
    assert wants_proof(known, SETTINGS, LATER) == ()
    assert next(iter(known.sessions.values())).state.live


def test_a_machine_that_comes_back_has_its_grace_anew() -> None:
    known = gone_from_sight(ripe(account(ENDED), instance("a", 1)))
    known = after(known, settle(known, ["a"], SETTINGS, LATER))
    back = LATER + timedelta(hours=1)
    known = watch(known, *rounds(instance("a", 1), count=3, start=back, every=1.0))
    assert only_hold(planned(known, at=back + timedelta(seconds=299))) is HoldReason.GRACE
    assert len(planned(known, at=back + timedelta(seconds=302)).destroys) == 1


def test_a_session_whose_machine_is_missed_stays_as_it_is_until_the_proof() -> None:
    known = gone_from_sight(ripe(account(session(1, instance_id="a")), instance("a", 1)), count=9)
    assert next(iter(known.sessions.values())).state is SessionState.RUNNING


def test_a_lost_session_takes_no_machine_back_that_has_another_tag_now() -> None:
    known = gone_from_sight(ripe(account(session(1, instance_id="a")), instance("a", 1)))
    known = after(known, settle(known, ["a"], SETTINGS, LATER))
    stranger = instance("a", tag="somebody else's", started_at=None)
    known = watch(known, snapshot(stranger, at=LATER + timedelta(hours=1)))
    assert next(iter(known.sessions.values())).state is SessionState.LOST


def test_a_machine_that_is_bound_is_not_bound_again_by_an_edited_tag() -> None:
    mine, waiting = session(1, instance_id="a"), session(2, SessionState.EXPECTED)
    known = watch(account(mine, waiting), snapshot(instance("a", 1)), snapshot(instance("a", 2), at=LATER))
    assert known.sessions[waiting.id].instance_id is None
    assert known.sessions[mine.id].instance_id == "a"


@pytest.mark.parametrize("tag", [None, "renamed by hand"])
def test_a_live_session_protects_its_machine_whatever_became_of_the_tag(tag: str | None) -> None:
    known = watch(account(session(1, instance_id="a")), snapshot(instance("a", tag=tag)))
    for origin in DestroyOrigin:
        assert may_send(known, job("a", origin=origin), Authority(), SETTINGS.orphans, NOW) is HoldReason.LIVE_SESSION


@pytest.mark.parametrize(
    ("outcome", "hold"),
    [
        (CreateOutcome.NONE, HoldReason.LIVE_SESSION),
        (CreateOutcome.SENT, HoldReason.OPEN_CREATE),
        (CreateOutcome.UNCLEAR, HoldReason.OPEN_CREATE),
    ],
)
def test_a_create_under_way_protects_what_carries_its_tag(outcome: CreateOutcome, hold: HoldReason) -> None:
    creating = session(1, SessionState.CREATING, create_outcome=outcome)
    known = evolve(account(creating), tracks={"a": track(instance("a", 1))})
    for origin in DestroyOrigin:
        assert may_send(known, job("a", origin=origin), Authority(), SETTINGS.orphans, NOW) is hold


STRANGER: dict[str, Any] = {"started_at": NOW + timedelta(minutes=4)}
"""A machine that was made after the one whose id it has got."""


@pytest.mark.parametrize("state", [SessionState.RUNNING, SessionState.ENDING, SessionState.LOST])
@pytest.mark.parametrize("tag", [None, "training-run"])
def test_a_session_keeps_no_machine_that_came_under_its_machines_id(state: SessionState, tag: str | None) -> None:
    mine = session(1, state, instance_id="a", ended_at=NOW if state is SessionState.LOST else None)
    known = evolve(account(mine), tracks={"a": track(instance("a", 1))})
    for minutes in (5, 6, 7, 8):
        known = watch(known, snapshot(instance("a", tag=tag, **STRANGER), at=NOW + timedelta(minutes=minutes)))
        told = known.tracks["a"]
        assert told.instance.ownership is Ownership.FOREIGN
        assert told.kind is None
    ended = SessionState.ENDED if state is SessionState.ENDING else SessionState.LOST
    assert known.sessions[mine.id].state is ended
    assert may_send(known, job("a", session_id=mine.id), MAY_ACT, SETTINGS.orphans, LATER) is HoldReason.NOT_OURS


def test_a_session_goes_on_with_a_machine_that_carries_its_tag_under_a_reused_id() -> None:
    known = evolve(account(session(1, instance_id="a")), tracks={"a": track(instance("a", 1))})
    observed = observe(known, snapshot(instance("a", 1, **STRANGER), at=LATER), SETTINGS, LATER)
    (kept,) = after(known, observed).sessions.values()
    assert (kept.state, kept.instance_id) == (SessionState.RUNNING, "a")
    assert [step.kind for step in observed.steps] == [""], "its card and price may be others, and that is all"


def test_a_session_takes_at_once_what_came_with_its_tag_under_the_id_of_anothers_machine() -> None:
    waiting = session(2, SessionState.CREATING, create_outcome=CreateOutcome.UNCLEAR, create_deadline_at=LATER)
    known = evolve(account(session(1, instance_id="a"), waiting), tracks={"a": track(instance("a", 1))})
    observed = observe(known, snapshot(instance("a", 2, **STRANGER), at=LATER), SETTINGS, LATER)
    assert [(step.session.id, step.kind) for step in observed.steps] == [
        (sid(1), "session.lost"),
        (sid(2), "session.bound"),
    ]


def test_a_session_that_lost_its_id_takes_its_machine_back_under_another_one() -> None:
    lost = session(1, SessionState.LOST, instance_id="a", ended_at=NOW, reason="its id names another machine now")
    known = evolve(account(lost), tracks={"a": track(instance("a", **STRANGER))})
    seen = snapshot(instance("a", **STRANGER), instance("b", 1), at=NOW + timedelta(minutes=5))
    (back,) = watch(known, seen).sessions.values()
    assert (back.state, back.instance_id) == (SessionState.RUNNING, "b")


def test_one_listing_that_missed_a_machine_tells_nothing_of_its_age() -> None:
    known = account(exclusive=True, last_complete_at=NOW - timedelta(minutes=2))
    held = ripe(known, instance("a", 7, started_at=None))
    assert held.tracks["a"].missed_at is None
    assert planned(held).orphans[0].hold is HoldReason.MEMORY_BROKEN


def test_a_machine_that_was_known_before_is_not_new_because_it_was_missed() -> None:
    known = account(exclusive=True, missed_since=NOW + timedelta(minutes=1))
    gone = evolve(known, tracks={"a": track(instance("a", 7, started_at=None), gone_at=NOW)})
    held = ripe(gone, instance("a", 7, started_at=None))
    assert planned(held).orphans[0].hold is HoldReason.MEMORY_BROKEN


def test_many_machines_that_should_not_be_in_an_account_that_had_none_are_a_jump() -> None:
    over = [session(n, SessionState.ENDED) for n in (1, 2, 3)]
    known = watch(account(*over), snapshot(*(instance(f"i{n}", n) for n in (1, 2, 3))))
    assert known.fleet.change == "appeared"


def test_a_recorded_verdict_waits_while_its_machine_is_missed() -> None:
    condemned = track(instance("a", 1), kind=OrphanKind.ENDED)
    asked = job("a", origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED, session_id=sid(1))
    for absences, hold in ((0, None), (1, HoldReason.LAST_LOOK)):
        known = account(ENDED, tracks={"a": evolve(condemned, absences=absences)})
        assert may_send(known, asked, MAY_ACT, SETTINGS.orphans, LATER) is hold


def test_a_verdict_that_is_taken_back_is_not_carried_out() -> None:
    live = session(1, instance_id="a")
    twins = (instance("a", 1), instance("b", 1))
    known = ripe(account(live), *twins)
    verdict_job = job("b", origin=DestroyOrigin.VERDICT, kind=OrphanKind.DUPLICATE, session_id=live.id)
    known = evolve(known, jobs={"b": verdict_job})
    assert may_send(known, verdict_job, MAY_ACT, SETTINGS.orphans, LATER) is None
    known = watch(known, snapshot(twins[1], at=LATER))
    assert known.tracks["b"].kind is None, "the other one is missing, so this may be the last"
    assert may_send(known, verdict_job, MAY_ACT, SETTINGS.orphans, LATER) is HoldReason.LAST_LOOK


def test_a_verdict_on_a_session_that_is_ending_stands_while_its_destroy_is_open() -> None:
    ending = session(1, SessionState.ENDING, instance_id="a")
    known = ripe(account(ending), instance("a", 1))
    verdict_job = job("a", origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED, session_id=ending.id)
    known = watch(evolve(known, jobs={"a": verdict_job}), snapshot(instance("a", 1), at=LATER))
    assert may_send(known, verdict_job, MAY_ACT, SETTINGS.orphans, LATER) is None


def test_a_last_look_at_what_is_bound_to_another_session_is_no_proof() -> None:
    known = account(ENDED, session(2, SessionState.ENDING, instance_id="a"))
    assert not confirms(known, job("a", session_id=sid(1)), instance("a", 2))
    assert confirms(known, job("a", session_id=sid(2)), instance("a", 1))


def test_a_last_look_at_another_tag_is_no_proof_because_of_a_session_that_is_over() -> None:
    over = session(1, SessionState.ENDED, instance_id="a")
    known = ripe(account(over), instance("a", 1))
    verdict_job = job("a", origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED, session_id=over.id)
    assert confirms(known, verdict_job, instance("a", 1))
    assert not confirms(known, verdict_job, instance("a", tag="training-run"))


def test_what_a_clock_that_was_ahead_has_noted_is_not_waited_for() -> None:
    ahead = NOW + timedelta(days=300)
    early = track(instance("a", 1), first_seen_at=ahead, last_seen_at=ahead, sightings=3)
    jumped = Fleet(jump_at=ahead, change="vanished")
    known = evolve(account(session(1, SessionState.ENDED)), tracks={"a": early}, fleet=jumped)
    known = watch(known, *rounds(instance("a", 1), count=4))
    assert known.tracks["a"].first_seen_at < LATER
    assert [made.instance_id for made in planned(known).destroys] == ["a"]


def test_a_birth_at_the_very_edge_of_the_memory_is_not_remembered() -> None:
    spans = (MemorySpan(NOW - timedelta(minutes=50, seconds=20), LATER),)
    held = ripe(account(exclusive=True, spans=spans), instance("a", 7))
    assert planned(held).orphans[0].hold is HoldReason.MEMORY_BROKEN, "the provider's clock may be behind ours"
    spans = (MemorySpan(NOW - timedelta(minutes=52), LATER),)
    assert planned(evolve(held, spans=spans)).destroys


def test_a_command_at_a_tag_is_no_command_at_what_is_tagged_otherwise_now() -> None:
    known = ripe(account(), instance("a", 7))
    command = job("a", origin=DestroyOrigin.COMMAND, session_id=instance("a", 7).session_id)
    assert confirms(known, command, instance("a", 7))
    assert confirms(known, command, None), "a single read may not know a machine that was just made"
    assert not confirms(known, command, instance("a", tag="training-run"))


def test_a_session_that_is_over_as_its_machine_is_proven_gone_is_closed_by_the_next_listing() -> None:
    ending = session(1, SessionState.ENDING, instance_id="a", reason="expired")
    known = evolve(account(ending), tracks={"a": track(instance("a", 1), gone_at=NOW)})
    (closed,) = watch(known, snapshot(at=LATER)).sessions.values()
    assert closed.state is SessionState.ENDED


def test_a_verdict_out_of_a_backup_waits_for_a_listing() -> None:
    over = session(1, SessionState.ENDED)
    known = evolve(ripe(account(over), instance("a", 1)), restored_at=LATER, last_complete_at=NOW)
    verdict_job = job("a", origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED, session_id=over.id, requested_at=NOW)
    assert may_send(known, verdict_job, MAY_ACT, SETTINGS.orphans, LATER) is HoldReason.OBSERVING
    assert may_send(evolve(known, last_complete_at=LATER), verdict_job, MAY_ACT, SETTINGS.orphans, LATER) is None
    command = evolve(verdict_job, origin=DestroyOrigin.COMMAND)
    assert may_send(known, command, MAY_ACT, SETTINGS.orphans, LATER) is None
    recorded_since = evolve(verdict_job, requested_at=LATER)
    assert may_send(known, recorded_since, MAY_ACT, SETTINGS.orphans, LATER) is None


def test_a_session_that_a_backup_calls_lost_has_its_time_to_come_back_anew() -> None:
    long_ago = NOW - timedelta(days=30)
    lost = session(1, SessionState.LOST, instance_id="a", ended_at=long_ago, state_since=long_ago)
    seen = snapshot(instance("a", 1), at=LATER)
    (forgotten,) = watch(account(lost), seen).sessions.values()
    assert forgotten.state is SessionState.LOST
    (back,) = watch(account(lost, restored_at=NOW), seen).sessions.values()
    assert back.state is SessionState.RUNNING


def test_a_session_that_a_backup_calls_lost_has_that_time_however_late_the_first_listing_comes() -> None:
    long_ago = NOW - timedelta(days=30)
    lost = session(1, SessionState.LOST, instance_id="a", ended_at=long_ago, state_since=long_ago)
    known = account(lost, restored_at=NOW - timedelta(days=9))
    (back,) = watch(known, snapshot(instance("a", 1))).sessions.values()
    assert back.state is SessionState.RUNNING
    listed = evolve(known, last_complete_at=NOW - timedelta(days=9))
    (forgotten,) = watch(listed, snapshot(instance("a", 1))).sessions.values()
    assert forgotten.state is SessionState.LOST


# --- what is published ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "every", "more", "seconds"),
    [
        pytest.param({}, 120.0, {}, 300 + 4 * 120 + 1 * 3 + 10, id="as it comes"),
        pytest.param({"grace": 60.0}, 120.0, {}, 60 + 4 * 120 + 1 * 3 + 10, id="a short grace"),
        pytest.param({"sightings": 1}, 120.0, {}, 300 + 2 * 120 + 1 * 3 + 10, id="one sighting"),
        pytest.param({}, 30.0, {}, 300 + 4 * 30 + 1 * 3 + 10, id="frequent sweeps"),
        pytest.param({}, 120.0, {"place": 200}, 300 + 4 * 120 + 200 * 3 + 10, id="the last of two hundred"),
        pytest.param(
            {}, 120.0, {"place": 4, "destroy_interval": 0.5}, 300 + 4 * 120 + 4 * 0.5 + 10, id="a quick provider"
        ),
        pytest.param({}, 120.0, {"listing": 90.0}, 300 + 4 * 120 + 1 * 3 + 90, id="a slow listing"),
    ],
)
def test_an_orphan_is_gone_as_soon_as_is_published(
    rules: dict[str, Any], every: float, more: dict[str, Any], seconds: float
) -> None:
    jobs = evolve(SETTINGS.jobs, sweep=evolve(SETTINGS.jobs.sweep, interval=every))
    assert published_bound_seconds(evolve(with_rules(**rules), jobs=jobs), **more) == seconds


def test_only_ripe_orphans_are_counted_by_what_holds_them() -> None:
    one = track(A_MACHINE)
    phases = [
        (OrphanPhase.HELD, HoldReason.EXEMPT),
        (OrphanPhase.HELD, HoldReason.FROZEN),
        (OrphanPhase.HELD, HoldReason.EXEMPT),
        (OrphanPhase.HELD, None),
        (OrphanPhase.SUSPECTED, HoldReason.GRACE),
        (OrphanPhase.DESTROYING, HoldReason.FROZEN),
        (OrphanPhase.DESTROYING, None),
    ]
    told = held_reasons(Orphan(one, OrphanKind.ENDED, phase, hold) for phase, hold in phases)
    assert told == {HoldReason.EXEMPT: 2, HoldReason.FROZEN: 1}
    assert held_reasons([]) == {}

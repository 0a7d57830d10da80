"""The heart: no destroy without positive evidence, and no orphan that is never dealt with."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from shopperd.model import (
    CreateOutcome,
    DestroyOrigin,
    Fleet,
    HoldReason,
    InstanceState,
    MemorySpan,
    OrphanKind,
    OrphanPhase,
    Ownership,
    SessionState,
)
from shopperd.reconcile import (
    Account,
    Authority,
    Plan,
    Window,
    blast_limit,
    confirms,
    may_send,
    observe,
    plan,
    settle,
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
    snapshot,
    track,
    watch,
)

LATER = NOW + timedelta(minutes=10)
MAY_ACT = Authority()
NOTHING_LATELY = Window()


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
        (Authority(), evolve(SETTINGS, orphans=evolve(SETTINGS.orphans, mode="report")), HoldReason.REPORT_MODE),
        (
            Authority(no_right="x", observing=1, frozen=True),
            evolve(SETTINGS, orphans=evolve(SETTINGS.orphans, mode="report")),
            HoldReason.NO_RIGHT_TO_ACT,
        ),
    ],
)
def test_guards_hold_in_their_order(authority: Authority, settings: Settings, hold: HoldReason) -> None:
    known = ripe(account(ENDED), instance("a", 1))
    assert only_hold(planned(known, settings, authority=authority)) is hold


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
    settings = evolve(SETTINGS, orphans=evolve(SETTINGS.orphans, max_destroys_per_sweep=0, max_share_per_sweep=0.0))
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
    rules = evolve(SETTINGS, orphans=evolve(SETTINGS.orphans, grace=0.0))
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
    known = watch(known, snapshot(instance("a", 1, **STRANGER), at=NOW + timedelta(minutes=5)))
    (kept,) = known.sessions.values()
    assert (kept.state, kept.instance_id) == (SessionState.RUNNING, "a")


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


def test_a_verdict_that_is_taken_back_is_not_carried_out() -> None:
    live = session(1, instance_id="a")
    twins = (instance("a", 1), instance("b", 1))
    known = ripe(account(live), *twins)
    verdict = job("b", origin=DestroyOrigin.VERDICT, kind=OrphanKind.DUPLICATE, session_id=live.id)
    known = evolve(known, jobs={"b": verdict})
    assert may_send(known, verdict, MAY_ACT, SETTINGS.orphans, LATER) is None
    known = watch(known, snapshot(twins[1], at=LATER))
    assert known.tracks["b"].kind is None, "the other one is missing, so this may be the last"
    assert may_send(known, verdict, MAY_ACT, SETTINGS.orphans, LATER) is HoldReason.LAST_LOOK


def test_a_verdict_on_a_session_that_is_ending_stands_while_its_destroy_is_open() -> None:
    ending = session(1, SessionState.ENDING, instance_id="a")
    known = ripe(account(ending), instance("a", 1))
    verdict = job("a", origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED, session_id=ending.id)
    known = watch(evolve(known, jobs={"a": verdict}), snapshot(instance("a", 1), at=LATER))
    assert may_send(known, verdict, MAY_ACT, SETTINGS.orphans, LATER) is None


def test_a_last_look_at_another_tag_is_no_proof_because_of_a_session_that_is_over() -> None:
    over = session(1, SessionState.ENDED, instance_id="a")
    known = ripe(account(over), instance("a", 1))
    verdict = job("a", origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED, session_id=over.id)
    assert confirms(known, verdict, instance("a", 1))
    assert not confirms(known, verdict, instance("a", tag="training-run"))


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
    verdict = job("a", origin=DestroyOrigin.VERDICT, kind=OrphanKind.ENDED, session_id=over.id, requested_at=NOW)
    assert may_send(known, verdict, MAY_ACT, SETTINGS.orphans, LATER) is HoldReason.OBSERVING
    assert may_send(evolve(known, last_complete_at=LATER), verdict, MAY_ACT, SETTINGS.orphans, LATER) is None
    command = evolve(verdict, origin=DestroyOrigin.COMMAND)
    assert may_send(known, command, MAY_ACT, SETTINGS.orphans, LATER) is None


def test_a_session_that_a_backup_calls_lost_has_its_time_to_come_back_anew() -> None:
    long_ago = NOW - timedelta(days=30)
    lost = session(1, SessionState.LOST, instance_id="a", ended_at=long_ago, state_since=long_ago)
    seen = snapshot(instance("a", 1), at=LATER)
    (forgotten,) = watch(account(lost), seen).sessions.values()
    assert forgotten.state is SessionState.LOST
    (back,) = watch(account(lost, restored_at=NOW), seen).sessions.values()
    assert back.state is SessionState.RUNNING

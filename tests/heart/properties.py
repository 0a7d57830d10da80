"""What holds for every account, every snapshot and every setting: the promises of the heart, one function each.

A property draws its case from the randomness that it is handed, so that the same words serve hypothesis, which shrinks what
fails, and the long run of `make prove`, which has a million cases to get through.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import timedelta

from attrs import evolve

from shopperd.lifecycle import FOLLOWS, best_claimant
from shopperd.model import (
    DestroyOrigin,
    Fleet,
    HoldReason,
    Instance,
    InstanceState,
    OrphanKind,
    OrphanPhase,
    Session,
    SessionState,
    Snapshot,
    Track,
)
from shopperd.reconcile import (
    Account,
    Authority,
    Observed,
    Plan,
    Window,
    blast_limit,
    confirms,
    holds_binding,
    may_send,
    observe,
    plan,
    settle,
    wants_proof,
)
from shopperd.sightings import SAME_START, is_present, tally
from tests.heart.cases import (
    IDS,
    MINUTE,
    SESSIONS,
    STRANGER,
    WRONG_TAGS,
    Case,
    authority_of,
    case_of,
    generous,
    instance_at_random,
    job_at_random,
    settings_of,
    snapshot_of,
    window_of,
)
from tests.heart.histories import history_condemns_by_evidence, history_heals
from tests.heart.resting import history_at_rest_is_answered_as_a_whole
from tests.nouns import after, instance, sid

Property = Callable[[random.Random], None]

OVER = (SessionState.ENDED, SessionState.FAILED)
SOON = timedelta(seconds=5)

SETTLED_AFTER = 3
"""A session moves one step with each look: it comes back, expires, and ends. After so many nothing is left to move."""


def _next(rng: random.Random, case: Case, *, complete: bool | None = None) -> Snapshot:
    """One more look: mostly at what was there, sometimes at something new."""
    fleet = {one.id: one for seen in case.seen[-1:] for one in seen.instances}
    for id_ in IDS:
        if rng.random() < 0.25:
            fleet[id_] = instance_at_random(rng, id_)
    return snapshot_of(rng, list(fleet.values()), case.now, complete=complete)


def _planned(
    case: Case, authority: Authority | None = None, window: Window | None = None, *, fresh: bool = True
) -> Plan:
    return plan(
        case.known, case.settings, authority or Authority(), window or Window(), case.now, snapshot_is_fresh=fresh
    )


def _going(made: Plan) -> set[str]:
    return {destroy.instance_id for destroy in made.destroys}


# --- looking ----------------------------------------------------------------------------------------------------------


def an_incomplete_snapshot_proves_nothing(rng: random.Random) -> None:
    case = case_of(rng)
    seen = _next(rng, case, complete=False)
    observed = observe(case.known, seen, case.settings, case.now)
    held = {one.id for one in seen.instances}
    for track in observed.tracks:
        before = case.known.tracks.get(track.instance.id)
        assert track.instance.id in held, "it changed what it did not hold"
        if before is None or track.instance.id in observed.replaced or before.gone_at is not None:
            assert (track.absences, track.kind_sightings, track.gone_at) == (0, 0, None)
            continue
        assert track.absences == 0
        assert track.sightings <= before.sightings
        assert track.kind_sightings <= before.kind_sightings
        assert track.kind in (before.kind, None)
    for step in observed.steps:
        if step.session.state in (SessionState.LOST, SessionState.FAILED) and step.was is not step.session.state:
            id_ = step.session.instance_id
            never_sent = "never requested" in step.message
            assert never_sent or id_ in observed.replaced or _was_gone(case.known, id_), step
    assert observed.fleet == case.known.fleet
    assert all(
        job.instance_id in observed.replaced or _was_gone(case.known, job.instance_id) for job in observed.settled
    )
    known = after(case.known, observed)
    ripe = _going(plan(case.known, case.settings, Authority(), Window(), case.now, snapshot_is_fresh=True))
    stale = plan(known, case.settings, Authority(), Window(), case.now, snapshot_is_fresh=False)
    assert stale.destroys == ()
    if case.settings.orphans.max_destroys_per_sweep == 100:
        going = _going(plan(known, case.settings, Authority(), Window(), case.now, snapshot_is_fresh=True))
        told_more = {id_ for id_ in going & case.known.tracks.keys() if _told(known, id_) != _told(case.known, id_)}
        let_go = {case.known.sessions[step.session.id].instance_id for step in observed.steps}
        assert going - told_more - let_go <= ripe


def _told(known: Account, id_: str) -> tuple[object, ...]:
    """What is to be believed of a machine by whatever listing shows it: its tag, and when it was made."""
    shown = known.tracks[id_].instance
    return (shown.tag, shown.started_at)


def _was_gone(known: Account, id_: str | None) -> bool:
    track = known.tracks.get(id_ or "")
    return track is not None and track.gone_at is not None


def the_order_of_a_snapshot_means_nothing(rng: random.Random) -> None:
    case = case_of(rng)
    seen = _next(rng, case)
    shuffled = list(seen.instances)
    rng.shuffle(shuffled)
    one = observe(case.known, seen, case.settings, case.now)
    other = observe(case.known, evolve(seen, instances=tuple(shuffled)), case.settings, case.now)
    assert _sorted(one) == _sorted(other)
    again = [
        plan(after(case.known, it), case.settings, Authority(), Window(), case.now, snapshot_is_fresh=True)
        for it in (one, other)
    ]
    assert again[0] == again[1]


def _sorted(observed: Observed) -> tuple[object, ...]:
    return (
        {track.instance.id: track for track in observed.tracks},
        {step.session.id: step for step in observed.steps},
        {job.instance_id: job for job in observed.commands},
        {job.instance_id for job in observed.settled},
        observed.fleet,
        set(observed.returned),
        set(observed.replaced),
    )


def the_same_snapshot_again_only_counts(rng: random.Random) -> None:
    case = case_of(rng)
    seen, known = _next(rng, case, complete=True), case.known
    for _ in range(SETTLED_AFTER):
        known = after(known, observe(known, seen, case.settings, case.now))
        seen = evolve(seen, started_at=seen.started_at + SOON, ended_at=seen.ended_at + SOON)
    again = observe(known, seen, case.settings, case.now)
    assert again.commands == again.settled == ()
    assert again.returned == again.replaced == ()
    assert all(step.session.state is step.was for step in again.steps), again.steps
    assert (again.fleet.jump_at, again.fleet.change) == (known.fleet.jump_at, known.fleet.change)
    for track in again.tracks:
        before = known.tracks[track.instance.id]
        counted = evolve(
            track,
            last_seen_at=before.last_seen_at,
            sightings=before.sightings,
            absences=before.absences,
            kind_sightings=before.kind_sightings,
        )
        assert counted == before, "one more look changed more than counts"


def counts_are_of_complete_snapshots_in_a_row(rng: random.Random) -> None:
    case = case_of(rng)
    seen = _next(rng, case)
    counted = tally(case.known.tracks, seen)
    held = {one.id for one in seen.instances}
    for id_, before in case.known.tracks.items():
        track = counted.tracks.get(id_)
        if track is None:
            assert before.gone_at is not None
        elif id_ in held:
            assert is_present(track)
            fresh = id_ in counted.replaced or before.gone_at is not None
            assert track.sightings == (0 if fresh else before.sightings) + seen.complete or track.sightings >= 3
        elif seen.complete:
            assert (track.sightings, track.absences, track.kind_sightings) == (0, before.absences + 1, 0)
            assert not is_present(track)
        else:
            assert track == before
    early = evolve(seen, started_at=seen.started_at - 600 * MINUTE, instances=())
    for id_, track in tally(case.known.tracks, early).tracks.items():
        before = case.known.tracks[id_]
        assert track.absences == before.absences or before.last_seen_at <= early.started_at, (
            "it began before the last sight"
        )


def sessions_move_along_their_arrows(rng: random.Random) -> None:
    case = case_of(rng)
    observed = observe(case.known, _next(rng, case), case.settings, case.now)
    moves = {step.session.id: step for step in observed.steps}
    assert len(moves) == len(observed.steps), "a session moved twice"
    for id_, step in moves.items():
        before, now = case.known.sessions[id_], step.session
        assert before.account == case.known.name, "it moved another account's session"
        assert before.state not in OVER, "what is over moved"
        assert step.was is before.state
        assert now.state is before.state or now.state in FOLLOWS[before.state]
        assert before.instance_id is None or now.instance_id is not None, "it erased an id"
        assert before.state is not SessionState.ENDING or not now.state.live, "what ends came alive"
    for job in observed.commands:
        assert job.origin is DestroyOrigin.COMMAND
        assert any(
            one.state is SessionState.ENDING and one.reason != "expired" and one.instance_id == job.instance_id
            for one in (step.session for step in observed.steps)
        ), "nobody asked for this"


def what_is_proven_gone_touches_nothing_else(rng: random.Random) -> None:
    case = case_of(rng)
    gone = [track.instance.id for track in wants_proof(case.known, case.settings, case.now) if rng.random() < 0.7]
    observed = settle(case.known, gone, case.settings, case.now)
    assert {track.instance.id for track in observed.tracks} == set(gone)
    assert all(track.gone_at is not None and track.kind is None for track in observed.tracks)
    for step in observed.steps:
        if step.session.state in (SessionState.LOST, SessionState.ENDED) and step.was is not step.session.state:
            own = case.known.sessions[step.session.id].instance_id
            assert own is None or own in gone or _was_gone(case.known, own)
    assert all(job.instance_id in gone or _was_gone(case.known, job.instance_id) for job in observed.settled)
    assert {id_ for id_ in gone if id_ in case.known.jobs} <= {job.instance_id for job in observed.settled}


def proof_is_asked_for_only_after_enough_absence(rng: random.Random) -> None:
    case = case_of(rng)
    for track in wants_proof(case.known, case.settings, case.now):
        assert track.gone_at is None
        assert track.absences >= case.settings.orphans.sightings
        newest = [seen for seen in case.seen if seen.complete][-case.settings.orphans.sightings :]
        assert len(newest) == case.settings.orphans.sightings
        assert all(track.instance.id not in {one.id for one in seen.instances} for seen in newest)


def the_best_claimant_runs_and_is_the_oldest(rng: random.Random) -> None:
    claimants = [instance_at_random(rng, id_) for id_ in IDS if rng.random() < 0.5]
    best = best_claimant(claimants)
    assert (best is None) == (not claimants)
    for other in claimants:
        if best is None or (best.state is not InstanceState.RUNNING and other.state is InstanceState.RUNNING):
            raise AssertionError("one that runs was passed over")
        if (best.state is InstanceState.RUNNING) == (other.state is InstanceState.RUNNING) and other.started_at:
            assert best.started_at is not None
            assert best.started_at <= other.started_at, "an older one was passed over"


# --- condemning -------------------------------------------------------------------------------------------------------


def a_verdict_needs_evidence(rng: random.Random) -> None:
    case = case_of(rng)
    rules, newest = case.settings.orphans, [seen for seen in case.seen if seen.complete]
    for destroy in _planned(case).destroys:
        track = case.known.tracks[destroy.instance_id]
        held = [any(one.id == destroy.instance_id for one in seen.instances) for seen in newest[-rules.sightings :]]
        assert len(held) >= rules.sightings, "it was seen too rarely"
        assert all(held), "it was missed in between"
        assert case.now - track.first_seen_at >= timedelta(seconds=rules.grace)
        assert destroy.origin is DestroyOrigin.VERDICT
        assert destroy.tag == track.instance.tag
        bound_to = _bound_to(case.known, destroy.instance_id)
        assert bound_to is None or not bound_to.state.live, "a live session is bound to it"
        tagged = case.known.sessions.get(track.instance.session_id) if track.instance.session_id is not None else None
        if bound_to is None:
            assert track.instance.session_id is not None, "it is foreign"
            assert tagged is None or tagged.account == case.known.name, "its session is another account's"
        if destroy.kind is OrphanKind.UNKNOWN:
            assert tagged is None
            assert case.known.exclusive
            born = track.instance.started_at or track.first_seen_at
            assert any(span.covers(born) for span in case.known.spans), "it was made while nobody watched"
        elif destroy.kind is OrphanKind.DUPLICATE:
            assert tagged is not None
            assert tagged.state.live
            assert is_present(case.known.tracks[tagged.instance_id or ""]), "the other one is out of sight"
        elif destroy.kind is OrphanKind.EXPIRED:
            assert bound_to is not None
            assert bound_to.reason == "expired"
        else:
            over = bound_to if bound_to is not None else tagged
            assert over is not None
            assert not over.state.live


def _bound_to(known: Account, id_: str) -> Session | None:
    """The session that is not over and holds this id, a live one first."""
    holders = [
        one
        for one in known.sessions.values()
        if one.account == known.name and one.instance_id == id_ and holds_binding(one)
    ]
    return min(holders, key=lambda one: not one.state.live, default=None)


def every_guard_only_takes_away(rng: random.Random) -> None:
    case = case_of(rng, generous(rng))
    free = _going(_planned(case))
    for guarded in _more_guarded(rng, case):
        assert _going(guarded) <= free


def _more_guarded(rng: random.Random, case: Case) -> tuple[Plan, ...]:
    known, rules = case.known, case.settings.orphans
    nothing_held = {
        id_: evolve(track, exempt=rng.random() < 0.5 or track.exempt) for id_, track in known.tracks.items()
    }
    exempt = {id_: evolve(one, exempt=rng.random() < 0.5 or one.exempt) for id_, one in known.sessions.items()}
    stricter = {
        "sightings": rules.sightings + rng.choice((0, 1, 2)),
        "grace": rules.grace + rng.choice((0.0, 600.0)),
        "max_destroys_per_sweep": rng.choice((0, 1, 1000)),
        "mode": rng.choice(("destroy", "report")),
    }
    cases = (
        evolve(case, known=evolve(known, tracks=nothing_held)),
        evolve(case, known=evolve(known, sessions=exempt)),
        evolve(case, known=evolve(known, exclusive=False)),
        evolve(case, known=evolve(known, spans=())),
        evolve(case, known=evolve(known, fleet=Fleet(jump_at=case.now, change="vanished"))),
        evolve(case, settings=evolve(case.settings, orphans=evolve(rules, **stricter))),  # type: ignore[arg-type]
    )
    return (
        *map(_planned, cases),
        _planned(case, Authority(no_right="no")),
        _planned(case, Authority(observing=1)),
        _planned(case, Authority(frozen=True)),
        _planned(case, fresh=False),
    )


def a_guard_that_holds_all_lets_nothing_pass(rng: random.Random) -> None:
    case = case_of(rng, generous(rng))
    assert not _planned(
        case, rng.choice((Authority(no_right="no"), Authority(frozen=True), Authority(observing=2)))
    ).destroys
    assert not _planned(case, fresh=False).destroys
    silent = evolve(case.settings, orphans=evolve(case.settings.orphans, mode="report"))
    assert not _planned(evolve(case, settings=silent)).destroys
    jumped = evolve(case.known, fleet=Fleet(jump_at=case.now, change="vanished", snapshots_since=0))
    assert not _planned(evolve(case, known=jumped)).destroys
    assert wants_proof(jumped, case.settings, case.now) == ()


def limits_hold(rng: random.Random) -> None:
    case, window = case_of(rng), window_of(rng)
    made = _planned(case, window=window)
    rules = case.settings.orphans
    present = sum(is_present(track) for track in case.known.tracks.values())
    sweep = max(rules.max_destroys_per_sweep, int(rules.max_share_per_sweep * present))
    assert len(made.destroys) <= max(0, sweep - window.last_sweep)
    if rules.max_share_per_hour < 1.0:
        hour = max(sweep, int(rules.max_share_per_hour * present))
        assert len(made.destroys) <= max(0, hour - window.last_hour)
    if rules.max_destroys_per_sweep == 0 and rules.max_share_per_sweep == 0.0:
        assert made.destroys == (), "zero is no limit"
    assert made.allowed == blast_limit(present, window, rules)[0]
    fuller = Window(window.last_sweep + 1, window.last_hour + 1)
    assert blast_limit(present, fuller, rules)[0] <= blast_limit(present, window, rules)[0]


def the_costliest_go_first(rng: random.Random) -> None:
    case = case_of(rng)
    made = _planned(case, window=window_of(rng))

    def price(track: Track) -> float:
        return track.instance.price_per_hour or 0.0

    prices = [price(orphan.track) for orphan in made.orphans]
    assert prices == sorted(prices, reverse=True)
    limits = (HoldReason.LIMIT_PER_HOUR, HoldReason.LIMIT_PER_SWEEP)
    cut = [price(orphan.track) for orphan in made.orphans if orphan.hold in limits and orphan.phase is OrphanPhase.HELD]
    gone = [price(case.known.tracks[destroy.instance_id]) for destroy in made.destroys]
    assert not cut or not gone or max(cut) <= min(gone)
    assert not cut or len(gone) == made.allowed, "something was held by a limit that was not reached"


def every_orphan_is_accounted_for(rng: random.Random) -> None:
    case = case_of(rng)
    made = _planned(case, authority_of(rng), window_of(rng), fresh=rng.random() < 0.8)
    suspects = {id_ for id_, track in case.known.tracks.items() if is_present(track) and track.kind is not None}
    assert sorted(orphan.track.instance.id for orphan in made.orphans) == sorted(suspects)
    going = _going(made)
    assert len(going) == len(made.destroys), "one machine is destroyed twice"
    for orphan in made.orphans:
        id_ = orphan.track.instance.id
        assert orphan.kind is orphan.track.kind
        if orphan.phase is OrphanPhase.DESTROYING:
            assert (id_ in going) != (id_ in case.known.jobs)
        elif orphan.phase is OrphanPhase.SUSPECTED:
            assert orphan.hold in (HoldReason.SIGHTINGS, HoldReason.GRACE)
        else:
            assert orphan.hold not in (None, HoldReason.SIGHTINGS, HoldReason.GRACE)
        assert (id_ in going) <= (orphan.phase is OrphanPhase.DESTROYING)


def only_the_exact_tag_is_ours(rng: random.Random) -> None:
    case = case_of(rng, generous(rng))
    seen = _next(rng, case, complete=True)
    shown = []
    for one in seen.instances:
        wrong = rng.choice(WRONG_TAGS).format(sid(rng.choice((*SESSIONS, STRANGER))))
        shown.append(evolve(one, tag=wrong, session_id=None))
    observed = observe(case.known, evolve(seen, instances=tuple(shown)), case.settings, case.now)
    known = after(case.known, observed)
    for one in shown:
        if _bound_to(known, one.id) is None:
            assert known.tracks[one.id].kind is None, "a tag that is not exactly ours was condemned"
    trusting = evolve(
        seen,
        instances=tuple(evolve(one, ownership=instance_at_random(rng, one.id).ownership) for one in seen.instances),
    )
    before, now = (observe(case.known, it, case.settings, case.now) for it in (seen, trusting))
    assert _sorted(before) == _sorted(now), "the adapter's word on ownership changed something"


def evidence_is_of_one_tag(rng: random.Random) -> None:
    case = case_of(rng, generous(rng))
    seen, again = _next(rng, case), []
    for one in seen.instances:
        before = case.known.tracks.get(one.id)
        other = instance(one.id, rng.choice(SESSIONS), started_at=before.instance.started_at if before else None)
        again.append(other if before is not None and before.instance.tag != other.tag else one)
    known = after(case.known, observe(case.known, evolve(seen, instances=tuple(again)), case.settings, case.now))
    for one in again:
        before, track = case.known.tracks.get(one.id), known.tracks[one.id]
        if before is not None and before.instance.tag != one.tag and _bound_to(known, one.id) is None:
            assert track.kind_sightings <= seen.complete, "what was seen under another tag is held against this one"


# --- sending ----------------------------------------------------------------------------------------------------------


def a_request_passes_every_guard(rng: random.Random) -> None:
    case, authority = case_of(rng), authority_of(rng)
    if rng.random() < 0.1:
        case = evolve(case, settings=settings_of(rng, mode="report"))
    for job in case.known.jobs.values():
        if may_send(case.known, job, authority, case.settings.orphans, case.now) is not None:
            continue
        assert not authority.no_right
        assert not authority.frozen
        assert case.settings.orphans.mode == "destroy"
        track, bound_to = case.known.tracks.get(job.instance_id), _bound_to(case.known, job.instance_id)
        claimed = track.instance.session_id if track is not None else job.session_id
        tagged = case.known.sessions.get(claimed) if claimed is not None else None
        assert bound_to is not None or claimed is not None, "it is foreign"
        assert bound_to is None or not bound_to.state.live, "a live session is bound to it"
        assert tagged is None or not (tagged.state.live and tagged.instance_id in (None, job.instance_id))
        assert not any(one is not None and one.exempt for one in (track, bound_to, tagged)), "it is exempt"
        if job.origin is DestroyOrigin.VERDICT:
            assert track is not None
            assert is_present(track), "it is out of sight"
            assert track.kind is not None, "nothing is held against it any more"


def every_hold_stays_where_it_is_put(rng: random.Random) -> None:
    case = case_of(rng)
    for job in case.known.jobs.values():
        before = may_send(case.known, job, Authority(), case.settings.orphans, case.now)
        tracks = {id_: evolve(track, exempt=True) for id_, track in case.known.tracks.items()}
        guarded = evolve(case.known, tracks=tracks)
        for known, authority in (
            (case.known, Authority(frozen=True)),
            (case.known, Authority(no_right="no")),
            (guarded, Authority()),
        ):
            hold = may_send(known, job, authority, case.settings.orphans, case.now)
            if job.instance_id in case.known.tracks or known is case.known:
                assert hold is not None, "one more guard let it pass"
        observing = may_send(case.known, job, Authority(observing=3), case.settings.orphans, case.now)
        assert observing == before


def the_last_look_shows_the_machine_that_was_meant(rng: random.Random) -> None:
    case = case_of(rng)
    id_ = rng.choice(IDS)
    track = case.known.tracks.get(id_)
    meant = track.instance if track is not None and rng.random() < 0.7 else instance_at_random(rng, id_)
    job = job_at_random(rng, meant, case.now)
    looked: Instance | None = rng.choice(
        (None, meant, instance_at_random(rng, id_), instance_at_random(rng, rng.choice(IDS)))
    )
    if not confirms(case.known, job, looked):
        return
    if looked is None:
        assert job.origin is DestroyOrigin.COMMAND
        return
    assert looked.id == job.instance_id
    started_at = job.instance_started_at or (track.instance.started_at if track is not None else None)
    if started_at is not None and looked.started_at is not None:
        assert abs(started_at - looked.started_at) <= SAME_START
    bound_to = _bound_to(case.known, job.instance_id)
    if job.origin is DestroyOrigin.VERDICT and bound_to is None:
        assert looked.session_id in (None, job.session_id)
        assert looked.session_id is not None or looked.tag is None, "its tag is foreign now"


PROPERTIES: Mapping[str, Property] = {
    one.__name__: one
    for one in (
        an_incomplete_snapshot_proves_nothing,
        the_order_of_a_snapshot_means_nothing,
        the_same_snapshot_again_only_counts,
        counts_are_of_complete_snapshots_in_a_row,
        sessions_move_along_their_arrows,
        what_is_proven_gone_touches_nothing_else,
        proof_is_asked_for_only_after_enough_absence,
        the_best_claimant_runs_and_is_the_oldest,
        a_verdict_needs_evidence,
        every_guard_only_takes_away,
        a_guard_that_holds_all_lets_nothing_pass,
        limits_hold,
        the_costliest_go_first,
        every_orphan_is_accounted_for,
        only_the_exact_tag_is_ours,
        evidence_is_of_one_tag,
        a_request_passes_every_guard,
        every_hold_stays_where_it_is_put,
        the_last_look_shows_the_machine_that_was_meant,
        history_condemns_by_evidence,
        history_heals,
        history_at_rest_is_answered_as_a_whole,
    )
}

STANDING: Mapping[str, str] = {}
"""Properties that do not hold yet, and why."""

"""The acting system as a pure function: a state and an action give the next state, and what was wrong on the way.

Everything that decides is the real code, handed in as a `Heart`. What the jobs and the control add to it is repeated here in
small: each of these methods names the function that it stands for, and a test compares them over the real store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import combinations
from uuid import UUID

from attrs import define, evolve, field, frozen

from shopperd import reconcile
from shopperd.lifecycle import REASON_EXPIRED, bound, moved, revived
from shopperd.model import (
    CreateOutcome,
    DestroyJob,
    DestroyOrigin,
    HoldReason,
    Instance,
    InstanceState,
    MemorySpan,
    Session,
    SessionState,
    Snapshot,
    Track,
    tag_of,
)
from shopperd.reconcile import Account, Authority, Observed, Plan, Window, holds_binding, limit_per_hour
from shopperd.settings import OrphanSettings, Settings
from shopperd.sightings import is_present, merged, same_machine
from tests.heart import judge
from tests.heart.state import (
    NUMBER,
    STEP,
    TICK,
    UNKNOWN_SESSION,
    Asked,
    Listing,
    Machine,
    Missed,
    Process,
    Rules,
    Seen,
    State,
    Store,
    Truth,
    beaten,
    changed,
    reported,
)
from tests.nouns import ACCOUNT, instance, session, sid, snapshot

Action = tuple[str, ...]
"""What happens: a verb and what it happens to."""

OVER = (SessionState.ENDED, SessionState.FAILED, SessionState.LOST)
TAGS = {"foreign": "theirs", "unknown": tag_of(sid(UNKNOWN_SESSION)), "twin": tag_of(sid(1)), "bare": None}


@frozen
class Heart:
    """The code under test; a broken one can be put in the place of each part."""

    observe: Callable[[Account, Snapshot, Settings, datetime], Observed] = reconcile.observe
    settle: Callable[[Account, Sequence[str], Settings, datetime], Observed] = reconcile.settle
    plan: Callable[..., Plan] = reconcile.plan
    may_send: Callable[[Account, DestroyJob, Authority, OrphanSettings, datetime], HoldReason | None] = (
        reconcile.may_send
    )
    confirms: Callable[[Account, DestroyJob, Instance | None], bool] = reconcile.confirms
    wants_proof: Callable[[Account, Settings, datetime], tuple[Track, ...]] = reconcile.wants_proof
    command_for: Callable[[Session, Track | None, datetime], DestroyJob] = reconcile.command_for


@frozen
class Turn:
    """What an action led to."""

    state: State
    wrongs: tuple[str, ...] = ()


def step(state: State, action: Action, rules: Rules, heart: Heart) -> Turn:
    """The state after an action that is possible in it, and everything that was wrong about it."""
    verb, *what = action
    doing = _Doing(changed(state, now=state.now + STEP), rules, heart)
    if state.process.up:
        doing.state = changed(doing.state, store=beaten(state.store, doing.now))
    getattr(doing, f"do_{verb}")(*what)
    after = doing.state
    if verb != "restore":
        doing.wrongs.extend(judge.unproven(state, after, rules))
        after = _told(state, after)
        doing.wrongs.extend(judge.forgotten(after, rules))
    return Turn(after, tuple(dict.fromkeys(doing.wrongs)))


def _told(before: State, after: State) -> State:
    """People hear of what their sessions have become."""
    if after.store.sessions is before.store.sessions:
        return after
    asked = dict(after.history.asked)
    for number, one in after.store.sessions.items():
        earlier = before.store.sessions.get(number)
        if earlier is None or earlier.state is one.state:
            continue
        if one.state is SessionState.LOST:
            asked[number] = changed(asked[number], lost_at=after.now)
        elif one.state is SessionState.FAILED:
            asked[number] = changed(asked[number], failed=True)
        elif one.state.live:
            asked[number] = changed(asked[number], lost_at=None)
    return changed(after, history=changed(after.history, asked=asked))


# --- what may happen next ---------------------------------------------------------------------------------------------


def possible(state: State, rules: Rules, heart: Heart) -> Iterator[Action]:
    """Every action that can happen in a state."""
    for action in _possible(state, rules, heart):
        if rules.acts is None or action[0] in rules.acts:
            yield action


def _possible(state: State, rules: Rules, heart: Heart) -> Iterator[Action]:
    yield ("tick",)
    yield from _at_the_provider(state, rules)
    if not state.process.up:
        yield ("restart",)
        if state.backup is not None and state.left.restores:
            yield ("restore",)
        return
    if state.left.crashes:
        yield ("crash",)
    yield from _of_people(state, rules)
    yield from _of_creates(state, rules)
    yield from _of_looking(state, rules, heart)
    yield ("sweep",)
    for id_ in _unheld(state, rules, heart):
        if not rules.slow:
            yield from (("destroy", id_, how) for how in ("done", "failed", "unheard", "claimed"))
            if state.truth.machines.get(id_) in state.history.listed:
                yield ("destroy", id_, "blind")
        elif id_ in state.process.looked:
            yield from (("send", id_, how) for how in ("done", "failed"))
        else:
            yield ("look", id_)


def _unheld(state: State, rules: Rules, heart: Heart) -> Iterator[str]:
    """The destroys that no guard holds: a try of another changes nothing."""
    if not state.store.jobs:
        return
    known, authority = load(state.store, rules, state.now + STEP), Authority(frozen=state.store.frozen)
    for id_, job in sorted(state.store.jobs.items()):
        if heart.may_send(known, job, authority, rules.settings.orphans, state.now + STEP) is None:
            yield id_


def _at_the_provider(state: State, rules: Rules) -> Iterator[Action]:
    truth = state.truth
    if state.left.appearances:
        for id_ in _free_ids(truth, rules):
            yield from (("appear", id_, kind) for kind in rules.strangers)
    if state.left.vanishings:
        yield from (("vanish", id_) for id_ in sorted(truth.machines))
    if state.left.returns:
        yield from (("return", id_) for id_ in sorted(truth.away) if id_ not in truth.machines)
    if state.left.edits:
        yield from (("edit", id_) for id_, machine in sorted(truth.machines.items()) if machine.tag != "theirs")
    for number, id_ in sorted(truth.requests.items()):
        if not id_:
            for free in _free_ids(truth, rules):
                yield from (("rent", str(number), free, tag) for tag in rules.tags)


def _free_ids(truth: Truth, rules: Rules) -> Iterator[str]:
    """The first id that was never used, since they are all alike, and those that may be used again."""
    never = [id_ for id_ in rules.ids if id_ not in truth.used]
    yield from never[:1]
    if rules.reuse:
        yield from (id_ for id_ in rules.ids if id_ in truth.used and id_ not in (*truth.machines, *truth.away))


def _of_people(state: State, rules: Rules) -> Iterator[Action]:
    store = state.store
    for number, one in sorted(store.sessions.items()):
        if one.state not in (SessionState.ENDED, SessionState.FAILED):
            yield ("end", str(number))
        if one.state.live and one.expires_at is not None and state.left.extensions:
            yield ("extend", str(number))
    for id_, track in sorted(store.tracks.items()):
        if track.gone_at is None:
            yield ("command", id_)
            yield ("unexempt" if track.exempt else "exempt", id_)
    if state.left.registrations and UNKNOWN_SESSION not in store.sessions:
        yield ("register",)
    yield ("unfreeze",) if store.frozen else ("freeze",)


def _of_creates(state: State, rules: Rules) -> Iterator[Action]:
    for number, one in sorted(state.store.sessions.items()):
        if number in state.process.waiting:
            happened = bool(state.truth.requests.get(number))
            yield ("answer", str(number), "accepted" if happened else "refused")
            if not happened:
                yield ("answer", str(number), "taken")
            yield ("answer", str(number), "unclear")
        elif (
            one.state is SessionState.CREATING
            and one.create_outcome in (CreateOutcome.NONE, CreateOutcome.REFUSED)
            and not state.store.frozen
            and not (one.create_deadline_at is not None and state.now + STEP >= one.create_deadline_at)
        ):
            yield ("begin", str(number))


def _of_looking(state: State, rules: Rules, heart: Heart) -> Iterator[Action]:
    process = state.process
    if rules.slow and process.asked is None:
        yield ("ask",)
    elif process.asked is not None:
        yield ("hear", "complete")
        yield ("hear", "incomplete")
    else:
        ids = sorted(state.truth.machines)
        yield ("list", "complete", *ids)
        for size in range(len(ids) + 1):
            for some in combinations(ids, size):
                yield ("list", "incomplete", *some)
                if rules.lies and size < len(ids):
                    yield ("list", "complete", *some)
    missing = heart.wants_proof(load(state.store, rules, state.now + STEP), rules.settings, state.now + STEP)
    for track in missing:
        id_ = track.instance.id
        if id_ in state.truth.machines:
            yield ("find", id_)
        elif id_ not in process.denied:
            yield ("read", id_)
    if process.denied and rules.slow:
        yield ("settle",)


# --- what the store tells of an account -------------------------------------------------------------------------------


def load(store: Store, rules: Rules, now: datetime, seen: Snapshot | None = None) -> Account:
    """`jobs.knowledge.load`: what of the store's rows comes before the heart."""
    tracks = {id_: track for id_, track in sorted(store.tracks.items()) if track.gone_at is None}
    window = timedelta(seconds=rules.settings.sessions.resurrection_window)
    in_order = sorted((one for _, one in sorted(store.sessions.items())), key=lambda one: one.created_at)
    by_id = {one.id: one for one in in_order if one.state not in OVER}
    restored_lately = store.restored_at is not None and (
        store.restored_at > now - window or not store.complete_at or store.complete_at[-1] < store.restored_at
    )
    for one in in_order:
        since = one.state_since or one.ended_at or one.created_at
        if one.state is SessionState.LOST and (restored_lately or since >= now - window):
            by_id.setdefault(one.id, one)
    wanted = [one.instance_id for one in by_id.values() if one.instance_id is not None]
    wanted.extend(shown.id for shown in (seen.instances if seen is not None else ()))
    for id_ in wanted:
        if id_ not in tracks and id_ in store.tracks:
            tracks[id_] = store.tracks[id_]
    shown_too = seen.instances if seen is not None else ()
    named: list[UUID | None] = [track.instance.session_id for track in tracks.values()]
    named.extend(job.session_id for job in store.jobs.values())
    named.extend(shown.session_id for shown in shown_too)
    for claimed in dict.fromkeys(named):
        if claimed is not None and claimed not in by_id and NUMBER[claimed] in store.sessions:
            by_id[claimed] = store.sessions[NUMBER[claimed]]
    untagged = {track.instance.id for track in tracks.values() if track.instance.session_id is None}
    untagged |= {shown.id for shown in shown_too if shown.session_id is None}
    newest = {one.instance_id: one for one in in_order if one.instance_id in untagged}
    for one in newest.values():
        by_id.setdefault(one.id, one)
    return Account(
        name=ACCOUNT,
        exclusive=rules.exclusive,
        sessions=by_id,
        tracks=tracks,
        jobs=store.jobs,
        fleet=store.fleet,
        spans=store.spans,
        restored_at=store.restored_at,
        last_complete_at=store.complete_at[-1] if store.complete_at else None,
        missed_since=store.complete_at[0] if len(store.complete_at) >= rules.settings.orphans.sightings else None,
    )


def expected(number: int, now: datetime) -> Session:
    """A session that was registered for a machine that another tool rents."""
    return session(number, SessionState.EXPECTED, created_at=now, state_since=now, create_outcome=CreateOutcome.NONE)


def with_job(store: Store, job: DestroyJob) -> Store:
    """`store.destroys.add`: a machine has at most one open job, and a command takes over a verdict."""
    standing = store.jobs.get(job.instance_id)
    if standing is None:
        verdicts = (*store.verdicts, job.requested_at) if job.origin is DestroyOrigin.VERDICT else store.verdicts
        return changed(store, jobs={**store.jobs, job.instance_id: job}, verdicts=verdicts)
    if not (job.origin is DestroyOrigin.COMMAND and standing.origin is DestroyOrigin.VERDICT):
        return store
    taken = evolve(
        standing, origin=job.origin, reason=job.reason, session_id=standing.session_id or job.session_id, hold=None
    )
    return changed(store, jobs={**store.jobs, job.instance_id: taken})


# --- what happens -----------------------------------------------------------------------------------------------------


@define
class _Doing:
    """One action being done. Each `do_` method is one verb."""

    state: State
    rules: Rules
    heart: Heart
    wrongs: list[str] = field(factory=list)

    @property
    def now(self) -> datetime:
        return self.state.now

    @property
    def store(self) -> Store:
        return self.state.store

    @property
    def settings(self) -> Settings:
        return self.rules.settings

    def load(self, seen: Snapshot | None = None) -> Account:
        return load(self.store, self.rules, self.now, seen)

    def _set(self, **parts: object) -> None:
        self.state = changed(self.state, **parts)

    def _in_store(self, **parts: object) -> None:
        self._set(store=changed(self.store, **parts))

    def _in_process(self, **parts: object) -> None:
        self._set(process=changed(self.state.process, **parts))

    def _in_history(self, **parts: object) -> None:
        self._set(history=changed(self.state.history, **parts))

    def _in_truth(self, **parts: object) -> None:
        self._set(truth=changed(self.state.truth, **parts))

    def _spend(self, what: str) -> None:
        left = self.state.left
        self._set(left=changed(left, **{what: getattr(left, what) - 1}))

    def _session(self, session: Session) -> None:
        self._in_store(sessions={**self.store.sessions, NUMBER[session.id]: session})

    def _asked(self, number: int, **parts: object) -> None:
        asked = self.state.history.asked
        self._in_history(asked={**asked, number: changed(asked[number], **parts)})

    def _saw(self, machine: Machine, **parts: object) -> None:
        seen = self.state.history.seen
        if machine.made in seen:
            self._in_history(seen={**seen, machine.made: changed(seen[machine.made], **parts)})

    # --- time and the process

    def do_tick(self) -> None:
        now = self.now + TICK
        up = self.state.process.up
        self._set(now=now, store=beaten(self.store, now) if up else self.store)
        self._in_process(fresh=False, recent=False)

    def do_crash(self) -> None:
        self._spend("crashes")
        self._in_process(up=False, fresh=False, recent=False, waiting=frozenset(), asked=None)
        self._in_process(denied=frozenset(), looked=frozenset())
        self._in_truth(requests={number: id_ for number, id_ in self.state.truth.requests.items() if not id_})

    def do_restart(self) -> None:
        """`daemon.take_up`."""
        self._in_store(spans=(*self.store.spans, MemorySpan(self.now, self.now)))
        self._set(process=Process())

    def do_restore(self) -> None:
        """`daemon.take_up`, with a store that was put back from a backup."""
        backup = self.state.backup
        if backup is None:
            raise ValueError("there is no backup")
        self._spend("restores")
        slept_from = backup.spans[-1].last_beat_at
        self._set(store=changed(backup, spans=(*backup.spans, MemorySpan(self.now, self.now)), restored_at=self.now))
        self._in_store(observing=self.settings.orphans.observe_sweeps)
        self._set(process=Process())
        seen = dict(self.state.history.seen)
        for machine in self.state.truth.machines.values():
            old = seen[machine.made]
            track = backup.tracks.get(machine.id)
            known = track is not None and track.gone_at is None
            known = known and old.first_at is not None and old.first_at <= slept_from
            awake = old.awake and machine.born <= slept_from
            # An exemption that the backup does not hold is forgotten with everything else that came after it.
            exempt = track is not None and track.exempt
            seen[machine.made] = changed(old, awake=awake, exempt=exempt, first_at=old.first_at if known else None)
        # So are verdicts: the limits of an hour are those of the store's own memory.
        history = self.state.history
        kept = {
            part: tuple(moment for moment in getattr(history, part) if moment <= slept_from)
            for part in ("recorded", "sent")
        }
        self._in_history(seen=seen, frozen=backup.frozen, **kept)

    # --- the provider

    def _make(self, id_: str, tag: str | None, owner: int | None) -> None:
        truth = self.state.truth
        machine = Machine(id_, truth.made, self.now, tag, owner)
        self._in_truth(machines={**truth.machines, id_: machine}, used=truth.used | {id_}, made=truth.made + 1)
        # People exempt an id: whatever comes to bear it later is exempt too.
        known = self.store.tracks.get(id_)
        one = Seen(awake=self.state.process.up, exempt=known is not None and known.exempt)
        self._in_history(seen={**self.state.history.seen, machine.made: one})

    def _unmake(self, id_: str) -> None:
        machine = self.state.truth.machines[id_]
        self._in_truth(machines={k: v for k, v in self.state.truth.machines.items() if k != id_})
        if machine not in self.state.truth.away.values():
            self._in_history(seen={k: v for k, v in self.state.history.seen.items() if k != machine.made})

    def do_appear(self, id_: str, kind: str) -> None:
        self._spend("appearances")
        self._make(id_, TAGS[kind], None)

    def do_vanish(self, id_: str) -> None:
        self._spend("vanishings")
        machine = self.state.truth.machines[id_]
        if self.state.left.returns:
            self._in_truth(away={**self.state.truth.away, id_: machine})
        self._unmake(id_)

    def do_return(self, id_: str) -> None:
        self._spend("returns")
        truth = self.state.truth
        machine = truth.away[id_]
        away = {k: v for k, v in truth.away.items() if k != id_}
        self._in_truth(machines={**truth.machines, id_: machine}, away=away)
        self._saw(machine, back=True)

    def do_edit(self, id_: str) -> None:
        self._spend("edits")
        machines = self.state.truth.machines
        edited = Machine(id_, machines[id_].made, machines[id_].born, "theirs", machines[id_].session)
        self._in_truth(machines={**machines, id_: edited})

    def do_rent(self, number: str, id_: str, tag: str) -> None:
        self._make(id_, tag_of(sid(int(number))) if tag == "exact" else None, int(number))
        self._in_truth(requests={**self.state.truth.requests, int(number): id_})

    # --- creates

    def do_begin(self, number: str) -> None:
        """`jobs.creates.begin`."""
        one = self.store.sessions[int(number)]
        self._session(evolve(one, create_outcome=CreateOutcome.SENT))
        self._in_truth(requests={**self.state.truth.requests, int(number): ""})
        self._in_process(waiting=self.state.process.waiting | {int(number)})

    def do_answer(self, number: str, how: str) -> None:
        """What `jobs.creates.CreatesJob` does with an answer."""
        key = int(number)
        self._in_process(waiting=self.state.process.waiting - {key})
        one, requests = self.store.sessions.get(key), self.state.truth.requests
        if how == "accepted":
            id_ = requests[key]
            self._in_truth(requests={k: v for k, v in requests.items() if k != key})
            if one is not None:
                self._accept(one, id_)
        elif how == "unclear":
            if requests.get(key):
                self._in_truth(requests={k: v for k, v in requests.items() if k != key})
            if one is not None and one.create_outcome is CreateOutcome.SENT:
                self._session(evolve(one, create_outcome=CreateOutcome.UNCLEAR))
        else:
            self._in_truth(requests={k: v for k, v in requests.items() if k != key})
            if one is not None:
                self._refuse(key, one, fails=how == "refused")

    def _accept(self, one: Session, id_: str) -> None:
        """`jobs.creates.accept`."""
        track = self.store.tracks.get(id_)
        if track is not None and track.ever_seen and track.first_seen_at < one.created_at:
            self._session(evolve(one, create_outcome=CreateOutcome.UNCLEAR))
            return
        if track is None:
            named = instance(id_, tag=one.tag, started_at=None, state=InstanceState.UNKNOWN)
            track = Track(instance=named, first_seen_at=self.now, last_seen_at=self.now, ever_seen=False)
            self._in_store(tracks={**self.store.tracks, id_: track})
            self._in_history(missed={**self.state.history.missed, id_: Missed(since=self.now)})
        accepted = evolve(one, create_outcome=CreateOutcome.ACCEPTED)
        if one.state in (SessionState.CREATING, SessionState.ENDING):
            tied = bound(accepted, track.instance, self.now)
            self._session(tied)
            if tied.state is SessionState.ENDING and tied.reason != REASON_EXPIRED:
                self._set(store=with_job(self.store, self.heart.command_for(tied, track, self.now)))
        elif one.instance_id is None and one.state in (SessionState.FAILED, SessionState.ENDED):
            reopened = revived(accepted, id_, self.now)
            self._session(reopened)
            self._set(store=with_job(self.store, self.heart.command_for(reopened, track, self.now)))

    def _refuse(self, number: int, one: Session, *, fails: bool) -> None:
        """`jobs.creates.fail` and `note_refusal`."""
        if fails and one.instance_id is not None:
            return
        refused = evolve(one, create_outcome=CreateOutcome.REFUSED)
        if fails:
            self._asked(number, failed=True)
            if refused.state is SessionState.CREATING:
                refused = moved(refused, SessionState.FAILED, self.now, reason="refused")
        if refused.state is SessionState.ENDING and refused.instance_id is None:
            refused = moved(refused, SessionState.ENDED, self.now)
        self._session(refused)

    # --- people

    def do_end(self, number: str) -> None:
        self._end(int(number))

    def _end(self, number: int) -> None:
        """`decisions.end`."""
        one, reason = self.store.sessions[number], "ended by request"
        self._asked(number, ended=True)
        if one.state is SessionState.LOST or (
            one.state is not SessionState.ENDING and one.instance_id is None and not one.create_open
        ):
            self._session(moved(one, SessionState.ENDED, self.now, reason=reason))
            return
        ending = evolve(one, reason=reason) if one.state is SessionState.ENDING else None
        ending = ending or moved(one, SessionState.ENDING, self.now, reason=reason)
        self._session(ending)
        if ending.instance_id is not None:
            track = self.store.tracks.get(ending.instance_id)
            self._set(store=with_job(self.store, self.heart.command_for(ending, track, self.now)))

    def do_extend(self, number: str) -> None:
        """`decisions.extend`."""
        self._spend("extensions")
        deadline = self.now + self.rules.life
        one = self.store.sessions[int(number)]
        self._session(evolve(one, expires_at=deadline, deadline_set_at=self.now))
        self._asked(int(number), deadline=deadline)

    def do_register(self) -> None:
        """`decisions.register`: the session of what was unknown."""
        self._spend("registrations")
        self._session(expected(UNKNOWN_SESSION, self.now))
        self._in_history(asked={**self.state.history.asked, UNKNOWN_SESSION: Asked()})

    def do_command(self, id_: str) -> None:
        """`decisions.destroy`. What it refuses changes nothing."""
        track, known = self.store.tracks[id_], self.load()
        bound_to = known.bindings.get(id_)
        if bound_to is not None and not holds_binding(bound_to):
            bound_to = None
        claim, claimed = bound_to, track.instance.session_id
        if claim is None and claimed is None:
            return
        if claim is None and claimed is not None:
            claim = known.sessions.get(claimed)
        if track.exempt or (claim is not None and claim.exempt):
            return
        machine = self.state.truth.machines.get(id_) or self.state.truth.away.get(id_)
        if machine is not None and self._is_meant(machine):
            self._saw(machine, named=True)
        if claim is not None and claim.instance_id in (None, id_) and claim.state.live:
            self._end(NUMBER[claim.id])
            if id_ in self.store.jobs:
                return
        one = track.instance
        by_hand = DestroyJob(
            id=0,
            account=one.account,
            instance_id=id_,
            origin=DestroyOrigin.COMMAND,
            reason="by hand",
            requested_at=self.now,
            next_attempt_at=self.now,
            session_id=one.session_id if bound_to is None else bound_to.id,
            tag=one.tag,
            instance_started_at=one.started_at,
        )
        self._set(store=with_job(self.store, by_hand))

    def _is_meant(self, machine: Machine) -> bool:
        """Whether what a person sees under an id, by a listing or by a create's answer, is this machine."""
        told = self.store.sessions.get(machine.owner or 0)
        answered = told is not None and told.instance_id == machine.id
        return answered or self.state.history.seen[machine.made].first_at is not None

    def do_exempt(self, id_: str) -> None:
        self._exempt(id_, exempt=True)

    def do_unexempt(self, id_: str) -> None:
        self._exempt(id_, exempt=False)

    def _exempt(self, id_: str, *, exempt: bool) -> None:
        """`decisions.exempt`."""
        tracks = self.store.tracks
        self._in_store(tracks={**tracks, id_: evolve(tracks[id_], exempt=exempt)})
        machine = self.state.truth.machines.get(id_) or self.state.truth.away.get(id_)
        if machine is not None:
            self._saw(machine, exempt=exempt)

    def do_freeze(self) -> None:
        self._in_store(frozen=True)
        self._in_history(frozen=True)

    def do_unfreeze(self) -> None:
        self._in_store(frozen=False)
        self._in_history(frozen=False)

    # --- looking

    def do_list(self, how: str, *ids: str) -> None:
        shown = tuple(self.state.truth.machines[id_] for id_ in ids)
        self._hear(Listing(self.now, shown), complete=how == "complete")

    def do_ask(self) -> None:
        machines = tuple(machine for _, machine in sorted(self.state.truth.machines.items()))
        self._in_process(asked=Listing(self.now, machines))

    def do_hear(self, how: str) -> None:
        asked = self.state.process.asked
        if asked is None:
            raise ValueError("no listing is on its way")
        self._in_process(asked=None)
        self._hear(asked, complete=how == "complete")

    def _hear(self, listing: Listing, *, complete: bool) -> None:
        """`jobs.observer.look`."""
        self._remember(listing, complete=complete)
        shown = [reported(machine, tells_start=self.rules.tells_start) for machine in listing.machines]
        seen = evolve(snapshot(*shown, at=listing.asked_at, complete=complete), ended_at=self.now)
        observed = self.heart.observe(self.load(seen), seen, self.settings, self.now)
        if complete:
            most = self.settings.orphans.sightings
            self._in_store(complete_at=(*self.store.complete_at, listing.asked_at)[-most:])
        self._write(observed)
        self._in_process(fresh=complete, recent=self.state.process.recent or complete)

    def _remember(self, listing: Listing, *, complete: bool) -> None:
        """What the judge learns from a listing."""
        history, most = self.state.history, self.settings.orphans.sightings
        there = {machine.made for machine in listing.machines}
        seen = dict(history.seen)
        for made, one in seen.items():
            first = one.first_at or (self.now if made in there else None)
            run = one.run
            if complete:
                run = min(run + 1, most) if made in there else 0
            seen[made] = changed(one, first_at=first, run=run, back=one.back and made not in there)
        missed = dict(history.missed)
        for machine in listing.machines:
            missed[machine.id] = Missed(shown=machine, since=self.now)
        held = {machine.id for machine in listing.machines}
        for id_, one_missed in missed.items():
            if complete and id_ not in held and one_missed.since <= listing.asked_at:
                missed[id_] = changed(one_missed, run=min(one_missed.run + 1, most))
        self._in_history(seen=seen, missed=missed)
        if complete:
            self._in_history(listed=frozenset(listing.machines), listed_at=listing.asked_at)

    def _write(self, observed: Observed) -> None:
        """`jobs.knowledge._write`."""
        tracks = dict(self.store.tracks)
        for track in observed.tracks:
            known = tracks.get(track.instance.id)
            tracks[track.instance.id] = track if known is None else evolve(track, exempt=known.exempt)
        sessions = {**self.store.sessions, **{NUMBER[move.session.id]: move.session for move in observed.steps}}
        self._in_store(tracks=tracks, sessions=sessions, fleet=observed.fleet)
        for job in observed.commands:
            self._set(store=with_job(self.store, job))
        closed = {job.instance_id for job in observed.settled}
        self._in_store(jobs={id_: job for id_, job in self.store.jobs.items() if id_ not in closed})
        self._in_process(looked=self.state.process.looked - closed)

    def do_read(self, id_: str) -> None:
        """A single read that does not find it: the first half of `jobs.status.StatusJob._prove_gone`."""
        missed = self.state.history.missed
        self._in_history(missed={**missed, id_: changed(missed.get(id_, Missed()), denied=True)})
        self._in_process(denied=self.state.process.denied | {id_})
        if not self.rules.slow:
            self.do_settle()

    def do_find(self, id_: str) -> None:
        """A single read that finds what listings miss: `jobs.knowledge.record_contradiction`."""
        current, machine = self.store.tracks[id_], self.state.truth.machines[id_]
        looked = reported(machine, tells_start=self.rules.tells_start)
        if current.gone_at is not None or not same_machine(current.instance, looked):
            return
        found = evolve(current, absences=0, last_seen_at=self.now, ever_seen=True)
        self._in_store(tracks={**self.store.tracks, id_: found})
        if id_ in self.store.jobs:
            self._in_store(jobs={**self.store.jobs, id_: evolve(self.store.jobs[id_], accepted_at=None)})
        self._in_history(missed={**self.state.history.missed, id_: Missed(shown=machine, since=self.now)})
        self._saw(machine, back=False, first_at=self.state.history.seen[machine.made].first_at or self.now)

    def do_settle(self) -> None:
        """`jobs.knowledge.record_gone`."""
        known = self.load()
        gone = sorted(self.state.process.denied)
        enough = self.settings.orphans.sightings
        sure = [
            id_
            for id_ in gone
            if (track := known.tracks.get(id_)) and track.gone_at is None and track.absences >= enough
        ]
        self._write(self.heart.settle(known, sure, self.settings, self.now))
        self._in_process(denied=frozenset())

    # --- acting

    def do_sweep(self) -> None:
        """`jobs.sweep.record_plan`."""
        store, fresh = self.store, self.state.process.fresh
        window = Window(
            last_sweep=sum(moment >= self.now - TICK / 2 for moment in store.verdicts),
            last_hour=sum(moment >= self.now - self.rules.hour for moment in store.verdicts),
        )
        authority = Authority(observing=store.observing, frozen=store.frozen)
        made = self.heart.plan(self.load(), self.settings, authority, window, self.now, snapshot_is_fresh=fresh)
        for job in made.destroys:
            if job.instance_id not in self.store.jobs:
                self._in_history(recorded=(*self.state.history.recorded, self.now))
            self._set(store=with_job(self.store, job))
        if fresh:
            self._in_store(observing=max(0, self.store.observing - 1))
        if made.destroys:
            self.wrongs.extend(judge.over_the_limit(self.state, self.rules))

    def do_destroy(self, id_: str, how: str) -> None:
        """`jobs.destroys.DestroysJob._carry_out`, at one go."""
        if self._looks(id_, blind=how == "blind"):
            self.do_send(id_, "done" if how == "blind" else how)

    def do_look(self, id_: str) -> None:
        if self._looks(id_, blind=False):
            self._in_process(looked=self.state.process.looked | {id_})

    def _looks(self, id_: str, *, blind: bool) -> bool:
        """Guards, and the last look; whether the request may be sent as far as these go."""
        job, known = self.store.jobs[id_], self.load()
        if self._held(known, job):
            return False
        track = known.tracks.get(id_)
        if job.accepted_at is not None and track is not None and not is_present(track) and track.absences > 0:
            return False
        listed = track.instance if track is not None and is_present(track) and self.state.process.recent else None
        machine = self.state.truth.machines.get(id_)
        looked: Instance | None
        if blind:
            if job.origin is not DestroyOrigin.COMMAND or listed is None:
                return False
            looked = listed
        elif machine is not None:
            looked = reported(machine, tells_start=self.rules.tells_start)
            self._first_sight(looked)
            self._saw_alone(machine)
        else:
            looked = listed
        return self.heart.confirms(known, job, looked) and self._begins(known, id_)

    def _begins(self, known: Account, id_: str) -> bool:
        """`jobs.destroys.begin_attempt`: a verdict that is carried out first counts within the hour."""
        job = self.store.jobs[id_]
        if job.origin is DestroyOrigin.VERDICT and job.attempts == 0:
            lately = [moment for moment in self.store.begun if moment >= self.now - self.rules.hour]
            present = sum(is_present(track) for track in known.tracks.values()) + len(lately)
            limit = limit_per_hour(present, self.settings.orphans)
            if limit is not None and len(lately) >= limit:
                return False
            self._in_store(begun=(*lately, self.now))
        self._in_store(jobs={**self.store.jobs, id_: evolve(job, attempts=job.attempts + 1)})
        return True

    def _held(self, known: Account, job: DestroyJob) -> bool:
        authority = Authority(frozen=self.store.frozen)
        return self.heart.may_send(known, job, authority, self.settings.orphans, self.now) is not None

    def _first_sight(self, looked: Instance) -> None:
        """`jobs.knowledge.record_first_sight`."""
        current = self.store.tracks.get(looked.id)
        if current is None or current.ever_seen or current.gone_at is not None:
            return
        seen = evolve(
            current,
            instance=merged(current.instance, evolve(looked, ownership=current.instance.ownership)),
            first_seen_at=self.now,
            last_seen_at=self.now,
            absences=0,
            ever_seen=True,
        )
        self._in_store(tracks={**self.store.tracks, looked.id: seen})

    def _saw_alone(self, machine: Machine) -> None:
        if self.state.history.seen[machine.made].first_at is None and machine.id in self.store.tracks:
            self._saw(machine, first_at=self.now)
            missed = self.state.history.missed
            shown = missed[machine.id].shown if machine.id in missed else None
            self._in_history(missed={**missed, machine.id: Missed(shown=shown or machine, since=self.now)})

    def do_send(self, id_: str, how: str) -> None:
        """Guards again, the request, and its record."""
        self._in_process(looked=self.state.process.looked - {id_})
        job, machine = self.store.jobs[id_], self.state.truth.machines.get(id_)
        if self._held(self.load(), job):
            return
        if machine is not None:
            self.wrongs.extend(judge.wrongful(self.state, job, machine, self.rules))
            self._count(job, machine)
        if machine is not None and how in ("done", "unheard"):
            self._unmake(id_)
        if how in ("done", "claimed") or machine is None:
            self._in_store(jobs={**self.store.jobs, id_: evolve(job, accepted_at=self.now)})

    def _count(self, job: DestroyJob, machine: Machine) -> None:
        """A machine counts once against the limits, and not at all where a command was given for it."""
        history = self.state.history
        if job.origin is DestroyOrigin.COMMAND or history.seen[machine.made].sent:
            return
        self._saw(machine, sent=True)
        self._in_history(sent=(*self.state.history.sent, self.now))
        self.wrongs.extend(judge.over_the_limit(self.state, self.rules))


# --- healing ----------------------------------------------------------------------------------------------------------


def healed_round(state: State, rules: Rules, heart: Heart) -> State:
    """Some time in which nothing goes wrong: truth in the listings and reads, and every act has its effect."""

    def do(*action: str) -> None:
        nonlocal state
        state = step(state, action, rules, heart).state

    if not state.process.up:
        do("restart")
    if state.store.frozen:
        do("unfreeze")
    for number in sorted(state.process.waiting):
        do("answer", str(number), "accepted" if state.truth.requests.get(number) else "unclear")
    if state.process.asked is not None:
        do("hear", "complete")
    do("tick")
    for _ in range(2):
        do("list", "complete", *sorted(state.truth.machines))
        for track in heart.wants_proof(load(state.store, rules, state.now), rules.settings, state.now):
            do("find" if track.instance.id in state.truth.machines else "read", track.instance.id)
        if state.process.denied:
            do("settle")
        do("sweep")
        for id_ in sorted(state.store.jobs):
            do("destroy", id_, "done")
    return state


def asked_for(*numbers: int, deadlines: Mapping[int, datetime] | None = None) -> Mapping[int, Asked]:
    """What people know of their sessions at the start."""
    return {number: Asked(deadline=(deadlines or {}).get(number)) for number in numbers}

"""What may never happen, in the design's own words, judged from what truly happened. Nothing in here asks the code under test.

Each function gives the sentences of what is wrong; none means that all is well.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from shopperd.lifecycle import REASON_EXPIRED
from shopperd.model import CreateOutcome, DestroyJob, DestroyOrigin, Session, SessionState, session_of
from tests.heart.state import TICK, Asked, Machine, Rules, State

OVER = (SessionState.ENDED, SessionState.FAILED, SessionState.LOST)


def wrongful(state: State, job: DestroyJob, machine: Machine, rules: Rules) -> Iterator[str]:
    """What speaks against a destroy that reaches this machine now."""
    history, seen = state.history, state.history.seen[machine.made]
    if history.frozen:
        yield "destroyed while frozen"
    if rules.settings.orphans.mode == "report":
        yield "destroyed in report mode"
    if is_foreign(state, machine):
        yield "destroyed a foreign machine"
        return
    if seen.exempt:
        yield "destroyed an exempt machine"
    if job.origin is DestroyOrigin.COMMAND:
        if not _commanded(state, machine):
            yield "destroyed by a command that did not name this machine"
        return
    if _claimed(state, machine, rules):
        yield "destroyed a live session's machine"
    if rules.lies:
        return
    if seen.run < rules.settings.orphans.sightings:
        yield "destroyed by a verdict on a machine that was seen too rarely"
    grace = timedelta(seconds=rules.settings.orphans.grace)
    if seen.first_at is None or state.now - seen.first_at < grace:
        yield "destroyed by a verdict within the grace"
    if machine.session not in history.asked:
        if not rules.exclusive:
            yield "destroyed an unknown machine of an account that is not exclusive"
        elif not seen.awake:
            yield "destroyed an unknown machine that was made while nobody watched"


def is_foreign(state: State, machine: Machine) -> bool:
    """Whether the tag is not exactly ours, and no id binds the machine to a session that is not over."""
    if machine.session is None:
        return True
    told = state.store.sessions.get(machine.session)
    binds = told is not None and told.instance_id == machine.id and told.state not in OVER
    return session_of(machine.tag) is None and not binds


def _commanded(state: State, machine: Machine) -> bool:
    """A person asked for this very machine to go, or ended the session that it is of."""
    asked = state.history.asked.get(machine.session or 0)
    return state.history.seen[machine.made].named or (asked is not None and asked.ended)


def is_over(asked: Asked, now: datetime, rules: Rules) -> bool:
    """Whether a session is over for those who asked for it."""
    window = timedelta(seconds=rules.settings.sessions.resurrection_window)
    return (
        asked.ended
        or asked.failed
        or (asked.deadline is not None and now >= asked.deadline)
        or (asked.lost_at is not None and now >= asked.lost_at + window)
    )


def _claimed(state: State, machine: Machine, rules: Rules) -> bool:
    """Whether a live session claims the machine, and is not bound to another one that was listed and not missed since."""
    asked = state.history.asked.get(machine.session or 0)
    if asked is None or is_over(asked, state.now, rules):
        return False
    told = state.store.sessions.get(machine.session or 0)
    if told is None or told.instance_id is None or told.instance_id == machine.id:
        return True
    missed = state.history.missed.get(told.instance_id)
    return missed is None or missed.run > 0 or missed.shown is None or missed.shown.session != machine.session


def over_the_limit(state: State, rules: Rules) -> Iterator[str]:
    """More verdicts than the limits allow, however often the process was restarted."""
    history = state.history
    if sum(state.now - moment < TICK / 2 for moment in history.recorded) > rules.limit:
        yield "recorded more verdicts than the limit of a sweep"
    if rules.settings.orphans.max_share_per_hour >= 1.0:
        return
    for what, moments in (("recorded", history.recorded), ("carried out", history.sent)):
        if sum(state.now - moment < rules.hour for moment in moments) > rules.limit:
            yield f"{what} more verdicts than the limit of an hour"


def unproven(before: State, after: State, rules: Rules) -> Iterator[str]:
    """What was taken for gone, lost, failed or over without the proof that this takes."""
    old, new = before.store, after.store
    if new.tracks is old.tracks and new.jobs is old.jobs and new.sessions is old.sessions:
        return
    for id_, track in new.tracks.items():
        was = old.tracks.get(id_)
        if track.gone_at is not None and (was is None or was.gone_at is None):
            yield from (f"took a machine for gone {why}" for why in _not_proven(after, id_, rules))
    for id_, job in old.jobs.items():
        if id_ not in new.jobs and not _is_another(after, job):
            yield from (f"closed a destroy {why}" for why in _not_proven(after, id_, rules))
    for number, session in new.sessions.items():
        earlier = old.sessions.get(number)
        if earlier is not None and earlier.state is not session.state:
            yield from _moved_wrongly(before, after, number, rules)


def _not_proven(state: State, id_: str, rules: Rules) -> Iterator[str]:
    """Absent from enough complete listings in a row since it was last seen, and denied by a single read."""
    missed = state.history.missed.get(id_)
    if missed is None or missed.run < rules.settings.orphans.sightings:
        yield "that was missed too rarely"
    elif not missed.denied:
        yield "that no single read denied"
    elif missed.shown is None and any(
        one.instance_id == id_ and one.create_deadline_at is not None and state.now < one.create_deadline_at
        for one in state.store.sessions.values()
    ):
        yield "that was never seen, before its create deadline"
    if not rules.lies and id_ in state.truth.machines and id_ in state.store.tracks:
        seen = state.history.seen[state.truth.machines[id_].made]
        if seen.first_at is not None and not seen.back:
            yield "that is there"


def _is_another(state: State, job: DestroyJob) -> bool:
    """Whether the id of a destroy was listed, and names a machine that was not made when the one that was meant was."""
    machine = state.truth.machines.get(job.instance_id)
    return machine is not None and job.instance_started_at not in (None, machine.born)


def _moved_wrongly(before: State, after: State, number: int, rules: Rules) -> Iterator[str]:
    asked, now = after.history.asked[number], after.now
    was, session = before.store.sessions[number], after.store.sessions[number]
    own = was.instance_id
    if session.state is SessionState.LOST and not _another_holds_its_id(before, after, number, own):
        yield from (f"lost a session whose machine was one {why}" for why in _not_proven(after, own or "", rules))
    elif session.state is SessionState.FAILED and not asked.failed and not _was_looked_for(after, was):
        yield "failed a create that may still have its effect"
    elif session.state is SessionState.ENDING:
        if session.reason == REASON_EXPIRED and not (asked.deadline is not None and now >= asked.deadline):
            yield "ended a session before its deadline"
        if session.reason != REASON_EXPIRED and not (asked.ended or asked.failed):
            yield "ended a session that nobody ended"
    elif session.state is SessionState.ENDED and was.state is SessionState.ENDING:
        if own is None:
            refused = session.create_outcome is CreateOutcome.REFUSED
            if was.create_open and not refused and not _was_looked_for(after, was):
                yield "closed a session whose create may still have its effect"
        elif not _another_holds_its_id(before, after, number, own):
            yield from (f"closed a session whose machine was one {why}" for why in _not_proven(after, own, rules))


def _another_holds_its_id(before: State, after: State, number: int, id_: str | None) -> bool:
    """Whether a listing showed another machine under the id of a session's own: that one is gone for certain."""
    was, missed = before.history.missed.get(id_ or ""), after.history.missed.get(id_ or "")
    if missed is None or missed.shown is None:
        return False
    replaced = was is not None and was.shown is not None and was.shown.made != missed.shown.made
    return replaced or missed.shown.session != number


def _was_looked_for(state: State, session: Session) -> bool:
    """Whether the create's deadline passed, and a complete listing since held no machine of this session."""
    deadline = session.create_deadline_at
    if deadline is None or state.now < deadline:
        return False
    if session.create_outcome is CreateOutcome.NONE:
        return True
    held = any(session_of(machine.tag) == session.id for machine in state.history.listed)
    listed_at = state.history.listed_at
    return not held and listed_at is not None and listed_at >= deadline


def forgotten(state: State, rules: Rules) -> Iterator[str]:
    """Machines that were seen, are there, and that the store does not know of any more."""
    if rules.lies:
        return
    for id_, machine in state.truth.machines.items():
        track, seen = state.store.tracks.get(id_), state.history.seen[machine.made]
        if seen.first_at is None or seen.back:
            continue
        if track is None or track.gone_at is not None:
            yield "forgot the id of a machine that is there"


def unhealed(state: State, rules: Rules) -> Iterator[str]:
    """What is still wrong after the provider told nothing but the truth for long enough."""
    store = state.store
    for id_, machine in state.truth.machines.items():
        session = None if machine.session is None else store.sessions.get(machine.session)
        if state.history.seen[machine.made].exempt or (is_foreign(state, machine) and not _id_is_known(state, machine)):
            continue
        if session is not None and session.state.live and session.instance_id == id_:
            continue
        by_command = id_ in store.jobs and store.jobs[id_].origin is DestroyOrigin.COMMAND
        if rules.settings.orphans.mode == "report" or (rules.limit == 0 and not by_command):
            continue
        if session is None and not by_command and not _may_be_condemned(state, machine, rules):
            continue
        yield "leaves a machine that no live session claims"
    yield from _disbelieved(state, rules)


def _id_is_known(state: State, machine: Machine) -> bool:
    """Whether a create was answered with the id of a machine that has no tag to be known by."""
    told = state.store.sessions.get(machine.session or 0)
    return machine.tag is None and told is not None and told.instance_id == machine.id


def _may_be_condemned(state: State, machine: Machine, rules: Rules) -> bool:
    """Whether an unknown machine must go: where its start is not told, the store may rightly not know its age."""
    return rules.exclusive and rules.tells_start and state.history.seen[machine.made].awake


def _disbelieved(state: State, rules: Rules) -> Iterator[str]:
    store, machines = state.store, state.truth.machines
    for number, session in store.sessions.items():
        machine = machines.get(session.instance_id or "")
        own = machine is not None and (machine.session == number)
        if session.state.live and session.instance_id is not None and not own:
            yield "believes a session to have a machine that is not its own or not there"
        if session.state is SessionState.CREATING:
            yield "never settles a create"
        if session.state is SessionState.ENDING and not (own and _may_stay(state, session, machine, rules)):
            yield "never closes a session that is over"
        if session.state is SessionState.EXPECTED and any(
            session_of(one.tag) == session.id for one in machines.values()
        ):
            yield "never binds a machine to the session that expects it"
    for id_ in store.jobs:
        if id_ not in machines:
            yield "never closes the destroy of a machine that is gone"


def _may_stay(state: State, session: Session, machine: Machine | None, rules: Rules) -> bool:
    """Whether the settings or a person keep the machine of a session that is over."""
    if machine is not None and state.history.seen[machine.made].exempt:
        return True
    if rules.settings.orphans.mode == "report":
        return True
    return rules.limit == 0 and session.reason == REASON_EXPIRED

"""Whether what the daemon believes is what is true, and whether it ever touched what it must not. Pure.

Three witnesses are heard: the daemon's API (belief), the simulators' state and request log (truth), and the demo's own record of
what it asked for. The daemon passes only if all three agree and no request to destroy ever hit a machine that was somebody's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import frozen

from shopperd.demo.belief import STATE_LOST, STATE_RUNNING, STATES_OVER, Belief, BelievedSession
from shopperd.demo.record import Asked, Record, Role
from shopperd.demo.setting import HOOK_EVENTS
from shopperd.demo.truth import Machine, Request, Truth

RATE_LIMITED = 429
PHASE_HELD = "held"

Key = tuple[str, str]
"""An account's name and an instance's id."""


@frozen
class Row:
    """One line of the summary: what, as the daemon has it, as it truly is. An empty text where only one of them can know."""

    what: str
    believed: str
    true: str
    agrees: bool = True


@frozen
class Outcome:
    """What the comparison came to.

    Attributes:
        differences: where belief, truth and what was asked for part, as sentences; empty if they agree.
        wrongful: requests to destroy that hit a machine which was somebody's, as sentences; must be empty.
    """

    differences: tuple[str, ...]
    wrongful: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether all agree and nothing was destroyed wrongfully."""
        return not self.differences and not self.wrongful


def compare(accounts: Sequence[str], record: Record, belief: Belief, truth: Truth) -> Outcome:
    """Hear all three witnesses."""
    wrongful = tuple(wrongful_destroys(record, truth))
    differences: tuple[str, ...] = (
        *_machines(accounts, belief, truth),
        *_sessions(record, belief, truth),
        *_claims(record, belief, truth),
        *_conjured(record, belief, truth),
        *_orphan_differences(record, belief, truth),
    )
    rows = tuple(_rows(accounts, record, belief, truth, wrongful))
    if not differences:
        differences = tuple(f"{row.what}: {row.believed} believed, {row.true} true" for row in rows if not row.agrees)
    return Outcome(differences=tuple(dict.fromkeys(differences)), wrongful=wrongful, rows=rows)


def wrongful_destroys(record: Record, truth: Truth) -> Iterator[str]:
    """Every request to destroy a machine that was not ours to destroy at that moment, whether it succeeded or not."""
    for request in truth.requests:
        if request.operation != "destroy":
            continue
        for instance_id in sorted(request.targets):
            machine = truth.find(request.account, instance_id)
            if machine is None:
                continue
            why = _innocent(machine, request, record)
            if why:
                yield f"{request.account}: request {request.n} was to destroy {instance_id} (tag {machine.tag!r}), {why}"


def _innocent(machine: Machine, request: Request, record: Record) -> str:
    asked = record.by_tag(machine.tag)
    if asked is None:
        return "which is not of a session that was ever asked for"
    if asked.account != machine.account:
        return f"whose session belongs to {asked.account}"
    return "" if asked.is_over(request.at) else f"while its session {asked.id} was alive"


def _machines(accounts: Sequence[str], belief: Belief, truth: Truth) -> Iterator[str]:
    for account in accounts:
        alive, believed = truth.alive(account), belief.instance_ids(account)
        for id_ in sorted(alive.keys() - believed):
            yield f"{account}: machine {id_} (tag {alive[id_].tag!r}) exists, and shopperd does not know it"
        for id_ in sorted(believed - alive.keys()):
            yield f"{account}: shopperd believes in machine {id_}, which does not exist"


def _sessions(record: Record, belief: Belief, truth: Truth) -> Iterator[str]:
    for asked in record.asked.values():
        session = belief.session(asked.id)
        if session is None:
            yield f"{asked.account}: shopperd does not know session {asked.id} ({asked.purpose})"
        else:
            yield from _session(asked, session, truth)
    for session in belief.sessions:
        if session.id not in record.asked:
            yield f"{session.account}: shopperd has a session {session.id} that nobody asked for"


def _session(asked: Asked, session: BelievedSession, truth: Truth) -> Iterator[str]:
    name = f"{asked.account}: session {asked.id} ({asked.purpose})"
    if asked.is_over(truth.now):
        if session.state not in STATES_OVER and not (asked.machine_lost_at is not None and session.state == STATE_LOST):
            yield f"{name} is over and should be ended, but is {session.state}"
        return
    if asked.machine_lost_at is not None:
        if session.state != STATE_LOST:
            yield f"{name} lost its machine and should be lost, but is {session.state}"
        return
    if session.state != STATE_RUNNING:
        reason = f" ({session.reason})" if session.reason else ""
        yield f"{name} should be running, but is {session.state}{reason}"
        return
    machine = truth.find(asked.account, session.instance_id or "")
    if machine is None or not machine.alive:
        yield f"{name} is said to run on machine {session.instance_id}, which does not exist"
    elif machine.tag != asked.tag:
        yield f"{name} is said to run on machine {session.instance_id}, which carries another tag: {machine.tag!r}"


def _claims(record: Record, belief: Belief, truth: Truth) -> Iterator[str]:
    """Every machine with our tag is claimed by its live session, once."""
    holders: Counter[str] = Counter()
    for machine in truth.machines:
        asked = record.by_tag(machine.tag)
        if asked is None or not machine.alive:
            continue
        if asked.is_over(truth.now) or asked.account != machine.account:
            yield f"{machine.account}: machine {machine.id} still exists although its session {asked.id} is over"
            continue
        holders[asked.id] += 1
        if holders[asked.id] > 1:
            yield f"{machine.account}: session {asked.id} has more than one machine, {machine.id} among them"
    for orphan in belief.orphans:
        machine_now = truth.find(orphan.account, orphan.instance_id)
        if orphan.kind != "unknown" and (machine_now is None or not machine_now.alive):
            yield f"{orphan.account}: shopperd still counts {orphan.instance_id} as an orphan, and it is gone"


def _conjured(record: Record, belief: Belief, truth: Truth) -> Iterator[str]:
    owners = {(instance.account, instance.id): instance.ownership for instance in belief.instances}
    held = {(orphan.account, orphan.instance_id) for orphan in belief.orphans if orphan.phase == PHASE_HELD}
    for conjured in record.conjured:
        key = (conjured.account, conjured.instance_id)
        machine = truth.find(*key)
        alive = machine is not None and machine.alive
        name = f"{conjured.account}: {conjured.role} machine {conjured.instance_id}"
        if conjured.role is Role.ORPHAN:
            continue
        if not alive:
            yield f"{name} is gone, and was not ours to touch"
        elif owners.get(key) != conjured.role.value:
            yield f"{name} is taken for {owners.get(key, 'nothing at all')}"
        elif conjured.role is Role.UNKNOWN and key not in held:
            yield f"{name} is not reported as held"


def _rows(
    accounts: Sequence[str], record: Record, belief: Belief, truth: Truth, wrongful: Sequence[str]
) -> Iterator[Row]:
    for account in accounts:
        alive, believed = truth.alive(account), belief.instance_ids(account)
        yield Row(f"machines alive, {account}", str(len(believed)), str(len(alive)), alive.keys() == believed)
    yield from _session_rows(record, belief, truth)
    yield from _orphan_rows(record, belief, truth)
    foreign = [truth.find(each.account, each.instance_id) for each in record.conjured_as(Role.FOREIGN)]
    believed_foreign = sum(instance.ownership == "foreign" for instance in belief.instances)
    alive_foreign = sum(machine is not None and machine.alive for machine in foreign)
    yield Row(
        "foreign machines alive",
        str(believed_foreign),
        f"{alive_foreign} of {len(foreign)}",
        alive_foreign == len(foreign),
    )
    yield Row("wrongful destroys", "", str(len(wrongful)), not wrongful)
    yield Row("destroy requests", "", str(sum(request.operation == "destroy" for request in truth.requests)))
    yield from _survival_rows(record, belief, truth)
    yield from _money_rows(record, truth)


def _session_rows(record: Record, belief: Belief, truth: Truth) -> Iterator[Row]:
    states = Counter(session.state for session in belief.sessions)
    over = sum(asked.is_over(truth.now) for asked in record.asked.values())
    lost = sum(asked.machine_lost_at is not None and not asked.is_over(truth.now) for asked in record.asked.values())
    running = len(record.asked) - over - lost
    believed_over = sum(states[state] for state in STATES_OVER)
    known = {session.id for session in belief.sessions}
    yield Row("sessions asked for", str(len(known)), str(len(record.asked)), known == record.asked.keys())
    yield Row("sessions running", str(states[STATE_RUNNING]), str(running), states[STATE_RUNNING] == running)
    yield Row("sessions over", str(believed_over), str(over), believed_over == over)
    yield Row("sessions whose machine was lost", str(states[STATE_LOST]), str(lost), states[STATE_LOST] == lost)


def _orphans(record: Record, truth: Truth) -> frozenset[Key]:
    """Machines that only a verdict can end: those that came back, and those of sessions that ran out of time."""
    found = {(each.account, each.instance_id) for each in record.conjured_as(Role.ORPHAN)}
    for machine in truth.machines:
        asked = record.by_tag(machine.tag)
        if asked is not None and asked.end_asked_at is None and asked.is_over(truth.now):
            found.add((machine.account, machine.id))
    return frozenset(found)


def _reported(record: Record, belief: Belief) -> frozenset[Key]:
    unknown = {(each.account, each.instance_id) for each in record.conjured_as(Role.UNKNOWN)}
    return belief.happened("orphan.detected") - unknown


def _orphan_differences(record: Record, belief: Belief, truth: Truth) -> Iterator[str]:
    reported = _reported(record, belief)
    for account, id_ in sorted(_orphans(record, truth) - reported):
        yield f"{account}: machine {id_} was an orphan and was never reported"
    for account, id_ in sorted(reported):
        machine = truth.find(account, id_)
        asked = record.by_tag(machine.tag) if machine is not None else None
        if asked is None or not asked.is_over(truth.now):
            yield f"{account}: machine {id_} was reported as an orphan, and it is not one"


def _orphan_rows(record: Record, belief: Belief, truth: Truth) -> Iterator[Row]:
    reported = _reported(record, belief)
    # A machine that shopperd caught between the end of its session and its own is rightly reported too.
    real = _orphans(record, truth) | reported
    gone = {key for key in real if (machine := truth.find(*key)) is not None and not machine.alive}
    believed_gone = belief.happened("destroy.verified") & real
    yield Row("orphans found", str(len(reported)), str(len(real)), reported == real)
    yield Row("orphans destroyed", str(len(believed_gone)), str(len(gone)), believed_gone == gone)
    held = {(orphan.account, orphan.instance_id) for orphan in belief.orphans if orphan.phase == PHASE_HELD}
    unknown = {(each.account, each.instance_id) for each in record.conjured_as(Role.UNKNOWN)}
    yield Row("machines of unknown sessions, held", str(len(held & unknown)), str(len(unknown)), unknown <= held)


def _survival_rows(record: Record, belief: Belief, truth: Truth) -> Iterator[Row]:
    refused = Counter(request.account for request in truth.requests if request.status == RATE_LIMITED)
    yield Row("answers 429", "", f"{sum(refused.values())} ({_by_account(refused)})" if refused else "0")
    lost = {
        (request.account, effect.partition(":")[2])
        for request in truth.requests
        for effect in request.effects
        if request.operation == "create" and request.status is None and effect.startswith("created:")
    }
    ever_bound = {(session.account, session.instance_id) for session in belief.sessions}
    survived = sum(key in ever_bound for key in lost)
    yield Row("create answers lost, machine found", str(survived), str(len(lost)), survived == len(lost))
    yield Row("kill -9 survived", str(record.revivals), str(record.kills), record.revivals == record.kills)
    events = {happening.id for happening in belief.trail if happening.kind.startswith(HOOK_EVENTS)}
    yield Row("events told to a hook", str(len(events)), str(len(record.heard)), events == record.heard)
    yield Row("requests to the marketplaces", "", str(len(truth.requests)))


def _by_account(counts: Counter[str]) -> str:
    return ", ".join(f"{account} {count}" for account, count in sorted(counts.items()))


def _money_rows(record: Record, truth: Truth) -> Iterator[Row]:
    ours = [machine for machine in truth.machines if record.by_tag(machine.tag) is not None]
    yield Row("money billed, our machines", "", f"{sum(machine.billed for machine in ours):.6f} USD")
    yield Row("money leaked (machines nobody claimed)", "", f"{leaked_usd(record, truth):.6f} USD")
    held = [truth.find(each.account, each.instance_id) for each in record.conjured_as(Role.UNKNOWN)]
    cost = sum(machine.price_per_hour for machine in held if machine is not None and machine.alive)
    yield Row("held for a person to decide", "", f"{cost:.3f} USD per hour")


def leaked_usd(record: Record, truth: Truth) -> float:
    """What machines of ours cost from when nobody claimed them until they were gone."""
    put = {(each.account, each.instance_id): each.at for each in record.conjured_as(Role.ORPHAN)}
    leaked = 0.0
    for machine in truth.machines:
        asked = record.by_tag(machine.tag)
        since = asked.over_at if asked is not None else None
        if since is not None and since <= truth.now:
            leaked += machine.cost_since(max(since, put.get((machine.account, machine.id), since)), truth.now)
    return leaked

"""What must hold in every run, judged from the ledger alone. Nothing here knows of faults, jobs or the store.

Each oracle gives the sentences of what is wrong; none means that all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.simulation.ledger import Asked, Ledger, Machine, Sent, claim_of, most_in

HOUR = 3600.0
RECENT_SECONDS = 900.0
"""A twin that was there so lately may still be believed in: one machine's proof of absence takes minutes."""
BEAT_SECONDS = 30.0
"""Heartbeats and clocks are not finer than this."""
SERVER_ERROR = 500


def judge(ledger: Ledger) -> list[str]:
    """Everything that is wrong with a run."""
    return [f"{name}: {text}" for name, oracle in ORACLES.items() for text in oracle(ledger)]


def no_wrongful_destroy(ledger: Ledger) -> Iterator[str]:
    """O1: a destroy reaches only machines of sessions that are over, surplus ones, and unknown ones with proof."""
    rented, asked = ledger.rented(), ledger.sessions()
    for sent in ledger.sent:
        if sent.operation != "destroy" or not sent.existed:
            continue
        provider = ledger.providers[sent.account]
        machine = Machine(provider, sent.instance or "", sent.machine_tag, sent.machine_created_at, None)
        where = f"request {sent.n} at {sent.at:.1f} destroys {provider} {machine.id} (tag {machine.tag})"
        if any(start <= sent.at < end for start, end in ledger.frozen):
            yield f"{where} while frozen"
        claim = claim_of(rented, ledger.deployment, machine)
        if claim is None:
            yield f"{where}, which is foreign"
        elif claim not in asked:
            why = _unknown_is_protected(ledger, sent, machine)
            if why:
                yield f"{where}, whose session nobody knows: {why}"
        elif _is_protected(ledger, rented, asked[claim], sent, machine):
            yield f"{where} of session {claim}, which was live ({sent.told_state})"


def _unknown_is_protected(ledger: Ledger, sent: Sent, machine: Machine) -> str:
    if sent.account not in ledger.exclusive:
        return "the account is not exclusive"
    born = machine.created_at
    if not any(start - BEAT_SECONDS <= born <= end + BEAT_SECONDS for start, end in ledger.memory):
        return "it was made while nobody watched"
    return ""


def _is_protected(
    ledger: Ledger, rented: Mapping[tuple[str, str, float], str], asked: Asked, sent: Sent, machine: Machine
) -> bool:
    if asked.over_since(sent.at) is not None or sent.told_state == "failed":
        return False
    if sent.told_instance in (None, machine.id):
        return True
    twins = [
        other
        for other in ledger.machines
        if (other.provider, other.id) != (machine.provider, machine.id)
        and claim_of(rented, ledger.deployment, other) == asked.session_id
        and other.created_at <= sent.at
        and (other.destroyed_at is None or other.destroyed_at > sent.at - RECENT_SECONDS)
    ]
    return not twins


def no_leak(ledger: Ledger) -> Iterator[str]:
    """O2: after healing and the bound, no machine is left of a session that is over."""
    rented, asked = ledger.rented(), ledger.sessions()
    for machine in _left(ledger):
        claim = claim_of(rented, ledger.deployment, machine)
        if claim is None or claim not in asked:
            continue
        session = asked[claim]
        since = session.over_since(ledger.ended_at)
        if session.told_state in ("failed", "ended") or (since is not None and since <= ledger.healed_at):
            yield f"{machine.provider} {machine.id} is left of session {claim} ({session.told_state})"


def one_per_intent(ledger: Ledger) -> Iterator[str]:
    """O4: of several machines for one intent at most one survives."""
    rented, asked = ledger.rented(), ledger.sessions()
    left: dict[object, list[str]] = {}
    for machine in _left(ledger):
        claim = claim_of(rented, ledger.deployment, machine)
        if claim in asked:
            left.setdefault(claim, []).append(machine.id)
    for shared, ids in left.items():
        if len(ids) > 1:
            yield f"session {shared} has {len(ids)} machines: {', '.join(ids)}"


def under_the_cap(ledger: Ledger) -> Iterator[str]:
    """O5: no account carries out more verdicts in an hour than its limit."""
    if ledger.cap_per_hour is None:
        return
    rented, asked = ledger.rented(), ledger.sessions()
    first: dict[tuple[str, str, float], float] = {}
    for sent in ledger.sent:
        if sent.operation != "destroy" or not sent.existed:
            continue
        machine = Machine(
            ledger.providers[sent.account], sent.instance or "", sent.machine_tag, sent.machine_created_at, None
        )
        session = asked.get(claim) if (claim := claim_of(rented, ledger.deployment, machine)) else None
        if session is None or session.ended_at is None or session.ended_at > sent.at:
            first.setdefault((sent.account, machine.id, machine.created_at), sent.at)
    for account in ledger.providers:
        count = most_in(HOUR, [at for (owner, _, _), at in first.items() if owner == account])
        if count > ledger.cap_per_hour:
            yield f"account {account} carried out {count} verdicts in an hour, over its limit of {ledger.cap_per_hour}"


def one_rental_per_request(ledger: Ledger) -> Iterator[str]:
    """No create is sent again after an answer that leaves it open whether something was rented."""
    settled: dict[str, Sent] = {}
    for sent in ledger.sent:
        if sent.operation != "create" or sent.tag is None:
            continue
        before = settled.get(sent.tag)
        if before is not None:
            yield f"request {sent.n} asks again for {sent.tag}, which request {before.n} may have rented ({before.status})"
        if (sent.effect and "created:" in sent.effect) or sent.status is None or sent.status >= SERVER_ERROR:
            settled[sent.tag] = sent


def belief_is_truth(ledger: Ledger) -> Iterator[str]:
    """After healing and the bound, what shopperd tells of every session is what is there."""
    rented = ledger.rented()
    left: dict[object, list[Machine]] = {}
    for machine in _left(ledger):
        left.setdefault(claim_of(rented, ledger.deployment, machine), []).append(machine)
    there = {(machine.provider, machine.id): machine for machine in _left(ledger)}
    for asked in ledger.asked:
        if asked.session_id is None:
            continue
        name = f"session {asked.session_id} of {asked.account}"
        provider = ledger.providers[asked.account]
        since = asked.over_since(ledger.ended_at)
        if since is not None and since > ledger.healed_at:
            continue
        if asked.told_state in ("starting", "running", "stopped"):
            if (provider, asked.told_instance or "") not in there:
                yield f"{name} is told to be {asked.told_state} on {asked.told_instance}, which is not there"
            if since is not None:
                yield f"{name} is told to be {asked.told_state} though it is over"
        elif asked.told_state in ("creating", "ending", ""):
            yield f"{name} is still {asked.told_state or 'not told of'}"
        elif left.get(asked.session_id):
            ids = ", ".join(machine.id for machine in left[asked.session_id])
            yield f"{name} is told to be {asked.told_state}, yet {ids} is there"


def no_fault_of_our_own(ledger: Ledger) -> Iterator[str]:
    """Nothing that happens outside makes shopperd raise what it calls its own fault."""
    yield from dict.fromkeys(ledger.crashes)


def _left(ledger: Ledger) -> Iterator[Machine]:
    return (machine for machine in ledger.machines if machine.existed_at(ledger.ended_at))


ORACLES: Mapping[str, Callable[[Ledger], Iterator[str]]] = {
    "O1 no wrongful destroy": no_wrongful_destroy,
    "O2 no leak": no_leak,
    "O3 no second request": one_rental_per_request,
    "O4 one machine per intent": one_per_intent,
    "O5 cap": under_the_cap,
    "O7 belief equals truth": belief_is_truth,
    "O8 no fault of our own": no_fault_of_our_own,
}

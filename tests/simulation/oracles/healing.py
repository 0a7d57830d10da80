"""What must hold in the end, some time after everything outside has healed."""

from __future__ import annotations

from collections.abc import Iterator

from shopperd.model import session_of
from tests.simulation.ledger import Asked, Ledger, Machine
from tests.simulation.oracles.safety import at_its_limit, claims

OVER = ("ended", "failed")
THERE = ("starting", "running", "stopped")
SHOWN = ("expected", "creating", *THERE, "ending", "lost")


def no_leak(ledger: Ledger) -> Iterator[str]:
    """O2: after healing and the bound, no machine is left of a session that is over."""
    sessions = ledger.sessions()
    for claim, machines in claims(ledger).items():
        session = sessions.get(claim)
        if session is None or at_its_limit(ledger, session.account):
            continue
        since = session.must_be_over_since(ledger.ended_at, ledger.ended_ahead)
        if session.told_state not in OVER and (since is None or since > ledger.healed_at):
            continue
        for machine in machines:
            if _is_ours_to_end(ledger, session, machine):
                yield f"{machine.provider} {machine.id} is left of session {claim} ({session.told_state})"


def _is_ours_to_end(ledger: Ledger, session: Asked, machine: Machine) -> bool:
    """Not exempt, and known for what it is: by its tag, or by the id that its create was answered with."""
    known = session_of(machine.tag, ledger.deployment) == session.session_id or (
        session.told_instance == machine.id and not _came_back(ledger, machine)
    )
    return known and not _is_exempt(ledger, machine)


def _came_back(ledger: Ledger, machine: Machine) -> bool:
    """A destroy of it was undone: it was proven gone, so that its session is over, and a bare id binds to no such session."""
    return any(
        "destroy_undone" in sent.faults
        and sent.instance == machine.id
        and ledger.providers[sent.account] == machine.provider
        for sent in ledger.sent
    )


def _is_exempt(ledger: Ledger, machine: Machine) -> bool:
    return any(
        ledger.is_exempt(account, machine.id, ledger.ended_at)
        for account, provider in ledger.providers.items()
        if provider == machine.provider
    )


def one_per_intent(ledger: Ledger) -> Iterator[str]:
    """O4: of several machines for one intent at most one survives."""
    sessions = ledger.sessions()
    for claim, machines in claims(ledger).items():
        session = sessions.get(claim)
        if session is None or at_its_limit(ledger, session.account):
            continue
        ids = [machine.id for machine in machines if _is_ours_to_end(ledger, session, machine)]
        if len(ids) > 1:
            yield f"session {claim} has {len(ids)} machines: {', '.join(ids)}"


def belief_is_truth(ledger: Ledger) -> Iterator[str]:
    """O7: after healing and the bound, what shopperd tells of every session is what is there."""
    there = {(machine.provider, machine.id) for machine in ledger.left()}
    left = claims(ledger)
    for asked in ledger.sessions().values():
        name = f"session {asked.session_id} of {asked.account}"
        provider = ledger.providers[asked.account]
        since = asked.must_be_over_since(ledger.ended_at, ledger.ended_ahead)
        if since is not None and since > ledger.healed_at:
            continue
        machines = left.get(asked.session_id, []) if asked.session_id is not None else []
        if machines and (at_its_limit(ledger, asked.account) or any(_is_exempt(ledger, m) for m in machines)):
            continue
        if asked.told_state in THERE:
            if (provider, asked.told_instance or "") not in there:
                yield f"{name} is told to be {asked.told_state} on {asked.told_instance}, which is not there"
            if since is not None:
                yield f"{name} is told to be {asked.told_state} though it is over"
        elif asked.told_state in ("creating", "ending", ""):
            yield f"{name} is still {asked.told_state or 'not told of'}"
        elif ids := [machine.id for machine in machines if _is_ours_to_end(ledger, asked, machine)]:
            yield f"{name} is told to be {asked.told_state}, yet {', '.join(ids)} is there"


def gauges_are_true(ledger: Ledger) -> Iterator[str]:
    """O7: the gauges of machines by ownership, of sessions and of orphans are what is there."""
    for account in ledger.providers if ledger.shown else ():
        expected = _expected(ledger, account)
        for name in expected:
            shown = ledger.shown.get(name, 0.0)
            # One that ends by its deadline is an orphan until it is gone, one that was ended by name is none.
            ending = expected[f"session ending {account}"] if name.startswith("orphans") else 0
            if not expected[name] <= shown <= expected[name] + ending:
                yield f"the gauge of {name} is {shown:g}, and the truth {expected[name]}"


def _expected(ledger: Ledger, account: str) -> dict[str, int]:
    sessions = ledger.sessions()
    bound = {
        asked.told_instance: asked
        for asked in sessions.values()
        if asked.account == account and asked.told_state in (*THERE, "ending")
    }
    expected = {f"{word} {account}": 0 for word in ("ours", "unknown", "foreign", "orphans")}
    expected |= {f"session {state} {account}": 0 for state in SHOWN}
    for asked in sessions.values():
        if asked.account == account and asked.told_state in SHOWN:
            expected[f"session {asked.told_state} {account}"] += 1
    for machine in ledger.left():
        if machine.provider != ledger.providers[account]:
            continue
        claim = session_of(ledger.told_tag(machine), ledger.deployment)
        named = sessions.get(claim) if claim is not None else None
        if machine.id in bound:
            expected[f"ours {account}"] += 1
            continue
        ours = named is not None and named.account == account
        word = "ours" if ours else "foreign" if claim is None else "unknown"
        expected[f"{word} {account}"] += 1
        if claim is not None and not (named is not None and not ours and named.told_instance == machine.id):
            expected[f"orphans {account}"] += 1
    return expected

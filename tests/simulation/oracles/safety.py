"""What must hold at every moment, whatever happens outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import UUID

from tests.simulation.ledger import Asked, Ledger, Machine, Sent, claim_of, machine_of, most_in

HOUR = 3600.0
RECENT_SWEEPS = 15.0
"""A twin that was there so lately may still be believed in: one machine's proof of absence takes several listings."""
CLOCK_SECONDS = 1.0
"""The marketplaces' clocks and ours are not finer than this."""
SERVER_ERROR = 500
CHANGES = ("create", "destroy")

Rented = Mapping[tuple[str, str, float], str]


def no_wrongful_destroy(ledger: Ledger) -> Iterator[str]:
    """O1: a destroy reaches only machines of sessions that are over, surplus ones, and unknown ones with proof."""
    rented = ledger.rented()
    for sent in _destroys(ledger):
        machine = machine_of(ledger, sent)
        where = f"request {sent.n} at {sent.at:.1f} destroys {machine.provider} {machine.id} (tag {machine.tag})"
        if any(start <= left_at(sent) < end for start, end in ledger.frozen):
            yield f"{where} while frozen"
        if ledger.is_exempt(sent.account, machine.id, left_at(sent)):
            yield f"{where} while exempt"
        claim = claim_of(rented, ledger.deployment, machine)
        if claim is None:
            yield f"{where}, which is foreign"
            continue
        asked = ledger.sessions(left_at(sent)).get(claim)
        if asked is None:
            why = "" if _is_ordered(ledger, sent) else _unknown_is_protected(ledger, sent, machine)
            if why:
                yield f"{where}, whose session nobody knows: {why}"
        elif _is_protected(ledger, rented, asked, sent, machine):
            yield f"{where} of session {claim}, which was live ({sent.told_state})"


def left_at(sent: Sent) -> float:
    """When a request left, as far as that was noted."""
    return sent.sent_at or sent.at


def _destroys(ledger: Ledger) -> list[Sent]:
    return [sent for sent in ledger.sent if sent.operation == "destroy" and sent.existed]


def _is_ordered(ledger: Ledger, sent: Sent) -> bool:
    return any(
        (order.account, order.instance) == (sent.account, sent.instance) and order.at <= left_at(sent)
        for order in ledger.ordered
    )


def _unknown_is_protected(ledger: Ledger, sent: Sent, machine: Machine) -> str:
    if sent.account not in ledger.exclusive:
        return "the account is not exclusive"
    born, at = machine.created_at, left_at(sent)
    if not any(
        span.known_from <= at < span.forgotten_at and span.start - CLOCK_SECONDS <= born <= span.end + CLOCK_SECONDS
        for span in ledger.memory
    ):
        return "it was made while nobody watched, as far as the store can know"
    return ""


def _is_protected(ledger: Ledger, rented: Rented, asked: Asked, sent: Sent, machine: Machine) -> bool:
    at = left_at(sent)
    if asked.over_since(at, sent.ahead) is not None or sent.told_state == "failed" or _is_ordered(ledger, sent):
        return False
    if sent.told_state in ("ending", "ended") and _was_ordered(ledger, rented, asked, at):
        return False
    if sent.told_instance in (None, machine.id):
        return True
    return not [
        other
        for other in ledger.machines
        if (other.provider, other.id) != (machine.provider, machine.id)
        and claim_of(rented, ledger.deployment, other) == asked.session_id
        and other.created_at <= sent.at
        and (other.destroyed_at is None or other.destroyed_at > sent.at - RECENT_SWEEPS * ledger.sweep_seconds)
    ]


def _was_ordered(ledger: Ledger, rented: Rented, asked: Asked, at: float) -> bool:
    """Somebody had asked for a machine of this session to go, which ends the session."""
    named = {
        (machine.provider, machine.id)
        for machine in ledger.machines
        if claim_of(rented, ledger.deployment, machine) == asked.session_id
    }
    return any(
        (ledger.providers[order.account], order.instance) in named and order.at <= at for order in ledger.ordered
    )


def verdicts(ledger: Ledger) -> Iterator[tuple[Sent, Machine]]:
    """The first destroy of each machine that nobody asked for by name or by its session's end."""
    rented = ledger.rented()
    begun: set[tuple[str, str, float]] = set()
    for sent in _destroys(ledger):
        machine = machine_of(ledger, sent)
        claim = claim_of(rented, ledger.deployment, machine)
        asked = ledger.sessions(left_at(sent)).get(claim) if claim is not None else None
        ended = asked is not None and asked.ended_at is not None and asked.ended_at <= sent.at
        ended = ended or (asked is not None and _was_ordered(ledger, rented, asked, sent.at))
        if (ended and sent.told_instance == machine.id) or _is_ordered(ledger, sent):
            continue
        key = (sent.account, machine.id, machine.created_at)
        if key not in begun:
            begun.add(key)
            yield sent, machine


def looks_first(ledger: Ledger) -> Iterator[str]:
    """O1: the first sweep after a start on a new, moved or restored store only looks."""
    watched = {life.number for life in ledger.lives if life.observing}
    for sent, machine in verdicts(ledger):
        if sent.life not in watched:
            continue
        watched.discard(sent.life)
        sweeps = [
            run
            for run in ledger.runs
            if (run.life, run.job, run.account) == (sent.life, "sweep", sent.account) and run.began <= left_at(sent)
        ]
        if len(sweeps) <= 1:
            yield f"request {sent.n} at {sent.at:.1f} destroys {machine.id} before a second sweep on a changed store"


def no_lost_handle(ledger: Ledger) -> Iterator[str]:
    """O3: a machine that was rented by us is named by the store, by its id or by its session, as long as it is there."""
    made: dict[tuple[str, str, float], Sent] = {
        (ledger.providers[sent.account], id_, at): sent for sent in ledger.sent for id_, at in sent.made
    }
    rented = ledger.rented()
    lost: dict[str, None] = {}
    for stock in ledger.stocks:
        ids = {(ledger.providers[account], id_) for account, id_ in stock.machines}
        for machine in ledger.machines:
            sent = made.get((machine.provider, machine.id, machine.created_at))
            if sent is None or not machine.existed_at(stock.at) or (machine.provider, machine.id) in ids:
                continue
            claim = claim_of(rented, ledger.deployment, machine)
            forgotten = any(one.since < sent.at <= one.at <= stock.at for one in ledger.forgot)
            if str(claim) not in stock.sessions and not forgotten:
                lost[f"nothing in the store names {machine.provider} {machine.id}, rented for {claim}"] = None
    yield from lost


def one_rental_per_request(ledger: Ledger) -> Iterator[str]:
    """O3: no create is sent again after an answer that leaves it open whether something was rented."""
    settled: dict[str, Sent] = {}
    for sent in ledger.sent:
        if sent.operation != "create" or sent.tag is None:
            continue
        before = settled.get(sent.tag)
        if before is not None and not any(one.since < before.at <= one.at <= sent.at for one in ledger.forgot):
            yield f"request {sent.n} asks again for {sent.tag}, which request {before.n} may have rented ({before.status})"
        if (sent.effect and "created:" in sent.effect) or sent.status is None or sent.status >= SERVER_ERROR:
            settled[sent.tag] = sent


def under_the_cap(ledger: Ledger) -> Iterator[str]:
    """O5: no account carries out more verdicts than its limits: in an hour, and by the number of its sweeps.

    A store that was put in place, or a clock that was set, begins a new count.
    """
    if ledger.per_sweep is None:
        return
    resets = sorted({one.at for one in ledger.forgot} | _clock_changes(ledger))
    moments: dict[tuple[str, int], list[float]] = {}
    for sent, _ in verdicts(ledger):
        epoch = sum(at <= sent.at for at in resets)
        moments.setdefault((sent.account, epoch), []).append(sent.at)
    for (account, _), sent_at in moments.items():
        cap = hourly_cap(ledger, account)
        if ledger.per_hour_share < 1.0 and (count := most_in(HOUR, sent_at)) > cap:
            yield f"account {account} carried out {count} verdicts in an hour, over its limit of {cap}"
        sweeps = [run.began for run in ledger.runs if (run.job, run.account) == ("sweep", account)]
        for place, at in enumerate(sent_at, 1):
            allowed = ledger.per_sweep * sum(began <= at for began in sweeps)
            if sweeps and place > allowed:
                yield f"account {account} carried out {place} verdicts by {at:.1f}, over its limit of {allowed}"
                break


def hourly_cap(ledger: Ledger, account: str) -> int:
    """The most verdicts that an account may carry out in an hour."""
    return max(ledger.per_sweep or 0, int(ledger.per_hour_share * _most_machines(ledger, account)))


def at_its_limit(ledger: Ledger, account: str) -> bool:
    """Whether an account has carried out in the last hour what it may, so that the rest is held."""
    if ledger.per_sweep is None or ledger.per_hour_share >= 1.0:
        return False
    lately = [sent for sent, _ in verdicts(ledger) if sent.account == account and sent.at > ledger.ended_at - HOUR]
    return len(lately) >= ledger.per_sweep


def _clock_changes(ledger: Ledger) -> set[float]:
    changes: set[float] = set()
    ahead: dict[int, float] = {}
    for sent in ledger.sent:
        newest = max(ahead.values(), default=0.0) if sent.life not in ahead else ahead[sent.life]
        if abs(sent.ahead - newest) > HOUR / 2:
            changes.add(sent.at)
        ahead = {sent.life: sent.ahead}
    return changes


def _most_machines(ledger: Ledger, account: str) -> int:
    provider = ledger.providers[account]
    mine = [machine for machine in ledger.machines if machine.provider == provider]
    return max((sum(one.existed_at(other.created_at) for one in mine) for other in mine), default=0)


def fenced(ledger: Ledger) -> Iterator[str]:
    """O10: nothing is sent by a process that was cut or has stopped, and no change by one that another took the right from."""
    ended = {life.number: life.ended for life in ledger.lives}
    for sent in ledger.sent:
        over = ended.get(sent.life)
        if over is not None and left_at(sent) > over:
            kind = "a change" if sent.operation in CHANGES else "a request"
            yield f"request {sent.n}, {kind}, left at {sent.at:.1f}, though process {sent.life} was over at {over:.1f}"
        if not ledger.shared or sent.operation not in CHANGES:
            continue
        holder = next((held.life for held in reversed(ledger.held) if held.at <= left_at(sent)), None)
        if holder != sent.life:
            yield f"request {sent.n}, a change, left at {sent.at:.1f} from process {sent.life}, and {holder} had the right"


def claims(ledger: Ledger) -> dict[UUID, list[Machine]]:
    """The machines that are there at the end, by the session that they belong to."""
    rented = ledger.rented()
    found: dict[UUID, list[Machine]] = {}
    for machine in ledger.left():
        claim = claim_of(rented, ledger.deployment, machine)
        if claim is not None:
            found.setdefault(claim, []).append(machine)
    return found

"""How shopperd behaves towards the marketplaces, its own loops, and the credentials that it holds."""

from __future__ import annotations

import math
from collections.abc import Iterator

from shopperd.providers.spacing import BOLD_SHARE, GAP_SHARE_MIN, SOONER_SHARE
from shopperd.providers.tooth import SIZE_MIN, STEP_MAX
from tests.simulation.ledger import Ledger, Run, Sent
from tests.simulation.oracles.safety import left_at

ROUNDING_SECONDS = 1e-3
WAY_SECONDS = 0.25
"""The longest that a request is on its way."""
SHARED_BURST = 2
JITTER_SHARE = 0.1
HINT_SECONDS_MAX = 3600.0
RATE_LIMITED = 429
RANKS = {"destroy": 0, "create": 1, "list": 2, "show": 3, "search": 4}
BEHIND_MAX = 1
STORE_SECONDS = 12.0
"""What the transactions of one run may take where the disk is busy."""


def no_fault_of_our_own(ledger: Ledger) -> Iterator[str]:
    """O8: nothing that happens outside makes shopperd raise what it calls its own fault."""
    yield from dict.fromkeys(ledger.crashes)


def keeps_seals(ledger: Ledger) -> Iterator[str]:
    """O8: nothing is written without its seal, or it would be taken for damage when it is read."""
    yield from ledger.unsealed


def keeps_secrets(ledger: Ledger) -> Iterator[str]:
    """O9: no credential is in a log line, a metric, the store, or a request to anybody else."""
    yield from dict.fromkeys(ledger.spilled)


def _by_account(ledger: Ledger) -> dict[tuple[int, str], list[Sent]]:
    """The requests of each process to each account, in the order in which they left."""
    found: dict[tuple[int, str], list[Sent]] = {}
    for sent in ledger.sent:
        found.setdefault((sent.life, sent.account), []).append(sent)
    return {key: sorted(requests, key=left_at) for key, requests in found.items()}


def polite_spacing(ledger: Ledger) -> Iterator[str]:
    """O6: calls are no closer than the spacing that their marketplace publishes, but for what probing has proven.

    A probe goes at most a bold step below what was accepted before, which every accepted call that had to wait loosens a little, and
    never far below what is published. The account's own limit is a rate, with two calls at once. What is spaced are arrivals, so that a call leaves sooner by what the one before was quicker.
    """
    proven_of: dict[str, dict[str, float]] = {}
    for (_, account), requests in sorted(_by_account(ledger).items()):
        intervals = ledger.intervals.get(account, {})
        last: dict[str, list[Sent]] = {}
        proven = proven_of.setdefault(account, {})  # the next process knows of it by the store
        for sent in requests:
            for kind, many in ((sent.operation, 1), ("shared", SHARED_BURST)):
                before = last.setdefault(kind, [])
                least = min(proven.get(kind, math.inf), intervals.get(kind, 0.0))
                if len(before) >= many:
                    gap = left_at(sent) - left_at(before[-many])
                    published = intervals.get(kind, 0.0)
                    bound = max(least * _loosened(before) * BOLD_SHARE, published * GAP_SHARE_MIN) * SOONER_SHARE
                    way = WAY_SECONDS if kind == "shared" or least < published else 0.0
                    if gap < bound - way - ROUNDING_SECONDS:
                        yield (
                            f"request {sent.n} ({sent.operation}) of {account} left {gap:.3f} s after request "
                            f"{before[-many].n} ({before[-many].operation}); the least is {least:g} s ({kind})"
                        )
                    if sent.status != RATE_LIMITED:
                        proven[kind] = min(gap, least)
                before.append(sent)


def _loosened(before: list[Sent]) -> float:
    """The share of a spacing that is left of it after these calls."""
    held = sum(sent.waited > 0.0 and sent.status != RATE_LIMITED for sent in before)
    return max(1.0 - STEP_MAX, (1.0 - STEP_MAX / SIZE_MIN) ** held)


def _busy(ledger: Ledger, life: int) -> list[tuple[float, float]]:
    return [(slow.start, slow.end) for slow in ledger.slow if slow.life == life]


def _was_held_up(busy: list[tuple[float, float]], *requests: Sent) -> bool:
    """A change asks the store once more when its turn has come, and that had to wait for the disk.

    The turn is then some time ago when the request leaves.
    """
    return any(
        sent.operation in ("create", "destroy") and any(start <= left_at(sent) <= end + 0.1 for start, end in busy)
        for sent in requests
    )


def waits_as_told(ledger: Ledger) -> Iterator[str]:
    """O6: after a refusal that names a wait, nothing that it shuts is sent before that is over."""
    for (_, account), requests in _by_account(ledger).items():
        for refusal in requests:
            if refusal.status != RATE_LIMITED or refusal.answered_at is None or not refusal.retry_after:
                continue
            until = refusal.answered_at + min(refusal.retry_after, HINT_SECONDS_MAX)
            for sent in requests:
                shut = account in ledger.blocks_all or sent.operation == refusal.operation
                if shut and refusal.answered_at < left_at(sent) < until - ROUNDING_SECONDS:
                    yield (
                        f"request {sent.n} ({sent.operation}) of {account} left at {left_at(sent):.2f}, though the answer "
                        f"to request {refusal.n} asked to wait until {until:.2f}"
                    )


def urgent_first(ledger: Ledger) -> Iterator[str]:
    """O6: while a destroy waits for its turn, at most one call of a lower kind goes before it."""
    for (life, account), requests in _by_account(ledger).items():
        busy = _busy(ledger, life)
        for destroy in requests:
            if destroy.operation != "destroy" or account not in ledger.blocks_all or _was_held_up(busy, destroy):
                continue
            came = left_at(destroy) - destroy.waited
            before = [
                sent.n
                for sent in requests
                if RANKS.get(sent.operation, 0) > 0 and came + ROUNDING_SECONDS < left_at(sent) < left_at(destroy)
            ]
            if len(before) > BEHIND_MAX:
                yield f"destroy {destroy.n} of {account} waited behind the requests {before}"


def progress(ledger: Ledger) -> Iterator[str]:
    """O8: every loop keeps beating as long as its process lives, and no account's trouble delays another's sweep."""
    ended = {life.number: min(life.ended, life.stopping) for life in ledger.lives}
    loops: dict[tuple[int, str, str], list[Run]] = {}
    for run in ledger.runs:
        loops.setdefault((run.life, run.job, run.account), []).append(run)
    for (life, job, account), runs in loops.items():
        over = min(ended.get(life, ledger.ended_at), ledger.ended_at)
        for run, following in zip(runs, [*runs[1:], None], strict=True):
            done = run.ended if run.ended is not None else over
            if done - run.began > run.deadline + STORE_SECONDS:
                yield f"a run of {job} {account} took {done - run.began:.0f} s, over its deadline of {run.deadline:g} s"
            pause = (following.began if following is not None else over) - done
            if pause > run.interval * (1 + JITTER_SHARE) + 1.0:
                yield f"{job} {account} did not run for {pause:.0f} s, and has an interval of {run.interval:g} s"
    yield from _delayed_sweeps(ledger, loops)


def _delayed_sweeps(ledger: Ledger, loops: dict[tuple[int, str, str], list[Run]]) -> Iterator[str]:
    troubled = {sent.account for sent in ledger.sent if sent.faults or sent.status == RATE_LIMITED}
    for (life, job, account), runs in loops.items():
        if job != "sweep" or account in troubled:
            continue
        pages = sum(sent.operation == "list" for sent in ledger.sent if (sent.life, sent.account) == (life, account))
        listing = 5.0 * (1 + pages / max(1, len(runs))) + STORE_SECONDS
        for run in runs:
            if run.ended is not None and run.ended - run.began > run.interval + listing:
                yield f"a sweep of {account}, which had no trouble, took {run.ended - run.began:.0f} s"

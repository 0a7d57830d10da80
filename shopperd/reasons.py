"""The reasons of `reconcile` in words: what a guard waits for, and what would change it. For people, on every surface alike."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from shopperd.model import HoldReason, OrphanKind

_H = HoldReason


@frozen
class Words:
    """One reason.

    Attributes:
        rule: what must be so for the guard to let a destroy pass.
        hold: why it holds one.
        remedy: what would change that, whoever has to do it.
    """

    rule: str
    hold: str
    remedy: str


HOLDS: Mapping[HoldReason, Words] = {
    _H.NO_RIGHT_TO_ACT: Words(
        "this process may act: the store is well, and the right to act is its own",
        "this process may not act now",
        "mend what `shopperd status` says of the store; the right comes back by itself",
    ),
    _H.OBSERVING: Words(
        "the first sweeps with a new, moved or restored store are over",
        "the store is new, moved or restored, so the first sweeps only look",
        "wait for the next sweeps (orphans.observe_sweeps)",
    ),
    _H.FROZEN: Words(
        "the kill switch is off",
        "the deployment is frozen: nothing is destroyed or created",
        "lift it with `shopperd unfreeze`",
    ),
    _H.REPORT_MODE: Words(
        "orphans.mode is destroy",
        "report mode: orphans are told and not destroyed",
        'set orphans.mode = "destroy" and reload',
    ),
    _H.NOT_OURS: Words(
        "its tag is exactly ours, or its id was given to a session of this account",
        "nothing proves that it is ours",
        "take our tag off it at the marketplace, or destroy it by hand: `shopperd instances destroy` if it carries one, else there",
    ),
    _H.NOT_EXCLUSIVE: Words(
        "of a session that nobody here remembers: the account is declared exclusive",
        "the store never heard of its session, and others may use this account with tags like ours",
        "decide by hand: `shopperd instances adopt`, `exempt` or `destroy`; or declare the account exclusive, if it is",
    ),
    _H.MEMORY_BROKEN: Words(
        "of a session that nobody here remembers: the store's memory is unbroken since before the machine was made",
        "the store never heard of its session, and was not awake when the machine was made",
        "decide by hand: `shopperd instances adopt`, `exempt` or `destroy`",
    ),
    _H.EXEMPT: Words(
        "neither it nor its session is exempt",
        "it is exempt: a person protects it",
        "end that with `shopperd instances unexempt`",
    ),
    _H.LIVE_SESSION: Words(
        "no live session claims it",
        "a live session claims it",
        "end the session with `shopperd sessions end`",
    ),
    _H.OPEN_CREATE: Words(
        "no create with its tag is open",
        "a create with its tag is still open: this may be what it rented",
        "wait for the create's answer or its deadline (sessions.create_deadline)",
    ),
    _H.SIGHTINGS: Words(
        "enough complete snapshots in a row agree on the verdict",
        "too few complete snapshots in a row agree on it yet",
        "wait for the next snapshots (orphans.sightings)",
    ),
    _H.GRACE: Words(
        "it was first seen longer ago than the grace",
        "it was first seen too lately",
        "wait until the grace is over (orphans.grace)",
    ),
    _H.FLEET_JUMP: Words(
        "the account's fleet has not jumped lately",
        "more than half of the account's instances came or went at once: that is the provider, not the machines",
        "wait until it has settled, or destroy by hand what should go",
    ),
    _H.STALE_SNAPSHOT: Words(
        "the newest listing of the account is complete",
        "the newest listing of the account is not complete, so nothing new is begun",
        "see `shopperd accounts` for what ails it; the next complete listing lifts this",
    ),
    _H.LIMIT_PER_SWEEP: Words(
        "the limit of destroys in one sweep is not reached",
        "a sweep has destroyed as many as it may",
        "wait for the next sweep, or destroy by hand what should go (orphans.max_destroys_per_sweep, max_share_per_sweep)",
    ),
    _H.LIMIT_PER_HOUR: Words(
        "the limit of destroys in one hour is not reached",
        "within an hour as many were destroyed as may be",
        "wait, or destroy by hand what should go (orphans.max_share_per_hour)",
    ),
    _H.LAST_LOOK: Words(
        "the last look before the request still shows the machine that was condemned",
        "the last look did not show what was condemned",
        "wait for the next listing; if the machine is another one now, the verdict is dropped",
    ),
}

KINDS: Mapping[OrphanKind, str] = {
    OrphanKind.ENDED: "its session is over, and it is still there",
    OrphanKind.EXPIRED: "its session is past its deadline",
    OrphanKind.DUPLICATE: "another machine has its session already",
    OrphanKind.UNKNOWN: "its tag is ours, and nobody here remembers its session",
}

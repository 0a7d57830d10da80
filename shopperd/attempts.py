"""How often a destroy may be asked for: the waits between requests, the limits of an hour, and when a destroy counts as stuck.

Pure. A destroy is retried for ever, so its pace is all that bounds it. Whatever wakes a job (a restart, a command that takes
over a verdict, a person who asks again and again), in any 3600 s there are at most `attempts_per_hour` requests for one
machine, and at most `repeats_per_hour` in one account for machines that do not go away. First requests are bounded by the
limiter's spacing alone, so that two hundred true orphans go as fast as the provider lets them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from attrs import frozen

from shopperd.model import DestroyJob, HoldReason
from shopperd.settings import DestroySettings

HOUR_SECONDS = 3600.0

JITTER_SHARE = 0.1
"""A wait is up to this share shorter or longer, so that jobs which began together drift apart."""

FREE_ATTEMPTS = 3
"""So many requests for a machine are no sign that it does not go away: an answer gets lost, a listing lags behind."""

STUBBORN_MACHINES = 20
"""An account may repeat as often in an hour as so many machines would at their slowest ordinary pace; more of them share that.
With the defaults this is 120 in an hour, a tenth of what a spacing of three seconds would let through. A guess, on the careful
side: a provider that bans for repeated requests does not say from how many on."""

FUTURE_SECONDS = 5.0
"""A request that seems to be sent this much later than now was written by a clock that was slewed; more, by one that was set back."""


@frozen
class Recent:
    """The requests of the last hour that count, by their ages in seconds.

    Attributes:
        machine: those for the machine of the job.
        repeats: the repeated ones of the whole account, see `is_repeated`.
    """

    machine: tuple[float, ...] = ()
    repeats: tuple[float, ...] = ()


def backoff_seconds(tries: int, rules: DestroySettings, jitter: float = 1.0) -> float:
    """Seconds to the next try after so many before it: doubling from `retry_min` up to `retry_max`."""
    return min(rules.retry_min * 2.0 ** min(max(tries, 0), 30), rules.retry_max) * jitter


def wait_seconds(job: DestroyJob, rules: DestroySettings, now: datetime, jitter: float = 1.0) -> float:
    """Seconds from a request, which the job counts already, to the next one."""
    if is_stuck(job, rules, now):
        return rules.retry_stuck * jitter
    return backoff_seconds(job.attempts - 1, rules, jitter)


def is_stuck(job: DestroyJob, rules: DestroySettings, now: datetime) -> bool:
    """Whether a destroy goes on for so long, or was asked for so often, that a person should look at the machine.

    It is asked for ever more slowly, and never given up. One that a guard holds (frozen, exempt ...) only waits.
    """
    if job.gone_at is not None:
        return False
    if job.attempts >= rules.stuck_attempts:
        return True
    old = timedelta(seconds=rules.stuck_after)
    if job.hold not in (None, HoldReason.LAST_LOOK, HoldReason.LIMIT_PER_HOUR) or now - job.requested_at < old:
        return False
    # Old alone says little: shopperd may have been down. It must have been tried since, or its proof be missing as long.
    proof_is_late = job.accepted_at is not None and now - job.accepted_at >= old
    return job.attempts >= FREE_ATTEMPTS or proof_is_late or job.hold is HoldReason.LAST_LOOK


def is_first(job: DestroyJob) -> bool:
    """Whether nothing was tried yet, not even a last look that failed."""
    return job.attempts == 0 and job.hold is not HoldReason.LAST_LOOK


def is_repeated(job: DestroyJob) -> bool:
    """Whether the next request is for a machine that does not go away."""
    return job.attempts >= FREE_ATTEMPTS


def is_due(job: DestroyJob, rules: DestroySettings, now: datetime) -> bool:
    """Whether a job may be tried now. A wait that is longer than any it can have been given is of a clock put back since."""
    longest = rules.retry_stuck if is_stuck(job, rules, now) else rules.retry_max
    if job.hold is HoldReason.LIMIT_PER_HOUR:
        longest = max(longest, HOUR_SECONDS)
    longest *= 1.0 + JITTER_SHARE
    return job.next_attempt_at <= now or job.next_attempt_at > now + timedelta(seconds=longest + FUTURE_SECONDS)


def next_in_turn(jobs: Iterable[DestroyJob], rules: DestroySettings, now: datetime) -> DestroyJob | None:
    """The due job to try next: one that was never tried before one that was, that before a stuck one, then by when it was due."""
    due = [job for job in jobs if is_due(job, rules, now)]
    return min(
        due,
        key=lambda job: (not is_first(job), is_stuck(job, rules, now), job.next_attempt_at, job.id),
        default=None,
    )


def attempts_per_hour(rules: DestroySettings) -> int:
    """The most requests for one machine in any hour: as many as the backoff by itself could make, so it never gets in its way."""
    doublings = math.ceil(math.log2(max(rules.retry_max / rules.retry_min, 1.0)))
    return 1 + doublings + math.ceil(HOUR_SECONDS / (rules.retry_max * (1.0 - JITTER_SHARE)))


def repeats_per_hour(rules: DestroySettings) -> int:
    """The most repeated requests of one account in any hour."""
    return STUBBORN_MACHINES * math.ceil(HOUR_SECONDS / rules.retry_max)


def pause_seconds(job: DestroyJob, rules: DestroySettings, histories: Iterable[Recent]) -> float:
    """Seconds until the limits of an hour let the next request of the job pass; 0 if they do now.

    Of several histories (what the store has, what this process measured by a clock that cannot jump) the strictest counts.
    """
    pauses = [0.0]
    for recent in histories:
        pauses.append(_pause_seconds(recent.machine, attempts_per_hour(rules)))
        if is_repeated(job):
            pauses.append(_pause_seconds(recent.repeats, repeats_per_hour(rules)))
    return max(pauses)


def ages_seconds(moments: Iterable[datetime], now: datetime) -> tuple[float, ...]:
    """How long ago each moment was. What lies in the future is left out: a clock that was set back must not stop everything."""
    ages = ((now - moment).total_seconds() for moment in moments)
    return tuple(max(age, 0.0) for age in ages if age >= -FUTURE_SECONDS)


def _pause_seconds(ages: Iterable[float], limit: int) -> float:
    within = sorted(age for age in ages if 0.0 <= age < HOUR_SECONDS)
    return HOUR_SECONDS - within[limit - 1] if len(within) >= limit else 0.0

"""What a schedule came to: played, judged, and told in a way that leads back to it."""

from __future__ import annotations

import traceback

from attrs import frozen

from tests.simulation.ledger import Ledger
from tests.simulation.oracles import judge, names_in
from tests.simulation.play import play
from tests.simulation.schedules import Schedule
from tests.simulation.shrink import PLAYS_MAX, as_python, shrink

FAILED = "the simulation failed"
"""Stands for an oracle where a run could not even be played to its end."""


@frozen
class Verdict:
    """A schedule's run, if there was one, and what is wrong with it."""

    schedule: Schedule
    ledger: Ledger | None
    wrong: tuple[str, ...]

    @property
    def oracles(self) -> tuple[str, ...]:
        """Those that have found something."""
        return names_in(list(self.wrong))


def verdict_on(schedule: Schedule) -> Verdict:
    """Play a schedule and judge it."""
    try:
        ledger = play(schedule)
        return Verdict(schedule, ledger, tuple(judge(ledger)))
    except Exception:
        return Verdict(schedule, None, (f"{FAILED}: {traceback.format_exc(limit=-4)}",))


def shortest(verdict: Verdict, plays: int = PLAYS_MAX) -> Verdict:
    """The verdict on the shortest schedule found at which the first of these oracles still finds something."""
    wanted = verdict.oracles[0]
    short = shrink(verdict.schedule, lambda schedule: wanted in verdict_on(schedule).oracles, plays)
    return verdict_on(short)


def replay(seed: int) -> str:
    """The command that plays a seed's schedule again."""
    return f"make simulate SEED={seed} SCHEDULES=1"


def told(verdict: Verdict, short: Verdict | None = None) -> str:
    """What went wrong, the shortest schedule, and how to play both again."""
    seed = verdict.schedule.seed
    parts = [f"seed {seed}:", *(f"  {text}" for text in verdict.wrong)]
    if verdict.ledger is not None:
        parts.append(f"{len(verdict.ledger.sent)} requests, {len(verdict.ledger.lives)} lives")
    parts.append(f"play it again: {replay(seed)}")
    if short is not None:
        parts.append("the shortest schedule found, for test_findings.py:")
        parts.append(as_python(short.schedule))
        parts.extend(f"  {text}" for text in short.wrong)
    else:
        parts.append(as_python(verdict.schedule))
    return "\n".join(parts)

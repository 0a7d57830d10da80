"""Many schedules on all cores: what was done, what went wrong, and which faults were met."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TextIO

from attrs import define, field

from tests.simulation.faults import DRAWN
from tests.simulation.loop import START_EPOCH
from tests.simulation.oracles import ORACLES
from tests.simulation.schedules import schedule_of
from tests.simulation.stories import STORIES
from tests.simulation.verdicts import Verdict, replay, shortest, told, verdict_on

PIECE = 20
"""Schedules that a worker takes at once."""
FIRED_MIN = 50
"""So often each fault should be met in a long run."""
SHORTENED_MAX = 5
"""So many failures are shortened; the others are told with their seeds."""
PROGRESS_SECONDS = 10.0
CRASH_POINTS_FROM = 1000
"""Runs of so many schedules begin with the crash points."""
HOUR = 3600.0


@define
class Tally:
    """What came of some schedules.

    Attributes:
        fired: of each fault, the schedules in which it was met.
        found: of each oracle, the schedules in which it found something.
        failures: the seeds, each with those oracles.
    """

    schedules: int = 0
    seconds: float = 0.0
    requests: int = 0
    boundaries: int = 0
    lives: int = 0
    fired: Counter[str] = field(factory=Counter)
    found: Counter[str] = field(factory=Counter)
    failures: list[tuple[int, tuple[str, ...]]] = field(factory=list)
    points: int = 0
    bad_points: list[str] = field(factory=list)

    def take(self, verdict: Verdict) -> None:
        """Count a schedule."""
        self.schedules += 1
        if verdict.ledger is not None:
            ledger = verdict.ledger
            self.seconds += ledger.ended_at - START_EPOCH
            self.requests += len(ledger.sent)
            self.boundaries += ledger.steps
            self.lives += len(ledger.lives)
            self.fired.update(ledger.faults_fired.keys())
        if verdict.wrong:
            self.found.update(verdict.oracles)
            self.failures.append((verdict.schedule.seed, verdict.oracles))

    def add(self, other: Tally) -> None:
        """Count what another one has."""
        self.schedules += other.schedules
        self.seconds += other.seconds
        self.requests += other.requests
        self.boundaries += other.boundaries
        self.lives += other.lives
        self.fired.update(other.fired)
        self.found.update(other.found)
        self.failures.extend(other.failures)
        self.points += other.points
        self.bad_points.extend(other.bad_points)

    @property
    def violations(self) -> int:
        """Schedules and crash points at which a promise was broken."""
        return len(self.failures) + len(self.bad_points)


def tally_of(seeds: Sequence[int]) -> Tally:
    """Play the schedules of these seeds."""
    tally = Tally()
    for seed in seeds:
        tally.take(verdict_on(schedule_of(seed)))
    return tally


def tally_of_points(place: int, every: int, first: int) -> Tally:
    """Cut one story at one of so many of its boundaries, beginning with that one."""
    story, tally = STORIES[place], Tally()
    for number, name in list(story.points())[first::every]:
        verdict = verdict_on(story.cut_at(number))
        tally.points += 1
        tally.bad_points.extend(f"{story.name}, cut at boundary {number} ({name}): {text}" for text in verdict.wrong)
    return tally


@define
class _Piece:
    """Work for one worker."""

    seeds: Sequence[int] = ()
    story: int = -1
    share: int = 0
    shares: int = 1

    def work(self) -> Tally:
        if self.story >= 0:
            return tally_of_points(self.story, self.shares, self.share)
        return tally_of(self.seeds)


def _work(piece: _Piece) -> Tally:
    return piece.work()


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pieces(first: int, schedules: int, *, points: bool) -> Iterator[_Piece]:
    if points:
        for story in range(len(STORIES)):
            yield from (_Piece(story=story, share=share, shares=4) for share in range(4))
    for start in range(first, first + schedules, PIECE):
        yield _Piece(seeds=range(start, min(start + PIECE, first + schedules)))


def _played(pieces: list[_Piece], jobs: int) -> Generator[Tally, None, None]:
    if jobs <= 1 or len(pieces) <= 1:
        yield from map(_work, pieces)
        return
    pool = multiprocessing.get_context("spawn").Pool(jobs, initializer=_leave_signals_to_the_parent)
    try:
        yield from pool.imap_unordered(_work, pieces)
    finally:
        pool.terminate()
        pool.join()


def simulate(first: int, schedules: int, *, jobs: int | None = None, points: bool | None = None) -> int:
    """Play that many schedules from that seed on, report, and answer the exit status: 1 if a promise was broken."""
    cores = jobs or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1
    wanted = points if points is not None else schedules >= CRASH_POINTS_FROM
    total = Tally()
    interrupted = False
    progress = _Progress(schedules, sys.stderr)
    work = list(_pieces(first, schedules, points=wanted))
    with contextlib.closing(_played(work, cores)) as played:
        try:
            for tally in played:
                total.add(tally)
                progress.tell(total)
        except KeyboardInterrupt:
            interrupted = True
    with contextlib.suppress(KeyboardInterrupt):
        _report(total, print)
    print(json.dumps(summary(total, first, interrupted=interrupted)))  # noqa: T201 - programs read it
    return 1 if total.violations else 0


@define
class _Progress:
    """Tells now and then how far it is, and at once what failed: a run that is cut off has not been for nothing."""

    schedules: int
    out: TextIO
    failures: int = 0
    began: float = field(factory=time.monotonic)
    told_at: float = field(factory=time.monotonic)

    def tell(self, total: Tally) -> None:
        for seed, oracles in total.failures[self.failures :]:
            self._say(f"seed {seed}: {', '.join(oracles)}; play it again: {replay(seed)}")
        self.failures = len(total.failures)
        now = time.monotonic()
        if now - self.told_at < PROGRESS_SECONDS or not total.schedules:
            return
        self.told_at = now
        per_second = total.schedules / (now - self.began)
        left = (self.schedules - total.schedules) / per_second
        points = f"{total.points} crash points, " if total.points else ""
        self._say(
            f"{points}{total.schedules:,} of {self.schedules:,} schedules, {per_second:.1f} a second, "
            f"{left / 60:.0f} min left, {total.violations} violations"
        )

    def _say(self, text: str) -> None:
        print(text, file=self.out, flush=True)


def _report(total: Tally, say: Callable[[str], None]) -> None:
    """What was done and found, for people."""
    say(
        f"{total.schedules:,} schedules, {total.seconds / HOUR:,.0f} simulated hours, {total.requests:,} requests, "
        f"{total.lives:,} lives, {total.boundaries:,} boundaries"
    )
    if total.points:
        say(f"crash points: {total.points}, violations: {len(total.bad_points)}")
    for text in total.bad_points[:20]:
        say(f"  {text}")
    say("faults met, by schedules: " + ", ".join(f"{name} {count}" for name, count in total.fired.most_common()))
    rare = [name for name in DRAWN if total.fired[name] < FIRED_MIN]
    say(f"met in fewer than {FIRED_MIN}: {', '.join(rare) or 'none'}")
    for name in ORACLES:
        say(f"{name}: {total.found[name]} violations")
    shown: set[tuple[str, ...]] = set()
    for seed, oracles in sorted(total.failures):
        if oracles in shown or len(shown) >= SHORTENED_MAX:
            say(f"seed {seed}: {', '.join(oracles)}; play it again: {replay(seed)}")
            continue
        shown.add(oracles)
        verdict = verdict_on(schedule_of(seed))
        say(told(verdict, shortest(verdict)) if verdict.wrong else f"seed {seed}: this time all was well")


def summary(total: Tally, first: int, *, interrupted: bool) -> dict[str, Any]:
    """The same for programs."""
    return {
        "schedules": total.schedules,
        "seed": first,
        "violations": total.violations,
        "simulated_hours": round(total.seconds / HOUR, 2),
        "requests": total.requests,
        "lives": total.lives,
        "boundaries": total.boundaries,
        "crash_points": total.points,
        "crash_point_violations": len(total.bad_points),
        "faults_fired": {name: total.fired[name] for name in DRAWN},
        "faults_under_50": [name for name in DRAWN if total.fired[name] < FIRED_MIN],
        "oracles": {name: total.found[name] for name in (*ORACLES, *(n for n in total.found if n not in ORACLES))},
        "failures": [
            {"seed": seed, "oracles": list(oracles), "replay": replay(seed)} for seed, oracles in sorted(total.failures)
        ],
        "interrupted": interrupted,
    }

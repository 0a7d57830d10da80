"""The story: what happens when. Each beat is one act of an ordinary user, or one trouble, at a share of the story's length."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any
from uuid import UUID

from attrs import define, frozen

from shopperd.demo.record import Asked, Role
from shopperd.demo.setting import DOCK, DOCK_V0, PLACES, VAST, Place
from shopperd.demo.stage import Stage
from shopperd.demo.words import Voice, short

FOREIGN_TAGS = ("training-run-7", "shopper-prod-2f6c1c3e-8a53-4e0e-9f5b-1d1b7d1f0a11", "Shopper-of-alice")
"""Other people's names, two of them nearly of our form."""

FOREIGN_AGE_SECONDS = 86_400.0
STORM_THRESHOLD_SECONDS = 0.4
STORM_RETRY_AFTER_SECONDS = 1
EXPIRES_SHARE = 0.2
STATE_SECONDS_MAX = 45.0
"""How long a beat waits for a session to come as far as it needs it: longer than a busy machine takes."""
KILL_ANSWER_SECONDS = 4.0
"""How late the create is answered during which the daemon is killed: later than anybody is left to hear it."""


@define
class Round:
    """One telling of the story: what later beats need to know of earlier ones."""

    short_jobs: dict[str, Asked]
    doomed: Asked | None = None
    forgotten: Asked | None = None


@frozen
class Beat:
    """One thing that happens.

    Attributes:
        share: when, as a share of the story's length; below `TROUBLES_SHARE`.
        name: what it is about, unique.
    """

    share: float
    name: str
    play: Callable[[Stage, Round], Coroutine[Any, Any, None]]


def due(beats: Iterable[Beat], before: float, now: float) -> list[Beat]:
    """The beats that fall after `before` and not after `now`, both shares of the length, in order."""
    return sorted((beat for beat in beats if before < beat.share <= now), key=lambda beat: beat.share)


async def prepare(stage: Stage) -> None:
    """Machines of other people, there before the daemon is."""
    for place in PLACES:
        for tag in FOREIGN_TAGS[: 2 if place is VAST else 1]:
            await stage.conjure(place, tag, Role.FOREIGN, age_seconds=FOREIGN_AGE_SECONDS)
            stage.tell(
                Voice.SCRIPT, f"somebody else's machine is here, tagged {tag!r}: it must stay untouched", place.name
            )


async def open_for_good(stage: Stage, _round: Round) -> None:
    """One session in each dialect that is to run to the end."""
    for place in PLACES:
        await stage.open(place, "a long job, to run to the end", keep=True)


async def open_short_jobs(stage: Stage, round_: Round) -> None:
    """Sessions that an operator will end, and one that will run out of time."""
    round_.forgotten = await stage.open(VAST, "a job that will be forgotten")
    for place in PLACES:
        round_.short_jobs[place.name] = await stage.open(place, "a short job, ended by its operator later")
    round_.doomed = await stage.open(DOCK, "its host will die")


async def lose_create_answer(stage: Stage, _round: Round) -> None:
    """The machine is rented and bills, the answer never comes: only its tag tells whose it is."""
    for place in (VAST, DOCK):
        await stage.fault(place, "create_answer_lost", count=1)
        stage.tell(Voice.TROUBLE, "the next create rents a machine and its answer gets lost", place.name)
        await stage.open(place, "its create's answer gets lost", keep=True)


async def limit_forgotten_job(stage: Stage, round_: Round) -> None:
    """A deadline that nobody will move. It is set once there is a machine, however long that took."""
    forgotten = round_.forgotten
    if forgotten is None or not await stage.wait_until(forgotten, "running", seconds=STATE_SECONDS_MAX):
        return
    await stage.limit(forgotten, stage.pace.length * EXPIRES_SHARE)


async def unknown_machine(stage: Stage, _round: Round) -> None:
    """A tag of our form that nobody remembers, in an account that others may use."""
    if stage.record.conjured_as(Role.UNKNOWN):
        return
    tag = f"shopper-{UUID(int=stage.clock.random.getrandbits(128), version=4)}"
    id_ = await stage.conjure(VAST, tag, Role.UNKNOWN)
    stage.tell(Voice.TROUBLE, f"machine {id_} appears, its tag is of our form but no memory knows it", VAST.name)


async def storm_of_429(stage: Stage, _round: Round) -> None:
    """Most calls are refused as too frequent; creates are not, so as to leave those to their own trouble."""
    seconds = stage.pace.length * 0.07
    reads = ["list", "show", "search", "destroy"]
    await stage.fault(
        VAST, "rate_limited", operation=reads, probability=0.7, seconds=seconds, threshold=STORM_THRESHOLD_SECONDS
    )
    await stage.fault(DOCK, "rate_limited", operation=reads, count=2, retry_after=STORM_RETRY_AFTER_SECONDS)
    stage.tell(Voice.TROUBLE, f"a storm of 429s for {seconds:.1f} s on both marketplaces")


async def end_short_jobs(stage: Stage, round_: Round) -> None:
    """An operator ends sessions; one marketplace lies about it, the other shows the machine for a while longer."""
    jobs = round_.short_jobs
    await stage.fault(VAST, "destroy_ignored", count=1)
    stage.tell(Voice.TROUBLE, "the next destroy is answered 200 and does nothing", VAST.name)
    linger = stage.pace.length * 0.06
    await stage.fault(DOCK, "destroy_lingers", count=1, linger=linger)
    stage.tell(Voice.TROUBLE, f"the next machine that is destroyed is shown for another {linger:.1f} s", DOCK.name)
    for asked in jobs.values():
        await stage.end(asked, "the job is done")


async def lose_a_page(stage: Stage, _round: Round) -> None:
    """A listing without its last rows: its total tells, so it proves nothing about what is missing."""
    seconds = stage.pace.length * 0.05
    await stage.fault(VAST, "list_rows_missing", rows=2, seconds=seconds)
    stage.tell(Voice.TROUBLE, f"listings lack their last rows for {seconds:.1f} s", VAST.name)


async def lie_in_listings(stage: Stage, _round: Round) -> None:
    """Good, complete listings of nothing while machines run: nothing may be destroyed or given up for lost."""
    seconds = stage.pace.length * 0.08
    for place in (VAST, DOCK):
        await stage.fault(place, "list_empty", seconds=seconds)
        stage.tell(Voice.TROUBLE, f"listings say 200 and no machines at all for {seconds:.1f} s: a lie", place.name)


async def kill_in_a_create(stage: Stage, _round: Round) -> None:
    """The machine is rented; before the answer comes there is no daemon any more."""
    await stage.fault(VAST, "create_slow", count=1, delay=KILL_ANSWER_SECONDS)
    asked = await stage.open(VAST, "asked for right before the daemon is killed", keep=True)
    await _wait_for_machine(stage, VAST, asked)
    stage.tell(Voice.TROUBLE, "kill -9 hits the daemon while a create is on its way")
    stage.record.kills += 1
    await stage.kill_daemon()
    stage.record.revivals += 1
    stage.tell(Voice.SCRIPT, "the daemon was started again on the same store and is ready")


async def _wait_for_machine(stage: Stage, place: Place, asked: Asked) -> None:
    deadline = stage.clock.monotonic() + KILL_ANSWER_SECONDS
    while stage.clock.monotonic() < deadline:
        _, machines = await stage.simulator(place).machines()
        if any(machine.tag == asked.tag for machine in machines):
            return
        await stage.clock.sleep(0.05)


async def come_back(stage: Stage, round_: Round) -> None:
    """Machines of sessions that are over are there again, as after an answer that was very late."""
    for place in (VAST, DOCK_V0):
        asked = round_.short_jobs[place.name]
        if not await stage.wait_until(asked, "ended", seconds=STATE_SECONDS_MAX):
            continue
        id_ = await stage.conjure(place, asked.tag, Role.ORPHAN)
        stage.tell(
            Voice.TROUBLE, f"machine {short(id_)} appears with the tag of ended session {short(asked.id)}", place.name
        )


async def let_host_die(stage: Stage, round_: Round) -> None:
    """A machine is gone and nobody asked for it."""
    doomed = round_.doomed
    if doomed is None or not await stage.wait_until(doomed, "running", seconds=STATE_SECONDS_MAX):
        return
    id_ = await stage.take_away(DOCK, doomed)
    if id_ is not None:
        stage.tell(
            Voice.TROUBLE, f"the host of session {short(doomed.id)} dies, and machine {short(id_)} with it", DOCK.name
        )


BEATS: tuple[Beat, ...] = (
    Beat(0.0, "sessions that stay", open_for_good),
    Beat(0.01, "sessions that go", open_short_jobs),
    Beat(0.08, "lost create answers", lose_create_answer),
    Beat(0.1, "a deadline", limit_forgotten_job),
    Beat(0.14, "an unknown machine", unknown_machine),
    Beat(0.17, "a storm of 429s", storm_of_429),
    Beat(0.25, "operators end sessions", end_short_jobs),
    Beat(0.31, "a missing page", lose_a_page),
    Beat(0.37, "a lying listing", lie_in_listings),
    Beat(0.47, "kill -9", kill_in_a_create),
    Beat(0.52, "machines come back", come_back),
    Beat(0.55, "a host dies", let_host_die),
)


async def calm(stage: Stage) -> None:
    """Troubles stop, and whoever is not to stay is ended.

    A session whose machine was taken away is left to be found lost, and one with a lifetime to run out of it.
    """
    await stage.switch_off_faults()
    stage.tell(Voice.SCRIPT, "no more troubles: every fault is off")
    for asked in stage.record.asked.values():
        if not (asked.keep or asked.over_at is not None or asked.machine_lost_at is not None):
            await stage.end(asked, "the demo is nearly over")


async def make_room(stage: Stage) -> None:
    """Between two rounds: what was kept through the last one is ended, so that the next begins with few machines."""
    for asked in stage.record.asked.values():
        if asked.over_at is None and asked.machine_lost_at is None:
            await stage.end(asked, "the next round begins")

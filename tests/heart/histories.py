"""Random histories of an account, judged from outside: whatever the listings say, evidence decides.

The world here is a plain dictionary of machines; the judge never looks at what the code believed.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from attrs import define, evolve, field

from shopperd.lifecycle import moved
from shopperd.model import CreateOutcome, Instance, SessionState
from shopperd.reconcile import Account, Authority, Window, command_for, may_send, observe, plan, settle, wants_proof
from shopperd.sightings import is_present
from tests.nouns import NOW, SETTINGS, account, after, instance, session, snapshot

IDS = tuple("abcdef")
SESSIONS = (1, 2, 3)
STEPS_MAX = 30
HEALING_ROUNDS = 14
NOTHING = evolve(
    SETTINGS,
    orphans=evolve(
        SETTINGS.orphans, max_destroys_per_sweep=0, max_share_per_sweep=0.0, max_share_per_hour=1.0, grace=0.0
    ),
)
UNLIMITED = evolve(SETTINGS, orphans=evolve(SETTINGS.orphans, max_destroys_per_sweep=100, max_share_per_hour=1.0))


def _waiting() -> Account:
    waiting = [
        session(
            number,
            SessionState.CREATING,
            create_outcome=CreateOutcome.UNCLEAR,
            create_deadline_at=NOW + timedelta(hours=9),
        )
        for number in SESSIONS
    ]
    return account(*waiting)


@define
class World:
    """Machines that exist, and an account that hears of them through listings that may lie."""

    rng: random.Random
    known: Account = field(factory=_waiting)
    machines: dict[str, Instance] = field(factory=dict)
    in_a_row: dict[str, int] = field(factory=dict)
    ended: set[int] = field(factory=set)
    at: timedelta = timedelta()

    @property
    def now(self) -> datetime:
        return NOW + self.at

    def live(self, steps: int) -> None:
        """Let so many things happen."""
        for _ in range(steps):
            self.at += timedelta(seconds=1)
            self.rng.choice(
                (
                    self.rent,
                    self.rent,
                    self.vanish,
                    self.end,
                    self.look,
                    self.look,
                    self.look,
                    self.prove,
                    self.sweep,
                    self.wait,
                )
            )()

    def rent(self) -> None:
        id_, owner = self.rng.choice(IDS), self.rng.choice((*SESSIONS, None))
        # Within one and a half minutes of a start the same id may be the same machine: nobody can tell.
        self.at += timedelta(seconds=100)
        if id_ not in self.machines:
            foreign = {"tag": "theirs"} if owner is None else {}
            self.machines[id_] = instance(id_, owner, started_at=self.now, **foreign)

    def vanish(self) -> None:
        self.machines.pop(self.rng.choice(IDS), None)

    def wait(self) -> None:
        self.at += timedelta(seconds=self.rng.randint(1, 600))

    def end(self) -> None:
        number = self.rng.choice(SESSIONS)
        one = self.known.sessions[session(number).id]
        if one.state.live and one.instance_id is not None:
            ending = moved(one, SessionState.ENDING, self.now, reason="test")
            job = evolve(command_for(ending, self.known.tracks.get(one.instance_id), self.now), id=1)
            self.ended.add(number)
            self.known = evolve(
                self.known,
                sessions={**self.known.sessions, one.id: ending},
                jobs={**self.known.jobs, job.instance_id: job},
            )

    def look(self) -> None:
        """One to three listings, true or not, complete or not."""
        how = self.rng.choice(("truth", "truth", "truth", "empty", "half"))
        complete = self.rng.random() < 0.75
        for _ in range(self.rng.randint(1, 3)):
            shown = [] if how == "empty" else list(self.machines.values())
            self.see(shown[: len(shown) // 2] if how == "half" else shown, complete=complete)

    def see(self, shown: list[Instance], *, complete: bool = True) -> None:
        """One listing."""
        self.at += timedelta(seconds=20)
        seen = snapshot(*shown, at=self.now, complete=complete)
        self.at += timedelta(seconds=1)
        if complete:
            self.in_a_row = {one.id: self.in_a_row.get(one.id, 0) + 1 for one in shown}
        self.known = after(self.known, observe(self.known, seen, UNLIMITED, self.now))

    def prove(self) -> None:
        missing = wants_proof(self.known, UNLIMITED, self.now)
        gone = [one.instance.id for one in missing if one.instance.id not in self.machines]
        self.known = after(self.known, settle(self.known, gone, UNLIMITED, self.now))

    def sweep(self) -> None:
        made = plan(self.known, UNLIMITED, Authority(), Window(), self.now, snapshot_is_fresh=True)
        for number, destroy in enumerate(made.destroys):
            self.judge(destroy.instance_id)
            jobs = {**self.known.jobs, destroy.instance_id: evolve(destroy, id=number + 1)}
            self.known = evolve(self.known, jobs=jobs)

    def judge(self, id_: str) -> None:
        """No verdict falls on a machine that is not there, not ours, claimed, or seen too rarely."""
        track, machine = self.known.tracks[id_], self.machines.get(id_)
        assert is_present(track)
        assert self.in_a_row.get(id_, 0) >= UNLIMITED.orphans.sightings
        assert self.now - track.first_seen_at >= timedelta(seconds=UNLIMITED.orphans.grace)
        if machine is None or machine.started_at != track.instance.started_at:
            return  # It went after the newest listing; the last look will tell.
        assert machine.session_id is not None, "a foreign machine was condemned"
        claim = self.known.sessions[machine.session_id]
        assert not (claim.state.live and claim.instance_id in (None, id_)), "a claimed machine was condemned"

    def judge_requests(self) -> None:
        """No request is sent for a machine that a live session claims."""
        for destroy in self.known.jobs.values():
            track = self.known.tracks.get(destroy.instance_id)
            if may_send(self.known, destroy, Authority(), UNLIMITED.orphans, self.now) is not None or track is None:
                continue
            if track.instance.session_id is not None:
                claim = self.known.sessions[track.instance.session_id]
                assert not (claim.state.live and claim.instance_id in (None, destroy.instance_id))


def history_condemns_by_evidence(rng: random.Random) -> None:
    world = World(rng)
    for _ in range(3):
        world.live(rng.randint(0, STEPS_MAX // 3))
        world.judge_requests()
        made = plan(world.known, NOTHING, Authority(), Window(), world.now, snapshot_is_fresh=True)
        assert made.destroys == (), "limits at zero condemned somebody"


def history_heals(rng: random.Random) -> None:
    world = World(rng)
    world.live(rng.randint(0, STEPS_MAX))
    # Healing: truth only, for as long as the slowest rule asks for.
    for _ in range(HEALING_ROUNDS):
        world.see(list(world.machines.values()))
        world.see(list(world.machines.values()))
        world.at += timedelta(seconds=120)
        world.prove()
        world.sweep()
        for id_, destroy in world.known.jobs.items():
            if may_send(world.known, destroy, Authority(), UNLIMITED.orphans, world.now) is None:
                world.machines.pop(id_, None)
    for id_, machine in world.machines.items():
        if machine.session_id is not None:
            claim = world.known.sessions[machine.session_id]
            assert claim.state.live, f"{id_} leaks: {world.known.tracks.get(id_)}"
            assert claim.instance_id == id_, f"{id_} leaks: {world.known.tracks.get(id_)}"
    for one in world.known.sessions.values():
        assert one.state is not SessionState.ENDING, "a session never ends"
        if one.state.live and one.instance_id is not None:
            assert world.machines[one.instance_id].session_id == one.id, "belief is not truth"
    assert all(id_ in world.machines for id_ in world.known.jobs), "a destroy of nothing is never closed"

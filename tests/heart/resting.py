"""Random lives of a fleet that is mostly at rest: whatever is left out of a look, its answer is that of the whole look."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from attrs import define, evolve, field

from shopperd.model import Instance, InstanceState, Ownership, Session, SessionState, Snapshot
from shopperd.reconcile import Account, Authority, Window, observe, plan, settle, wants_proof
from shopperd.rest import NO_REST
from shopperd.settings import Settings
from tests.heart.cases import MINUTE, instance_at_random, job_at_random, session_at_random, settings_of
from tests.nouns import NOW, account, after, instance, job, session, sid, snapshot

FLEET = 4
"""Machines that are each bound to a session at first; their ids are their numbers."""

LOOKS = 10
SETTLING_LOOKS = 5
"""So many looks at a fleet that nothing happens to, before something does: until then nothing is at rest."""

STRANGERS = ("x", "y")


def _at_first() -> Account:
    return account(*(session(n, instance_id=str(n)) for n in range(1, FLEET + 1)))


def _machines() -> dict[str, Instance]:
    return {str(n): instance(str(n), n) for n in range(1, FLEET + 1)}


@define
class Life:
    """A fleet, what is known of it, and how much of that was left out of its looks so far."""

    rng: random.Random
    settings: Settings
    known: Account = field(factory=_at_first)
    machines: dict[str, Instance] = field(factory=_machines)
    now: datetime = NOW
    left_out: int = 0

    def go_on(self) -> None:
        """Everything that may happen, in any order, with looks in between."""
        for number in range(SETTLING_LOOKS + LOOKS):
            self.now += self.rng.choice((1, 2, 5)) * MINUTE
            if number >= SETTLING_LOOKS:
                for _ in range(self.rng.choice((0, 0, 1, 2))):
                    self.rng.choice(EVENTS)(self)
            self.look(self._listing(true=number < SETTLING_LOOKS))

    def look(self, seen: Snapshot) -> None:
        """One look, with and without what is at rest."""
        whole = observe(evolve(self.known, rest=NO_REST), seen, self.settings, self.now)
        found = observe(self.known, seen, self.settings, self.now)
        assert found == whole, "another answer than that of the whole look"
        plans = [
            plan(after(self.known, one), self.settings, Authority(), Window(), self.now, snapshot_is_fresh=True)
            for one in (found, whole)
        ]
        assert plans[0] == plans[1], "another plan than that after the whole look"
        self.left_out += len(found.rest.machines)
        self.known = after(self.known, found)
        if seen.complete:
            before = self.known.last_complete_at
            self.known = evolve(self.known, last_complete_at=seen.started_at, missed_since=before)

    def _listing(self, *, true: bool) -> Snapshot:
        shown = [one if self.rng.random() < 0.8 else evolve(one) for one in self.machines.values()]
        if true:
            return snapshot(*shown, at=self.now)
        if self.rng.random() < 0.2:
            shown = [one for one in shown if self.rng.random() < 0.8]
        if self.rng.random() < 0.2:
            self.rng.shuffle(shown)
        if shown and self.rng.random() < 0.1:
            one = self.rng.choice(shown)
            shown.insert(
                self.rng.randint(0, len(shown)),
                self.rng.choice((one, evolve(one, price_per_hour=9.0), evolve(one, started_at=NOW))),
            )
        at = self.now - self.rng.choice((0, 0, 0, 3)) * timedelta(seconds=1)
        return snapshot(*shown, at=at, complete=self.rng.random() < 0.85)

    # --- what happens to machines

    def edit(self) -> None:
        if self.machines:
            one = self.rng.choice(list(self.machines.values()))
            other = instance_at_random(self.rng, one.id)
            parts: tuple[dict[str, Any], ...] = (
                {"tag": other.tag, "session_id": other.session_id},
                {"state": self.rng.choice(tuple(InstanceState))},
                {"price_per_hour": self.rng.choice((None, 0.5, 2.0))},
                {"started_at": self.rng.choice((None, NOW - 50 * MINUTE, self.now))},
                {"ownership": self.rng.choice(tuple(Ownership))},
                {"address": "192.0.2.1"},
            )
            self.machines[one.id] = evolve(one, **self.rng.choice(parts))

    def vanish(self) -> None:
        if self.machines:
            del self.machines[self.rng.choice(sorted(self.machines))]

    def appear(self) -> None:
        id_ = self.rng.choice((*STRANGERS, str(self.rng.randint(1, FLEET))))
        self.machines[id_] = instance_at_random(self.rng, id_)

    def come_back(self) -> None:
        number = self.rng.randint(1, FLEET)
        self.machines[str(number)] = instance(str(number), number)

    # --- what happens in the store

    def prove(self) -> None:
        gone = [track.instance.id for track in wants_proof(self.known, self.settings, self.now)]
        self.known = after(self.known, evolve(settle(self.known, gone, self.settings, self.now), rest=self.known.rest))

    def change_session(self) -> None:
        one = self.rng.choice(list(self.known.sessions.values()))
        other = session_at_random(self.rng, 1, self.rng.choice((*map(str, range(1, FLEET + 1)), *STRANGERS)))
        parts: tuple[dict[str, Any], ...] = (
            {"expires_at": self.now + self.rng.choice((-1, 1, 5, 59, 60, 61, 600)) * MINUTE},
            {"expires_at": None},
            {"exempt": not one.exempt},
            {"price_per_hour": self.rng.choice((None, 0.5, 7.0))},
            {"state": SessionState.ENDING, "reason": self.rng.choice(("ended by request", "expired"))},
            {"instance_id": other.instance_id or one.instance_id},
            {
                "created_at": self.now + self.rng.choice((-600, 5)) * MINUTE,
                "create_deadline_at": self.now + 90 * MINUTE,
            },
            {"account": self.rng.choice((self.known.name, "elsewhere"))},
        )
        self._put(evolve(one, version=one.version + 1, **self.rng.choice(parts)))

    def end(self) -> None:
        """As a person does it, with the destroy that follows; which may be over later, and the machine there again."""
        one = self.rng.choice(list(self.known.sessions.values()))
        if one.instance_id is not None and one.state.live and one.account == self.known.name:
            self._put(evolve(one, state=SessionState.ENDING, reason="ended by request", version=one.version + 1))
            self.known = evolve(self.known, jobs={**self.known.jobs, one.instance_id: job(one.instance_id)})

    def add_session(self) -> None:
        number = self.rng.randint(1, FLEET + 3)
        id_ = self.rng.choice((*map(str, range(1, FLEET + 1)), *STRANGERS))
        made = session_at_random(self.rng, number, id_)
        self._put(evolve(made, account=self.rng.choice((self.known.name, self.known.name, "elsewhere"))))

    def forget_session(self) -> None:
        number = sid(self.rng.randint(1, FLEET + 3))
        self.known = evolve(
            self.known, sessions={id_: one for id_, one in self.known.sessions.items() if id_ != number}
        )

    def _put(self, one: Session) -> None:
        self.known = evolve(self.known, sessions={**self.known.sessions, one.id: one})

    def change_track(self) -> None:
        if self.known.tracks:
            id_ = self.rng.choice(sorted(self.known.tracks))
            track = self.known.tracks[id_]
            parts: tuple[dict[str, Any], ...] = (
                {"exempt": not track.exempt},
                {"absences": 1},
                {"first_seen_at": self.now + 5 * MINUTE},
                {"gone_at": self.now},
                {},
            )
            self.known = evolve(self.known, tracks={**self.known.tracks, id_: evolve(track, **self.rng.choice(parts))})

    def add_job(self) -> None:
        if self.known.tracks:
            id_ = self.rng.choice(sorted(self.known.tracks))
            made = job_at_random(self.rng, self.known.tracks[id_].instance, self.now)
            self.known = evolve(self.known, jobs={**self.known.jobs, id_: made})

    def drop_job(self) -> None:
        if self.known.jobs:
            over = self.rng.choice(sorted(self.known.jobs))
            self.known = evolve(self.known, jobs={id_: one for id_, one in self.known.jobs.items() if id_ != over})

    def reread(self) -> None:
        self.known = evolve(self.known, tracks={id_: evolve(one) for id_, one in self.known.tracks.items()})

    def restore(self) -> None:
        self.known = evolve(self.known, restored_at=self.now)

    # --- what happens to time and to settings

    def set_clock_back(self) -> None:
        self.now -= self.rng.choice((3, 30)) * MINUTE

    def wait(self) -> None:
        self.now += self.rng.choice((20, 59, 60, 600)) * MINUTE

    def reload(self) -> None:
        life = self.rng.choice((0.0, 3600.0, 4 * 3600.0))
        changed = evolve(self.settings.sessions, max_lifetime=life, create_deadline=self.rng.choice((60.0, 900.0)))
        self.settings = evolve(settings_of(self.rng), sessions=changed)


EVENTS: tuple[Callable[[Life], None], ...] = (
    Life.edit,
    Life.edit,
    Life.vanish,
    Life.appear,
    Life.come_back,
    Life.prove,
    Life.change_session,
    Life.change_session,
    Life.end,
    Life.add_session,
    Life.forget_session,
    Life.change_track,
    Life.add_job,
    Life.drop_job,
    Life.reread,
    Life.restore,
    Life.set_clock_back,
    Life.wait,
    Life.reload,
)
"""Whatever may happen between two looks."""


def history_at_rest_is_answered_as_a_whole(rng: random.Random) -> None:
    life = Life(rng, settings_of(rng))
    life.go_on()
    assert life.left_out, "nothing ever was at rest, and so nothing was tried"

"""Machines at rest: what the newest looks found to change nothing, so that the next one need not look at it again.

Pure. A machine at rest is a row of a listing, the memory of that machine, and the live session that it is bound to. The three name
each other, and no other row or session names one of them. The whole code of `reconcile` has looked at them and left all three
as they were, and none of them can change. So, while a complete listing shows the same row, and the store tells the very same
track and session, only time could bring another answer. Whose session has a deadline that is near is never at rest, and no
rest lasts longer than `REST_MAX`, or outlives a clock that is put back.

Nobody has to end it, and so nobody can forget to: each look finds out what still stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from attrs import evolve, field, frozen

from shopperd.model import Instance, Session, Snapshot, Track
from shopperd.settings import SessionSettings

REST_MAX = timedelta(hours=1)
"""After so long everything is looked at again. More would gain nothing: one whole look in an hour is lost among the others."""

Trio: TypeAlias = tuple[Instance, Track, Session]
"""The row that a listing shows of a machine, its memory, and the session that it is bound to."""

_LONG_OVER = datetime.min.replace(tzinfo=UTC)


@frozen(eq=False)
class Stirred:
    """What is to be looked at: rows, tracks by instance id, and sessions, in the order in which they were told."""

    rows: tuple[Instance, ...]
    tracks: Mapping[str, Track]
    sessions: Sequence[Session]


@frozen(eq=False)
class Rest:
    """The machines of an account at rest.

    Attributes:
        machines: each with its row, track and session, by instance id.
        since: when they were last found to be at rest.
        until: when this rest ends as a whole.
        settings: by which they are at rest.
        told, stirred: all rows, tracks and sessions of the newest look, and those of them that are not at rest. To find that
            nothing at all has changed takes a tenth of the time that it takes to find out what has.
    """

    machines: Mapping[str, Trio] = field(factory=dict)
    since: datetime = _LONG_OVER
    until: datetime = _LONG_OVER
    settings: SessionSettings | None = None
    told: tuple[Any, ...] = ()
    stirred: Stirred | None = None

    def stirred_by(
        self,
        snapshot: Snapshot,
        tracks: Mapping[str, Track],
        sessions: Mapping[UUID, Session],
        settings: SessionSettings,
        now: datetime,
    ) -> tuple[Rest, Stirred]:
        """What still is at rest in a snapshot, with what the store tells now; and all else."""
        everything = Stirred(snapshot.instances, tracks, tuple(sessions.values()))
        in_time = self.since <= min(now, snapshot.ended_at) and now < self.until
        if not (self.machines and snapshot.complete and in_time and settings == self.settings):
            return NO_REST, everything
        told = (snapshot.instances, tuple(tracks.values()), everything.sessions)
        if self.stirred is not None and told == self.told:
            return self, self.stirred
        shown = {row.id: row for row in snapshot.instances}
        if len(shown) < len(snapshot.instances):  # two rows of one machine
            return NO_REST, everything
        left = self._without(self._ended(shown, tracks, everything.sessions))
        stirred = Stirred(
            tuple(row for row in snapshot.instances if row.id not in left.machines),
            {id_: track for id_, track in tracks.items() if id_ not in left.machines},
            tuple(session for session in everything.sessions if session.instance_id not in left.machines),
        )
        return evolve(left, told=told, stirred=stirred), stirred

    def joined(self, trios: Iterable[Trio], settings: SessionSettings, now: datetime) -> Rest:
        """The same, with those of these machines that nothing awaits before it ends.

        Nothing but them may name one of the three, and a complete look has just left all three as they were.
        """
        until = self.until if self.machines else now + REST_MAX
        came = {trio[0].id: trio for trio in trios if _is_undisturbed(trio, settings, now, until)}
        if not came:
            return evolve(self, since=now)
        return Rest({**self.machines, **came}, now, until, settings)

    def _ended(
        self, shown: Mapping[str, Instance], tracks: Mapping[str, Track], sessions: Sequence[Session]
    ) -> Iterable[str | None]:
        """The machines that are not as they were, or that another session names; and others, which never were at rest."""
        for id_, (row, track, _) in self.machines.items():
            row_now = shown.get(id_)
            if (row_now is not row and row_now != row) or tracks.get(id_) is not track:
                yield id_
        bound = {session.instance_id: session for session in sessions}
        for id_, (_, _, session) in self.machines.items():
            if bound.get(id_) is not session:
                yield id_
        if len(bound) < len(sessions):
            yield from (one.instance_id for one in sessions if bound[one.instance_id] is not one)

    def _without(self, ended: Iterable[str | None]) -> Rest:
        machines = dict(self.machines)
        for id_ in ended:
            machines.pop(id_ or "", None)
        return evolve(self, machines=machines)


NO_REST = Rest()
"""Where everything is to be looked at."""


def _is_undisturbed(trio: Trio, settings: SessionSettings, now: datetime, until: datetime) -> bool:
    """Whether no moment between these two could bring another answer, and the first is not behind what is remembered."""
    _, track, session = trio
    if track.first_seen_at > now:
        return False
    if session.expires_at is not None and session.expires_at <= until:
        return False
    longest = settings.max_lifetime
    return longest <= 0 or session.created_at + timedelta(seconds=longest) > until

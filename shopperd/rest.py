"""Machines at rest: what the newest looks found to change nothing, so that the next one need not look at it again.

Pure. A machine at rest is a row of a listing, the memory of that machine, and the live session that it is bound to. The three name
each other, and no other row or session names one of them. The whole code of `reconcile` has looked at them and left all three
as they were, and none of them can change. So, while a complete listing shows the same row, and the store tells the very same
track and session, only time could bring another answer. Whose session has a deadline that is near is never at rest, and no
rest lasts longer than `REST_MAX`, or outlives a clock that is put back.

Nobody has to end it, and so nobody can forget to: each look finds out what still stands.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, TypeVar
from uuid import UUID

from attrs import evolve, field, frozen

from shopperd.model import Instance, Session, Snapshot, Track
from shopperd.settings import SessionSettings

_T = TypeVar("_T")

REST_MAX = timedelta(hours=1)
"""After so long everything is looked at again. More would gain nothing: one whole look in an hour is lost among the others."""

Trio: TypeAlias = tuple[Instance, Track, Session]
"""The row that a listing shows of a machine, its memory, and the session that it is bound to."""

Told: TypeAlias = tuple[Sequence[Instance], Sequence[Track], Sequence[Session]]
"""All that one look was told."""

NOTHING: Told = ((), (), ())

BLOCK = 256
"""So many are compared at once, which is quick where they are the same."""

_LONG_OVER = datetime.min.replace(tzinfo=UTC)


@frozen(eq=False)
class Stirred:
    """What is to be looked at: rows, tracks by instance id, and sessions, in the order in which they were told."""

    rows: tuple[Instance, ...]
    tracks: Mapping[str, Track]
    sessions: Sequence[Session]

    def without(self, machines: Container[str | None]) -> Stirred:
        """All of it that does not name one of these machines."""
        return Stirred(
            tuple(row for row in self.rows if row.id not in machines),
            {id_: track for id_, track in self.tracks.items() if id_ not in machines},
            tuple(session for session in self.sessions if session.instance_id not in machines),
        )


@frozen(eq=False)
class Rest:
    """The machines of an account at rest.

    Attributes:
        machines: each with its row, track and session, by instance id.
        since: when they were last found to be at rest.
        until: when this rest ends as a whole.
        settings: by which they are at rest.
        told, stirred: all rows, tracks and sessions of the newest look, and those of them that are not at rest. What has changed
            since is found by their places in a fraction of the time that it takes to find it by their names.
    """

    machines: Mapping[str, Trio] = field(factory=dict)
    since: datetime = _LONG_OVER
    until: datetime = _LONG_OVER
    settings: SessionSettings | None = None
    told: Told = NOTHING
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
        ended = None
        if self.stirred is not None:
            ended = self._ended_in_place(told)
            if ended == set():
                return self, self.stirred
        if ended is None:
            ended = self._ended(*told)
        if ended is None:
            return NO_REST, everything
        left = self._without(ended)
        stirred = everything.without(left.machines)
        return evolve(left, told=told, stirred=stirred), stirred

    def joined(self, trios: Iterable[Trio], settings: SessionSettings, now: datetime) -> Rest:
        """The same, with those of these machines that nothing awaits before it ends.

        Nothing but them may name one of the three, and a complete look has just left all three as they were.
        """
        until = self.until if self.machines else now + REST_MAX
        came = {trio[0].id: trio for trio in trios if _is_undisturbed(trio, settings, now, until)}
        if not came:
            return evolve(self, since=now)
        stirred = self.stirred.without(came) if self.stirred is not None else None
        return Rest({**self.machines, **came}, now, until, settings, self.told, stirred)

    def _ended_in_place(self, told: Told) -> set[str | None] | None:
        """The machines that whatever differs from the newest look names; None where something came, went, or stands elsewhere."""
        if tuple(map(len, told)) != tuple(map(len, self.told)):
            return None
        ended: set[str | None] = set()
        for row, row_now in _differing(self.told[0], told[0]):
            if row.id != row_now.id:
                return None
            ended.add(row.id)
        for track, track_now in _differing(self.told[1], told[1]):
            if track.instance.id != track_now.instance.id:
                return None
            ended.add(track.instance.id)
        for session, session_now in _differing(self.told[2], told[2]):
            if session.id != session_now.id:
                return None
            ended.update((session.instance_id, session_now.instance_id))
        return ended

    def _ended(
        self, rows: Sequence[Instance], tracks: Sequence[Track], sessions: Sequence[Session]
    ) -> set[str | None] | None:
        """The machines that are not as they were, or that another session names; and others, which never were at rest.

        None where two rows are of one machine.
        """
        shown = {row.id: row for row in rows}
        if len(shown) < len(rows):
            return None
        known = {track.instance.id: track for track in tracks}
        bound = {session.instance_id: session for session in sessions}
        ended: set[str | None] = set()
        for id_, (row, track, session) in self.machines.items():
            row_now = shown.get(id_)
            if (row_now is not row and row_now != row) or known.get(id_) is not track or bound.get(id_) is not session:
                ended.add(id_)
        if len(bound) < len(sessions):
            ended.update(one.instance_id for one in sessions if bound[one.instance_id] is not one)
        return ended

    def _without(self, ended: Iterable[str | None]) -> Rest:
        machines = dict(self.machines)
        for id_ in ended:
            machines.pop(id_ or "", None)
        return evolve(self, machines=machines)


NO_REST = Rest()
"""Where everything is to be looked at."""


def _differing(before: Sequence[_T], now: Sequence[_T]) -> Iterator[tuple[_T, _T]]:
    """What differs in its place, of two sequences of one length."""
    for start in range(0, len(now), BLOCK):
        old, new = before[start : start + BLOCK], now[start : start + BLOCK]
        if old != new:
            yield from (pair for pair in zip(old, new, strict=True) if pair[0] != pair[1])


def _is_undisturbed(trio: Trio, settings: SessionSettings, now: datetime, until: datetime) -> bool:
    """Whether no moment between these two could bring another answer, and the first is not behind what is remembered."""
    _, track, session = trio
    if track.first_seen_at > now:
        return False
    if session.expires_at is not None and session.expires_at <= until:
        return False
    longest = settings.max_lifetime
    return longest <= 0 or session.created_at + timedelta(seconds=longest) > until

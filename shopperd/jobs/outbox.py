"""Which event a hook is sent next. Pure: the caller reads the audit trail, sends, and records the place.

The events of one session, or of one machine without one, are a lane: the next one goes only when the one before it was taken.
Lanes do not wait for each other, except that a window of the trail bounds how far the others may be ahead, and that a receiver
that nothing gets through to is asked again only after a pause.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from uuid import UUID

from attrs import define, field

from shopperd.model import Event
from shopperd.store.hooks import Place, Window

WINDOW = 1000
"""So many events are looked at from the first on that was not taken: what is remembered of those ahead stays small."""

RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 300.0
JITTER_SHARE = 0.2

FAILING_MAX = 16
"""With so many lanes failing it is the receiver that fails, and only they are tried until one gets through."""

Lane = UUID | tuple[str | None, str | None]


@define
class Pause:
    """How long to wait after failures in a row. `until` is in seconds of the steady clock."""

    failures: int = 0
    until: float = 0.0

    def lengthen(self, now: float, chance: random.Random) -> None:
        """Count one more failure, and wait twice as long as after the one before."""
        # Beyond a hundred doublings only the longest pause is left, and a float would overflow.
        seconds = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2 ** min(self.failures, 100))
        self.failures += 1
        self.until = now + seconds * chance.uniform(1.0 - JITTER_SHARE, 1.0 + JITTER_SHARE)


@define
class Outbox:
    """What one hook was sent, and what it waits for.

    Attributes:
        patterns: the kinds of events that it wants.
        cursor: every event up to this number is done with.
        ahead: numbers beyond it that were taken already.
        failing: the lanes whose next event was not taken.
        silence: the pause of all, while nothing gets through.
    """

    patterns: Sequence[str]
    cursor: int
    ahead: set[int]
    failing: dict[Lane, Pause] = field(factory=dict)
    silence: Pause = field(factory=Pause)

    @classmethod
    def at(cls, place: Place, patterns: Sequence[str]) -> Outbox:
        """One that goes on where it was."""
        return cls(patterns, place.cursor, set(place.ahead))

    @property
    def place(self) -> Place:
        """What must survive."""
        return Place(self.cursor, tuple(sorted(self.ahead)))

    def advance(self, window: Window) -> None:
        """Move the cursor over all that is done with."""
        pending = self.pending(window.events)
        self.cursor = max(self.cursor, pending[0].id - 1 if pending else window.reach)
        self.ahead = {number for number in self.ahead if number > self.cursor}

    def pending(self, window: Sequence[Event]) -> list[Event]:
        """The events of the window that are still to be sent."""
        return [event for event in window if event.id > self.cursor and event.id not in self.ahead]

    def due(self, window: Sequence[Event], now: float) -> Event | None:
        """The event to send now, if there is one. Lanes that failed least go first, so that a failing one delays no other."""
        if self.silence.until > now:
            return None
        return min(
            (event for event, until in self._heads(window) if until <= now),
            key=lambda event: (self._failures(event), event.id),
            default=None,
        )

    def due_in(self, window: Sequence[Event], now: float) -> float | None:
        """Seconds until an event is due, 0 if one is; None if none waits."""
        untils = [until for _, until in self._heads(window)]
        return max(0.0, self.silence.until - now, min(untils) - now) if untils else None

    def taken(self, event: Event) -> None:
        """The receiver has the event."""
        self.ahead.add(event.id)
        self.failing.pop(lane_of(event), None)
        self.silence = Pause()

    def failed(self, event: Event, now: float, chance: random.Random, *, unheard: bool) -> float:
        """The receiver did not take the event; seconds until its lane is tried again.

        Args:
            unheard: it says nothing about this event, but about the receiver.
        """
        pause = self.failing.setdefault(lane_of(event), Pause())
        pause.lengthen(now, chance)
        if unheard:
            self.silence.lengthen(now, chance)
        else:
            self.silence = Pause()
        return max(pause.until, self.silence.until) - now

    def overtaken(self, gone: Collection[tuple[int, str]]) -> int:
        """How many of these events, which are deleted by number and kind, were still to be sent."""
        return sum(
            number > self.cursor
            and number not in self.ahead
            and any(fnmatchcase(kind, pattern) for pattern in self.patterns)
            for number, kind in gone
        )

    def _heads(self, window: Sequence[Event]) -> Iterator[tuple[Event, float]]:
        """The next event of each lane that may be tried, and from when on."""
        heads: dict[Lane, Event] = {}
        for event in self.pending(window):
            heads.setdefault(lane_of(event), event)
        crowded = len(self.failing.keys() & heads.keys()) >= FAILING_MAX
        for lane, event in heads.items():
            pause = self.failing.get(lane)
            if pause is not None:
                yield event, pause.until
            elif not crowded:
                yield event, 0.0

    def _failures(self, event: Event) -> int:
        pause = self.failing.get(lane_of(event))
        return 0 if pause is None else pause.failures


def lane_of(event: Event) -> Lane:
    """What an event is in one order with: its session, else its machine, else all that are of neither."""
    return event.session_id or (event.account, event.instance_id)

"""The limit that all calls of an account share, learned as a rate. Pure: moments are handed in, in seconds that only grow.

A refusal opens an episode: the rate is cut once, nothing goes for a while, and then one call at a time asks whether the account is
let in again.
"""

from __future__ import annotations

import math
from collections import deque
from random import Random

from attrs import define, field

from shopperd.providers.tooth import OVERDUE, Tooth

BURST = 2.0
RESERVE = 1.0
"""Tokens that only calls which save or cost money may take."""
RATE_MIN = 1.0 / 60.0
"""Slower than once a minute nothing would be noticed any more."""
PAUSE_SECONDS_MIN = 1.0
PAUSE_SECONDS_MAX = 60.0
PAUSE_JITTER = 0.25
"""A pause is up to a quarter longer, so that several clients of one account drift apart."""
HINT_SECONDS_MAX = 3600.0
"""A longer wait is cut to an hour: a provider that means more says so again."""
HINT_JITTER = 0.02
HINT_MARGIN_SECONDS = 0.1
"""A provider that rounds down, or whose clock runs ahead, would refuse again at the exact second."""
PERIOD_SECONDS = 300.0
"""A refusal in so many seconds is enough to see a change."""
MINUTE = 60.0
STEP_MIN = 0.02
KEPT_MIN = 0.7
"""The least part of a rate that one refusal leaves of it, where it was growing fast or the limit was tightened."""
TIGHTENED = 3
"""So many refusals in a row, each soon after the account was let in, are no probing: the limit was tightened."""
PRESSED_MIN = 4
"""Fewer calls than this in a minute tell of no limit: they are what a process makes that has just started."""
PROVEN_SHARE = 1.5
"""The rate is not loosened beyond so many times what was served in the last minute: short rushes prove nothing, since the provider
may have saved up for them."""
EDGES = 3
EDGE_SECONDS_MAX = 10.0
EDGE_MARGIN_SECONDS = 0.3


@define(eq=False)
class Episode:
    """The account is shut out.

    Attributes:
        refused_at: when the newest refused call arrived.
        served: calls that were accepted in the minute before.
        pressed: whether those were enough to tell by, and most had waited for this limit: else as many were asked for, and not
            as many were allowed.
        scout: the one call that is on its way to ask.
        asked: scouts that were refused.
    """

    began_at: float
    refused_at: float
    served: int
    pressed: bool
    scout: object | None = None
    asked: int = 0
    waits_for_edge: bool = False


@define(eq=False)
class Bucket:
    """The account's own limit.

    Attributes:
        rate: calls a second in force; infinite where the account has none.
        start: the spacing that it began with, in seconds.
        blocked_until: nothing goes before that.
    """

    rate: float
    random: Random
    blocked_until: float = -math.inf
    tooth: Tooth = field(factory=Tooth)
    episode: Episode | None = None
    _empty_at: float = -math.inf
    _unsent: set[object] = field(factory=set)
    _cut_at: float = -math.inf
    _pause: float = 0.0
    _accepted: deque[tuple[float, bool]] = field(factory=deque)
    _edges: deque[tuple[float, float]] = field(factory=lambda: deque(maxlen=EDGES))
    _minute: tuple[float, float] = (-math.inf, math.inf)
    start: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.start = self.interval

    @property
    def interval(self) -> float:
        """The spacing that the rate comes to, in seconds."""
        return 1.0 / self.rate

    def open_at(self, *, reserve: bool) -> float:
        """When the next call may go; `reserve`: it may take the last token.

        Infinite while a scout is on its way, or as many have their turn and are not sent yet as may go at once.
        """
        if self.episode is not None and self.episode.scout is not None:
            return math.inf
        if math.isinf(self.rate):
            return self.blocked_until
        if self.episode is not None:
            return max(self.blocked_until, self._empty_at + 1.0 / self.rate)  # one that is lost is followed by no rush
        if self._room < 1.0:
            return math.inf
        return max(
            self.blocked_until, self._empty_at + (1.0 if reserve else min(1.0 + RESERVE, self._room)) / self.rate
        )

    def take(self, now: float, entered_at: float, call: object, *, reserve: bool) -> bool:
        """A call has its turn now; whether it went as early as this limit let it."""
        waited = False
        if self.episode is not None:
            self.episode.scout = call
        elif not math.isinf(self.rate):
            due = self.open_at(reserve=reserve)
            waited = entered_at < due and now - due <= 0.1 / self.rate + 0.01
        self._spend(now)
        self._unsent.add(call)
        return waited

    def give_back(self, call: object) -> None:
        """It was not sent after all."""
        self._unspend()
        self.lost(call)

    def sent(self, call: object, now: float) -> None:
        """It leaves only now: what came into the bucket since its turn, and more than it holds, is not there for others at once."""
        self._unspend()
        self._unsent.discard(call)
        self._spend(now)

    def lost(self, call: object) -> None:
        """It is over, and nobody knows what the provider thinks of its frequency."""
        self._unsent.discard(call)
        if self.episode is not None and self.episode.scout is call:
            self.episode.scout = None

    def succeeded(self, call: object, now: float, *, sent_at: float, arrival: float, waited: bool) -> None:
        """It was answered, and not refused for its frequency."""
        self._unsent.discard(call)
        self._accepted.append((now, waited))
        self._lately(now)
        if self.episode is not None:
            if self.episode.scout is call:
                self._let_in(self.episode, now, arrival)
        elif waited and sent_at >= self._cut_at:
            self._loosen(now)

    def refused(
        self, call: object, now: float, *, sent_at: float, arrival: float, retry_after: float | None = None
    ) -> None:
        """It was refused for its frequency, perhaps with the seconds to wait."""
        self._unsent.discard(call)
        episode = self.episode
        if episode is not None and episode.scout is call:
            episode.scout, episode.refused_at = None, arrival
            episode.asked += 1
            if episode.waits_for_edge:
                self._edges.clear()
        elif sent_at < self._cut_at:
            self._wait(now, 0.0, retry_after)
            return
        elif episode is None:
            self._cut(now)
            served = self._lately(now)
            pressed = served >= PRESSED_MIN and 2 * sum(waited for _, waited in self._accepted) >= served
            episode = self.episode = Episode(now, arrival, served, pressed)
        self._pause = min(PAUSE_SECONDS_MAX, max(PAUSE_SECONDS_MIN, self.interval, 2 * self._pause))
        wait = self._pause * (1.0 + self.random.random() * PAUSE_JITTER)
        edge = self._until_edge(now) if episode.asked else None
        episode.waits_for_edge = edge is not None
        self._wait(now, wait if edge is None else edge, retry_after)

    def _wait(self, now: float, own: float, retry_after: float | None) -> None:
        self.block(now + max(own, hinted(retry_after, self.random)))

    def set_rate(self, rate: float, now: float) -> None:
        """Change the rate; what is in the bucket stays."""
        rate = max(RATE_MIN, rate)
        if not math.isinf(self.rate):
            tokens = min(self._room, (now - self._empty_at) * self.rate)
            self._empty_at = now - tokens / rate
        else:
            self._empty_at = now
        self.rate = rate

    def block(self, until: float) -> None:
        """Let nothing go before that."""
        self.blocked_until = max(self.blocked_until, until)

    def empty(self, now: float) -> None:
        """Take what is in the bucket away."""
        self._empty_at = max(self._empty_at, now)

    @property
    def _room(self) -> float:
        """How many tokens the bucket holds at most, beside those that were spent for calls that have not left."""
        return max(0.0, BURST - len(self._unsent))

    def _spend(self, now: float) -> None:
        if not math.isinf(self.rate):
            self._empty_at = max(self._empty_at, now - self._room / self.rate) + 1.0 / self.rate

    def _unspend(self) -> None:
        if not math.isinf(self.rate):
            self._empty_at -= 1.0 / self.rate

    def _loosen(self, now: float) -> None:
        if self.rate > PROVEN_SHARE * self._lately(now) / MINUTE:
            return
        share = self.tooth.held()
        late = (self.tooth.calls - OVERDUE * self.tooth.size) / (self.tooth.size / 8)
        if late > 0:
            share *= 2.0 ** min(late, 10.0)
        if now - self._minute[0] >= MINUTE:
            self._minute = (now, self.rate)
        self.set_rate(min(self.rate * (1.0 + share), 2.0 * self._minute[1]), now)

    def _cut(self, now: float) -> None:
        self._cut_at = now
        if math.isinf(self.rate):
            span = min(MINUTE, max(10.0, now - self._accepted[0][0])) if self._accepted else MINUTE
            self.set_rate(max(0.5, self._lately(now) / span), now)
        else:
            overdue, old = self.tooth.overdue, self.rate
            rate = old * (1.0 - self.tooth.caught(STEP_MIN, PERIOD_SECONDS * old))
            if self.tooth.early >= TIGHTENED:
                rate = KEPT_MIN * old
            elif overdue:
                rate = min(rate, max(KEPT_MIN * old, self._lately(now) / MINUTE))
            self.set_rate(rate, now)
        self._minute = (now, self.rate)
        self.empty(now)

    def _let_in(self, episode: Episode, now: float, arrival: float) -> None:
        shut = now - episode.began_at
        if episode.pressed and shut > 3.0 / self.rate:
            served = self._lately(now) if shut < MINUTE else episode.served
            self.set_rate(min(self.rate, served / max(MINUTE, shut)), now)
        if not self._edges or arrival - self._edges[-1][1] > MINUTE / 2:
            self._edges.append((episode.refused_at, arrival))
        self.episode, self._pause = None, 0.0

    def _lately(self, now: float) -> int:
        """Calls that were accepted in the last minute."""
        while self._accepted and self._accepted[0][0] <= now - MINUTE:
            self._accepted.popleft()
        return len(self._accepted)

    def _until_edge(self, now: float) -> float | None:
        """Seconds until the next edge of a minute's window, if the last times of being let in agree on one."""
        if len(self._edges) < EDGES:
            return None
        first = self._edges[0][0]
        low, high = -math.inf, math.inf
        for shut, open_ in self._edges:
            if open_ - shut > EDGE_SECONDS_MAX:
                return None
            begin = (shut - first + MINUTE / 2) % MINUTE - MINUTE / 2
            low, high = max(low, begin), min(high, begin + open_ - shut)
        if low > high:
            return None
        return (first + high + EDGE_MARGIN_SECONDS - now) % MINUTE


def hinted(retry_after: float | None, random: Random) -> float:
    """Seconds to wait by a hint, a little more than it says; 0 without one."""
    if retry_after is None:
        return 0.0
    return min(retry_after, HINT_SECONDS_MAX) * (1.0 + random.random() * HINT_JITTER) + HINT_MARGIN_SECONDS

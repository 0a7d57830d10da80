"""Pretended limits of a marketplace, as far as they are known or may come. Times are seconds from the start of a run.

Each server says of an arrival whether it is refused, and how much it could have served at most. The models' names (M1 to M5)
are those of `docs/limiter.md`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Protocol

from attrs import define, field, frozen

from shopperd.providers.pacing import Blocks, Endpoint, Published

INTERVALS: Mapping[Endpoint, float] = {
    Endpoint.DESTROY: 3.0,
    Endpoint.CREATE: 4.5,
    Endpoint.LIST: 1.0,
    Endpoint.SHOW: 2.0,
    Endpoint.OFFERS: 6.0,
}
"""P: what is published of the endpoints, and true for a factor of 1."""
BY_ENDPOINT = Published(INTERVALS)
BY_ACCOUNT = Published(shared=0.6, blocks=Blocks.ACCOUNT)
WINDOW = 60.0
EDGE = 17.3
"""Where the windows of a minute begin: not on the full minute."""
OTHERS_SHARE_MAX = 0.6


@frozen
class Verdict:
    """What a server says to one arrival.

    Attributes:
        retry_after: seconds, as the header tells them at this moment.
        threshold: the spacing that the text names.
        reset: seconds until a quota starts anew.
    """

    accepted: bool
    retry_after: float | None = None
    threshold: float | None = None
    reset: float | None = None


YES = Verdict(True)
NO = Verdict(False)


class Steps:
    """A value that changes at given moments."""

    def __init__(self, *values: float, every: float = 2400.0) -> None:
        self._values = values
        self._every = every

    @property
    def changes(self) -> tuple[float, ...]:
        """When the value changes."""
        return tuple(number * self._every for number in range(1, len(self._values)))

    def at(self, now: float) -> float:
        """The value now."""
        return self._values[min(int(now / self._every), len(self._values) - 1)]

    def pieces(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """The value and how long it holds, from start to end."""
        moments = [start, *(at for at in self.changes if start < at < end), end]
        for earlier, later in pairwise(moments):
            yield self.at(earlier), later - earlier


class Server(Protocol):
    """One limit of one account."""

    @property
    def changes(self) -> tuple[float, ...]:
        """When the limit changes."""

    def arrive(self, endpoint: Endpoint, now: float) -> Verdict:
        """Judge one request."""

    def goodput(self, accepted: Mapping[Endpoint, int], start: float, end: float) -> float:
        """The share of what could have been served in that time."""

    def ideal(self, endpoint: Endpoint, now: float) -> float:
        """The least spacing of this endpoint's calls, or of the account's."""

    @property
    def of_account(self) -> bool:
        """Whether all endpoints share the limit."""


@define(eq=False)
class Intervals:
    """M1: a least spacing of the calls of each endpoint, counted from the last accepted one, or from the last of any kind.

    With a quota (M5) that many searches are served until `midnight`, and every day's worth again.
    """

    factor: Steps = field(factory=lambda: Steps(1.0))
    any_arrival: bool = False
    hint: bool = False
    quota: int | None = None
    midnight: float = 36_000.0
    of_account: bool = False
    _last: dict[Endpoint, float] = field(factory=dict)
    _searches: int = 0

    @property
    def changes(self) -> tuple[float, ...]:
        return self.factor.changes

    def ideal(self, endpoint: Endpoint, now: float) -> float:
        return INTERVALS[endpoint] * self.factor.at(now)

    def arrive(self, endpoint: Endpoint, now: float) -> Verdict:
        least = self.ideal(endpoint, now)
        since = now - self._last.get(endpoint, -math.inf)
        if self.any_arrival or since >= least:
            self._last[endpoint] = now
        if since < least:
            return Verdict(False, threshold=least) if self.hint else NO
        if endpoint is Endpoint.OFFERS and self.quota is not None:
            if now >= self.midnight:
                self.midnight, self._searches = self.midnight + 86_400.0, 0
            if self._searches >= self.quota:
                return Verdict(False, reset=self.midnight - now)
            self._searches += 1
        return YES

    def goodput(self, accepted: Mapping[Endpoint, int], start: float, end: float) -> float:
        shares = []
        for endpoint in (Endpoint.LIST, Endpoint.SHOW, Endpoint.DESTROY):
            most = sum(seconds / (INTERVALS[endpoint] * factor) for factor, seconds in self.factor.pieces(start, end))
            shares.append(accepted.get(endpoint, 0) / most)
        return sum(shares) / len(shares)


class Word:
    """How a refusal tells when to come back."""

    def __init__(self, kind: str = "") -> None:
        if kind not in ("", "RA", "date"):
            raise ValueError(kind)
        self._kind = kind

    def refusal(self, now: float, free_at: float) -> Verdict:
        """The refusal of an arrival now that would have been accepted at `free_at`."""
        if self._kind == "RA":
            return Verdict(False, retry_after=float(math.ceil(free_at - now)))
        if self._kind == "date":
            # Cut to the second, and the clock's own second is no whole one: it may name a moment that is too early.
            return Verdict(False, retry_after=math.floor(free_at + 0.37) - 0.37 - now)
        return NO


@define(eq=False)
class Bucket:
    """M2: tokens for the whole account, `rate` a second, `burst` at most."""

    rate: Steps
    burst: float
    word: Word = field(factory=Word)
    of_account: bool = True
    _tokens: float = field(init=False)
    _at: float = 0.0

    def __attrs_post_init__(self) -> None:
        self._tokens = self.burst

    @property
    def changes(self) -> tuple[float, ...]:
        return self.rate.changes

    def ideal(self, endpoint: Endpoint, now: float) -> float:
        return 1.0 / self.rate.at(now)

    def arrive(self, endpoint: Endpoint, now: float) -> Verdict:
        rate = self.rate.at(now)
        self._tokens = min(self.burst, self._tokens + (now - self._at) * rate)
        self._at = now
        if self._tokens < 1.0:
            return self.word.refusal(now, now + (1.0 - self._tokens) / rate)
        self._tokens -= 1.0
        return YES

    def goodput(self, accepted: Mapping[Endpoint, int], start: float, end: float) -> float:
        return sum(accepted.values()) / sum(rate * seconds for rate, seconds in self.rate.pieces(start, end))


@define(eq=False)
class Windows:
    """M3: so many calls in each fixed minute. With `others`, other tools of the organisation take a share that drifts."""

    per_window: int
    random: Random
    others: bool = False
    word: Word = field(factory=Word)
    changes: tuple[float, ...] = ()
    of_account: bool = True
    _number: int = -2
    _used: int = 0
    _share: float = 0.3
    _arrivals: deque[float] = field(factory=deque)
    _demands: dict[int, int] = field(factory=dict)

    def ideal(self, endpoint: Endpoint, now: float) -> float:
        return WINDOW / self.per_window

    def arrive(self, endpoint: Endpoint, now: float) -> Verdict:
        number = math.floor((now - EDGE) / WINDOW)
        while self._number < number:
            self._turn()
        while self._arrivals and self._arrivals[0] <= now:
            self._arrivals.popleft()
            self._used = min(self.per_window, self._used + 1)
        if self._used >= self.per_window:
            return self.word.refusal(now, EDGE + (number + 1) * WINDOW)
        self._used += 1
        return YES

    def goodput(self, accepted: Mapping[Endpoint, int], start: float, end: float) -> float:
        most = 0.0
        for number in range(math.floor((start - EDGE) / WINDOW), math.floor((end - EDGE) / WINDOW) + 1):
            begins = EDGE + number * WINDOW
            part = (min(end, begins + WINDOW) - max(start, begins)) / WINDOW
            most += part * (self.per_window - self._demands.get(number, 0))
        return sum(accepted.values()) / most

    def _turn(self) -> None:
        self._number += 1
        self._used = 0
        self._arrivals.clear()
        if self.others:
            self._share = min(OTHERS_SHARE_MAX, max(0.0, self._share + self.random.gauss(0.0, 0.1)))
            demand = round(self._share * self.per_window)
            self._demands[self._number] = demand
            begins = EDGE + self._number * WINDOW
            self._arrivals.extend(sorted(begins + self.random.random() * WINDOW for _ in range(demand)))


@define(eq=False)
class Sliding:
    """M4: so many calls in any minute."""

    per_window: int
    word: Word = field(factory=Word)
    changes: tuple[float, ...] = ()
    of_account: bool = True
    _served: deque[float] = field(factory=deque)

    def ideal(self, endpoint: Endpoint, now: float) -> float:
        return WINDOW / self.per_window

    def arrive(self, endpoint: Endpoint, now: float) -> Verdict:
        while self._served and now - self._served[0] >= WINDOW:
            self._served.popleft()
        if len(self._served) >= self.per_window:
            return self.word.refusal(now, self._served[0] + WINDOW)
        self._served.append(now)
        return YES

    def goodput(self, accepted: Mapping[Endpoint, int], start: float, end: float) -> float:
        return sum(accepted.values()) / ((end - start) * self.per_window / WINDOW)


@frozen
class Case:
    """A server and what the adapter believes of it.

    Attributes:
        unseen: never used to find a constant of the pacer.
    """

    name: str
    make: Callable[[Random], Server]
    published: Published
    unseen: bool = False


def _case(name: str, make: Callable[[Random], Server], published: Published, *, unseen: bool = False) -> Case:
    return Case(name, make, published, unseen)


CASES: Sequence[Case] = (
    _case("M1 x1", lambda _: Intervals(), BY_ENDPOINT),
    _case("M1 x3", lambda _: Intervals(Steps(3.0)), BY_ENDPOINT),
    _case("M1 x1/3", lambda _: Intervals(Steps(1 / 3)), BY_ENDPOINT),
    _case("M1any x1", lambda _: Intervals(any_arrival=True), BY_ENDPOINT),
    _case("M1any x3", lambda _: Intervals(Steps(3.0), any_arrival=True), BY_ENDPOINT),
    _case("M1any 1-10-1", lambda _: Intervals(Steps(1.0, 10.0, 1.0), any_arrival=True), BY_ENDPOINT),
    _case("M2 1/s b5", lambda _: Bucket(Steps(1.0), 5.0), BY_ACCOUNT),
    _case("M2 2-.2-2", lambda _: Bucket(Steps(2.0, 0.2, 2.0), 5.0), BY_ACCOUNT),
    _case("M3 75", lambda random: Windows(75, random), BY_ACCOUNT),
    _case("M3 90 others", lambda random: Windows(90, random, others=True), BY_ACCOUNT),
    _case("M4 60", lambda _: Sliding(60), BY_ACCOUNT),
    _case("M1 x3 hint", lambda _: Intervals(Steps(3.0), hint=True), BY_ENDPOINT),
    _case("M1any 1-10-1 hint", lambda _: Intervals(Steps(1.0, 10.0, 1.0), any_arrival=True, hint=True), BY_ENDPOINT),
    _case("M3 90 others RA", lambda random: Windows(90, random, others=True, word=Word("RA")), BY_ACCOUNT),
    _case("M1any x1.7", lambda _: Intervals(Steps(1.7), any_arrival=True), BY_ENDPOINT, unseen=True),
    _case("M2 .5/s b10", lambda _: Bucket(Steps(0.5), 10.0), BY_ACCOUNT, unseen=True),
    _case("M2 1-.3-3 b3 RA", lambda _: Bucket(Steps(1.0, 0.3, 3.0), 3.0, Word("RA")), BY_ACCOUNT, unseen=True),
    _case("M2 1/s b5 date", lambda _: Bucket(Steps(1.0), 5.0, Word("date")), BY_ACCOUNT, unseen=True),
    _case("M3 60 others", lambda random: Windows(60, random, others=True), BY_ACCOUNT, unseen=True),
    _case("M4 80", lambda _: Sliding(80), BY_ACCOUNT, unseen=True),
    _case("M2 1/s b5, adapter says endpoints", lambda _: Bucket(Steps(1.0), 5.0), BY_ENDPOINT),
    _case("M1 x1, adapter says account", lambda _: Intervals(), BY_ACCOUNT),
)
QUOTA = _case("M5", lambda _: Intervals(quota=200), BY_ENDPOINT)


def case(name: str) -> Case:
    """The case of that name."""
    return next(each for each in (*CASES, QUOTA) if each.name == name)

"""The least time between two calls of one endpoint class, learned. Pure: moments are handed in, in seconds that only grow.

What counts is when calls arrive at the provider, and of that only the sending and the answer are known. So an arrival is taken to
be in the middle, and the next call is sent so that it should arrive a gap later. Yet it leaves hardly sooner than a gap after the
one before: an answer that came quicker than usual may be followed by one that is as quick. Refused calls count like accepted
ones: some providers restart their clock with each.
"""

from __future__ import annotations

import math

from attrs import define, field

from shopperd.providers.tooth import Tooth

GAP_SECONDS_MAX = 120.0
"""Slower than this nothing would be noticed any more."""
GAP_SECONDS_UNTOLD = 1.0
"""Where a class had no spacing at all, its first refusal gives it this one."""
WAY_SECONDS_MAX = 2.5
"""How much of a slow answer's time may be taken for its way to the provider."""
TOLD_SECONDS_MAX = 3600.0
"""A longer spacing is cut to an hour: a provider that means more says so again."""
GAP_SHARE_MIN = 0.1
"""Closer than this share of what is published nobody goes, however much is accepted: no refusal is no invitation."""
BOLD_SHARE = 0.75
"""How much of the spacing is tried when a refusal is overdue."""
SOONER_SHARE = 0.95
"""Two calls leave no closer than this share of the gap at which they should arrive."""
LATEST_WAY = 0.45
"""While no answer is there the call may have arrived as late as this share before now."""
CLOSE_SHARE = 1.06
PERIOD_SECONDS = 600.0
"""A refusal in so many seconds is enough to see a change."""
FALSE_ALARM_SHARE = 0.2
"""A search that ends so near to where it began was set off by chance."""
_ROUND_TRIPS = 100.0


@define(eq=False)
class RoundTrips:
    """How long answers take, in seconds: the mean, and how far they are from it."""

    mean: float = 0.0
    deviation: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        """Learn of one answer; the first ones count for more, since nothing else is known."""
        seconds = min(seconds, 2 * WAY_SECONDS_MAX)
        self.count += 1
        if self.count == 1:
            self.mean = seconds
            return
        share = 1.0 / min(self.count, _ROUND_TRIPS)
        self.deviation += (abs(seconds - self.mean) - self.deviation) * share
        self.mean += (seconds - self.mean) * share

    @property
    def noise(self) -> float:
        """How far an arrival may be from where it is taken to be."""
        return 0.7 * self.deviation


@define(eq=False)
class Search:
    """The limit lies between what was refused and what was accepted."""

    low: float
    target: float
    high: float = math.inf
    began_with: float = 0.0

    def refused(self, spacing: float) -> None:
        """Something so far from the call before it was too early."""
        self.low = max(self.low, spacing)
        if self.low >= self.high:
            self.high = math.inf
        self.target = math.sqrt(self.low * self.high) if self.high < math.inf else min(self.target * 2, GAP_SECONDS_MAX)

    def accepted(self, spacing: float) -> None:
        """Something so far from the last accepted call was late enough."""
        self.high = min(self.high, spacing)
        if self.high <= self.low:
            self.low = self.high / 2
        self.target = math.sqrt(self.low * self.high)

    def over(self, noise: float) -> bool:
        """Whether looking closer would see only noise."""
        return self.high < self.low * CLOSE_SHARE or self.high - self.low < noise


@define(eq=False)
class Flight:
    """A call that has its turn.

    Attributes:
        sent_at: None until it is really sent.
        waited: it went as early as the spacing let it, so that its answer says something of the spacing.
        bold: it went earlier than that.
    """

    waited: bool
    bold: bool
    sent_at: float | None = None


@define(eq=False)
class Spacing:
    """One endpoint class.

    Attributes:
        start: what is published or set; 0 for none.
        gap: the spacing in force.
        told: the spacing that the provider has named, which is not gone below until a bold call has shown that it may.
        blocked_until: nothing goes before that.
        paused_until: nothing goes before that either, unless something is answered first.
        probes: whether it may be tried closer than `start`, and boldly.
    """

    start: float
    probes: bool = True
    gap: float = field(init=False)
    told: float = 0.0
    blocked_until: float = -math.inf
    paused_until: float = -math.inf
    tooth: Tooth = field(factory=Tooth)
    round_trips: RoundTrips = field(factory=RoundTrips)
    search: Search | None = None
    _sent_at: float = -math.inf
    _arrived_at: float = -math.inf
    _accepted_at: float = -math.inf
    _cut_at: float = -math.inf
    _bold_series: int = 0
    _flights: list[Flight] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.gap = self.start

    def open_at(self) -> float:
        """When the next call may go; infinite while one has its turn and is not sent yet."""
        return max(
            self.blocked_until, self.paused_until, self._after(self.gap * BOLD_SHARE if self._bold_now else self.gap)
        )

    def take(self, now: float, entered_at: float) -> Flight:
        """A call of this class, which came into the queue at `entered_at`, has its turn now."""
        plain, due = self._after(self.gap), self.open_at()
        slack = 0.05 * self.gap + 0.01
        flight = Flight(
            waited=self.gap > 0 and entered_at < due and now - due <= slack,
            bold=self._bold_now and entered_at < due and now < plain - 1e-9,
        )
        self._flights.append(flight)
        return flight

    def drop(self, flight: Flight) -> None:
        """It was not sent after all, or is over without an answer."""
        self._flights.remove(flight)
        if flight.sent_at is not None:
            self._arrived_at = max(self._arrived_at, flight.sent_at + self.round_trips.mean / 2)

    def sent(self, flight: Flight, now: float) -> None:
        """It leaves now."""
        flight.sent_at = self._sent_at = now

    def arrival(self, flight: Flight, now: float) -> float:
        """When a call that is answered now arrived, as far as one can know."""
        sent_at = now if flight.sent_at is None else flight.sent_at
        return sent_at + min((now - sent_at) / 2, WAY_SECONDS_MAX)

    def succeeded(self, flight: Flight, now: float) -> None:
        """It was answered, and not refused for its frequency."""
        arrival = self._land(flight, now)
        since, self._accepted_at = arrival - self._accepted_at, max(self._accepted_at, arrival)
        if self.search is not None:
            if math.isfinite(since) and since > 0:
                self.search.accepted(since)
                self._follow(self.search)
        elif flight.bold:
            self._bold_series += 1
            self.gap = max(self._least, self.gap * BOLD_SHARE)
            if self.gap < self.told:
                self.told = 0.0
        elif flight.waited:
            self.gap = max(self.told, self._least, self.gap * (1.0 - self.tooth.held()))

    def refused(self, flight: Flight, now: float, threshold: float | None = None) -> None:
        """It was refused for its frequency, perhaps with the least spacing in seconds."""
        since = self.arrival(flight, now) - self._arrived_at
        self._land(flight, now)
        if flight.sent_at is not None and flight.sent_at < self._cut_at:
            return
        self._cut_at = now
        if threshold is not None:
            told, self.told = self.told, min(threshold, TOLD_SECONDS_MAX)
            if self.told > max(told, self.gap - self.round_trips.noise):
                self.gap, self.search = self.told + self.round_trips.noise, None
                self.tooth.restart(self._step_min)
                return
        if self.gap <= 0:
            self.gap = GAP_SECONDS_UNTOLD
        if self.search is not None:
            if math.isfinite(since):
                self.search.refused(since)
            self._follow(self.search)
        elif flight.bold:
            self._bold_refused(since)
        else:
            back = self.tooth.caught(self._step_min, PERIOD_SECONDS / self.gap)
            if self.tooth.early >= 2 and threshold is None:
                low = max(since, self.gap / 4) if math.isfinite(since) else self.gap / 4
                self.search = Search(low=low, target=2 * self.gap, began_with=self.gap)
                self._follow(self.search)
            else:
                self.gap = min(self.gap * (1.0 + back), max(GAP_SECONDS_MAX, self.told))

    def block(self, until: float) -> None:
        """Let nothing go before that."""
        self.blocked_until = max(self.blocked_until, until)

    @property
    def _least(self) -> float:
        return self.start * GAP_SHARE_MIN if self.probes else self.start

    @property
    def _step_min(self) -> float:
        return min(0.1, max(0.02, 0.4 * self.round_trips.noise / self.gap)) if self.gap > 0 else 0.02

    @property
    def _bold_now(self) -> bool:
        is_due = self.tooth.overdue and self.gap > self._least
        return self.probes and self.search is None and not self._flights and is_due

    def _after(self, gap: float) -> float:
        lead = self.round_trips.mean / 2
        at = max(self._sent_at + gap * SOONER_SHARE, self._arrived_at + gap - lead)
        for flight in self._flights:
            if flight.sent_at is None:
                return math.inf
            at = max(at, flight.sent_at + max(gap, (gap - lead) / LATEST_WAY))
        return at

    def _land(self, flight: Flight, now: float) -> float:
        self._flights.remove(flight)
        arrival = self.arrival(flight, now)
        self._arrived_at = max(self._arrived_at, arrival)
        if flight.sent_at is not None:
            self.round_trips.add(now - flight.sent_at)
        return arrival

    def _bold_refused(self, since: float) -> None:
        series, self._bold_series = self._bold_series, 0
        if series and math.isfinite(since):
            self.search = Search(low=self.gap / 2, target=self.gap, high=self.gap)
            self.search.refused(since)
            self._follow(self.search)
            return
        self.tooth.calls = 0
        self.tooth.rarer(PERIOD_SECONDS / self.gap)

    def _follow(self, search: Search) -> None:
        noise = self.round_trips.noise
        if search.over(noise):
            self.search = None
            self.gap = search.high + 0.3 * noise
            if abs(self.gap - search.began_with) < FALSE_ALARM_SHARE * self.gap:
                self.tooth.calls = self.tooth.early = 0
            else:
                self.tooth.restart(max(self._step_min, 0.05))
        else:
            self.gap = min(search.target, GAP_SECONDS_MAX)
        self.gap = max(self.gap, self._least)

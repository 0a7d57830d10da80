"""How the pacer learns and whom it lets go, by the moments that are handed in."""

import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopperd.providers.bucket import PAUSE_SECONDS_MAX
from shopperd.providers.pacing import AGING_GRANTS, Blocks, Endpoint, Pacer, Published, Ticket
from shopperd.providers.spacing import SOONER_SHARE
from shopperd.settings import LimitSettings

PUBLISHED = Published({Endpoint.LIST: 1.0, Endpoint.DESTROY: 3.0, Endpoint.CREATE: 4.5, Endpoint.OFFERS: 6.0})
ACCOUNT = Published(shared=1.0, blocks=Blocks.ACCOUNT)


def pacer(published: Published = PUBLISHED, seed: int = 3) -> Pacer:
    return Pacer(published, LimitSettings(), random.Random(seed))


class Desk:
    """One pacer in virtual time, whose calls arrive at once: each is asked for when the one before it is over."""

    def __init__(self, published: Published = PUBLISHED) -> None:
        self.pacer = pacer(published)
        self.now = 0.0

    def turn(self, endpoint: Endpoint = Endpoint.LIST) -> Ticket:
        """The ticket of the next call, at the moment when it may go."""
        entered = self.pacer.enter(endpoint, self.now)
        at = self.pacer.next_at()
        assert at is not None
        self.now = max(self.now, at)
        ticket = self.pacer.grant(self.now)
        assert ticket is entered
        self.pacer.sent(ticket, self.now)
        return ticket

    def accepted(self, endpoint: Endpoint = Endpoint.LIST) -> None:
        self.pacer.succeeded(self.turn(endpoint), self.now)

    def refused(self, endpoint: Endpoint = Endpoint.LIST, **hints: float) -> None:
        self.pacer.refused(self.turn(endpoint), self.now, **hints)

    def run(self, limit: float, calls: int, endpoint: Endpoint = Endpoint.LIST) -> tuple[int, float]:
        """So many calls at a provider that refuses what comes sooner than `limit` after the last accepted one.

        How many were refused, and seconds an accepted call took in the second half.
        """
        last, refused, half = -math.inf, 0, 0
        began = 0.0
        for number in range(calls):
            ticket = self.turn(endpoint)
            if number == calls // 2:
                began = self.now
            if self.now - last >= limit - 1e-9:
                last = self.now
                half += number >= calls // 2
                self.pacer.succeeded(ticket, self.now)
            else:
                refused += 1
                self.pacer.refused(ticket, self.now)
        return refused, (self.now - began) / half

    def gap(self, endpoint: Endpoint = Endpoint.LIST) -> float:
        return self.pacer.spacings[endpoint].gap


# What is learned of an endpoint.


@pytest.mark.parametrize("limit", [0.35, 1.0, 1.7, 3.0, 10.0])
def test_the_limit_is_found_wherever_it_is_and_few_calls_are_refused(limit: float) -> None:
    refused, spacing = Desk().run(limit, 1500)
    assert spacing == pytest.approx(limit, rel=0.06)
    assert refused <= 1500 * 0.03


def test_a_limit_that_was_tightened_is_found_again_within_twenty_calls() -> None:
    desk = Desk()
    desk.run(1.0, 300)
    desk.run(10.0, 20)
    assert desk.gap() == pytest.approx(10.0, rel=0.25)


def test_a_limit_that_was_loosened_is_found_again() -> None:
    desk = Desk()
    desk.run(10.0, 100)
    desk.run(1.0, 120)
    assert desk.gap() == pytest.approx(1.0, rel=0.2)


def test_a_limit_that_holds_still_is_probed_ever_more_rarely() -> None:
    desk = Desk()
    first, _ = desk.run(1.0, 400)
    later, _ = desk.run(1.0, 400)
    assert later <= first / 2


def test_without_demand_nothing_is_probed() -> None:
    desk = Desk()
    for _ in range(300):
        desk.now += 2.0
        desk.accepted()
    assert desk.gap() == 1.0


def test_a_create_is_never_tried_closer_than_what_is_published() -> None:
    desk = Desk()
    for _ in range(400):
        desk.accepted(Endpoint.CREATE)
    assert desk.gap(Endpoint.CREATE) == 4.5
    desk.refused(Endpoint.CREATE)
    assert desk.gap(Endpoint.CREATE) > 4.5


def test_a_spacing_that_was_told_is_not_gone_below_until_a_bold_call_has_shown_that_it_may() -> None:
    desk = Desk()
    desk.refused(threshold=4.0)
    for _ in range(9):
        desk.accepted()
    assert desk.gap() == 4.0
    for _ in range(30):
        desk.accepted()
    assert desk.gap() < 4.0


def test_refusals_of_calls_that_were_under_way_together_slow_down_once() -> None:
    subject = pacer(Published(dict.fromkeys(Endpoint, 0.1)))
    tickets = []
    for number in range(6):
        subject.enter(Endpoint.LIST, number * 0.5)
        ticket = subject.grant(number * 0.5)
        assert ticket is not None
        subject.sent(ticket, number * 0.5)
        tickets.append(ticket)
    subject.refused(tickets[0], 3.0)
    once = subject.spacings[Endpoint.LIST].gap
    for ticket in tickets[1:]:
        subject.refused(ticket, 3.1)
    assert subject.spacings[Endpoint.LIST].gap == once


# What is learned of an account.


def test_a_refused_account_is_asked_by_one_call_at_a_time_after_ever_longer_pauses() -> None:
    desk = Desk(ACCOUNT)
    desk.refused()
    pauses = []
    for _ in range(9):
        desk.pacer.enter(Endpoint.SHOW, desk.now)
        began = desk.now
        scout = desk.turn(Endpoint.DESTROY)
        pauses.append(desk.now - began)
        assert desk.pacer.next_at() is None
        desk.pacer.refused(scout, desk.now)
    assert pauses[:5] == sorted(pauses[:5])
    assert pauses[0] >= 1.0
    assert PAUSE_SECONDS_MAX <= pauses[-1] <= PAUSE_SECONDS_MAX * 1.25


def test_a_scout_that_is_lost_is_followed_by_another_one() -> None:
    desk = Desk(ACCOUNT)
    desk.refused()
    desk.pacer.lost(desk.turn())
    desk.accepted()
    assert desk.pacer.shared.episode is None


def test_scouts_that_are_lost_keep_the_accounts_spacing() -> None:
    desk = Desk(ACCOUNT)
    desk.refused()
    left = []
    for _ in range(6):
        desk.pacer.lost(desk.turn(Endpoint.SHOW))
        left.append(desk.now)
    # A bucket of two tokens: of any three calls the first and the last are a spacing apart.
    assert all(
        third - first >= desk.pacer.shared.interval * 0.999 for first, third in zip(left, left[2:], strict=False)
    )


def test_an_episode_cuts_the_rate_once() -> None:
    desk = Desk(ACCOUNT)
    tickets = [desk.turn(Endpoint.DESTROY), desk.turn(Endpoint.DESTROY)]
    desk.pacer.refused(tickets[0], desk.now)
    once = desk.pacer.shared.rate
    desk.pacer.refused(tickets[1], desk.now)
    assert desk.pacer.shared.rate == once < 1.0


@pytest.mark.parametrize(("served", "is_a_limit"), [(3, False), (20, True)])
def test_how_long_an_account_was_shut_out_tells_of_its_limit_only_after_enough_calls(
    served: int, is_a_limit: bool
) -> None:
    desk = Desk(ACCOUNT)
    for _ in range(served):
        desk.accepted()
    while desk.now < 120.0:
        desk.refused()
    desk.accepted()
    assert (desk.pacer.shared.interval > 5.0) is is_a_limit


def test_a_short_rush_after_a_lull_proves_no_higher_rate() -> None:
    desk = Desk(ACCOUNT)
    for _ in range(40):
        desk.now += 60.0
        for _ in range(10):
            desk.accepted()
    assert desk.pacer.shared.rate == 1.0


@given(st.integers(0, 10_000), st.sampled_from([1, 30, 600, 5000]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_nothing_goes_before_a_retry_after_has_passed(seed: int, seconds: int, account: bool) -> None:
    subject = pacer(ACCOUNT if account else PUBLISHED, seed)
    subject.enter(Endpoint.LIST, 0.0)
    ticket = subject.grant(0.0)
    assert ticket is not None
    subject.sent(ticket, 0.0)
    subject.refused(ticket, 0.2, retry_after=float(seconds))
    for endpoint in Endpoint if account else [Endpoint.LIST]:
        subject.enter(endpoint, 0.3)
    at = subject.next_at()
    assert at is not None
    assert at >= 0.2 + min(seconds, 3600)
    assert subject.grant(at - 0.01) is None
    assert subject.grant(at) is not None


# Who goes first.


def test_the_more_a_call_saves_the_sooner_it_goes_whoever_came_first() -> None:
    desk = Desk(ACCOUNT)
    desk.accepted(Endpoint.DESTROY)
    desk.accepted(Endpoint.DESTROY)
    for endpoint in reversed(Endpoint):
        desk.pacer.enter(endpoint, desk.now)
    desk.pacer.enter(Endpoint.SHOW, desk.now, urgent=True)
    order = []
    while (at := desk.pacer.next_at()) is not None:
        ticket = desk.pacer.grant(max(at, desk.now))
        assert ticket is not None
        desk.now = max(at, desk.now)
        desk.pacer.sent(ticket, desk.now)
        desk.pacer.succeeded(ticket, desk.now)
        order.append((ticket.endpoint, ticket.urgent))
    first, *others = Endpoint
    assert order == [(first, False), (Endpoint.SHOW, True), *((endpoint, False) for endpoint in others)]


@pytest.mark.parametrize("low", [endpoint for endpoint in Endpoint if endpoint.rank > 1])
def test_the_lowest_class_goes_now_and_then_although_destroys_never_end(low: Endpoint) -> None:
    subject = pacer(ACCOUNT)
    subject.enter(low, 0.0)
    served_after = 0
    for second in range(200):
        subject.enter(Endpoint.DESTROY, float(second))
        ticket = subject.grant(float(second))
        assert ticket is not None
        subject.sent(ticket, float(second))
        subject.succeeded(ticket, float(second))
        if ticket.endpoint is low:
            break
        served_after += 1
    assert served_after == AGING_GRANTS * low.rank


def test_a_refused_call_that_comes_again_has_kept_its_place() -> None:
    subject = pacer(ACCOUNT)
    desk = Desk(ACCOUNT)
    subject = desk.pacer
    for _ in range(45):
        desk.accepted(Endpoint.DESTROY)
    offers = desk.turn(Endpoint.OFFERS)
    subject.refused(offers, desk.now)
    again = subject.enter(Endpoint.OFFERS, desk.now, refused=offers)
    other = subject.enter(Endpoint.OFFERS, desk.now)
    served = []
    for _ in range(200):
        at = subject.next_at()
        assert at is not None
        desk.now = max(desk.now, at)
        ticket = subject.grant(desk.now)
        assert ticket is not None
        subject.sent(ticket, desk.now)
        subject.succeeded(ticket, desk.now)
        served.append(ticket)
        if other in served:
            break
        subject.enter(Endpoint.DESTROY, desk.now)
    assert served.index(again) < served.index(other)


@given(st.lists(st.tuples(st.sampled_from(list(Endpoint)), st.booleans(), st.floats(0.0, 3.0)), max_size=120))
@settings(max_examples=150, deadline=None)
def test_a_destroy_that_could_go_waits_behind_at_most_one_call_of_a_lower_class(
    steps: list[tuple[Endpoint, bool, float]],
) -> None:
    subject = pacer(Published(dict.fromkeys(Endpoint, 0.5), shared=1.0, blocks=Blocks.ACCOUNT))
    now = 0.0
    behind: dict[Ticket, int] = {}
    for endpoint, fine, pause in steps:
        now += pause
        ticket = subject.enter(endpoint, now)
        if endpoint is Endpoint.DESTROY:
            behind[ticket] = 0
        could_go = subject.spacings[Endpoint.DESTROY].open_at() <= now
        served = subject.grant(now)
        if served is None:
            continue
        behind.pop(served, None)
        if could_go and served.endpoint is not Endpoint.DESTROY and behind:
            head = next(iter(behind))
            behind[head] += 1
            assert behind[head] <= 1
        subject.sent(served, now)
        if fine:
            subject.succeeded(served, now + 0.1)
        else:
            subject.refused(served, now + 0.1)


# The plain limiter.


def test_the_plain_limiter_keeps_its_intervals_and_pauses_after_a_refusal() -> None:
    desk = Desk()
    desk.pacer = Pacer(PUBLISHED, LimitSettings(learn=False, pause=20.0), random.Random(3))
    for _ in range(100):
        desk.accepted()
    assert desk.gap() == 1.0
    desk.refused()
    began = desk.now
    desk.accepted()
    assert desk.now == began + 20.0
    desk.refused(retry_after=50.0)
    began = desk.now
    desk.accepted()
    assert desk.now > began + 50.0
    assert desk.gap() == 1.0


# What survives a restart.

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_what_was_learned_is_taken_up_more_carefully_and_not_in_step() -> None:
    desk = Desk(Published(PUBLISHED.intervals, shared=0.5))
    desk.refused(threshold=4.0)
    desk.pacer.refused(desk.turn(Endpoint.SHOW), desk.now, retry_after=100.0, blocks=Blocks.ACCOUNT)
    layers = desk.pacer.learned(desk.now, NOON)
    assert set(layers) == {"list", "shared"}
    first_calls = set()
    for seed in (1, 2, 3):
        other = pacer(Published(PUBLISHED.intervals, shared=0.5), seed)
        other.recall(layers, 5000.0, NOON + timedelta(seconds=90))
        assert other.spacings[Endpoint.LIST].gap == pytest.approx(4.4)
        assert other.spacings[Endpoint.DESTROY].gap == 3.0
        assert other.shared.rate == pytest.approx(desk.pacer.shared.rate / 1.1)
        assert other.shared.blocked_until - 5000.0 >= 10.0
        assert other.learned_from["list"] == "threshold"
        first_calls.add(other.spacings[Endpoint.LIST].blocked_until)
    assert len(first_calls) == 3


def test_what_was_published_otherwise_meanwhile_is_learned_anew() -> None:
    desk = Desk()
    desk.refused(threshold=4.0)
    other = pacer(Published({Endpoint.LIST: 2.0}))
    other.recall(desk.pacer.learned(desk.now, NOON), 0.0, NOON)
    assert other.spacings[Endpoint.LIST].gap == 2.0


def test_nothing_is_kept_of_what_was_never_learned() -> None:
    assert Desk().pacer.learned(0.0, NOON) == {}


# Whatever happens.


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Endpoint)),
            st.sampled_from(["fine", "leave", "give back", "refused", "lost", "quota", "told"]),
            st.floats(0.0, 5.0),
        ),
        max_size=80,
    ),
    st.sampled_from([Blocks.ENDPOINT, Blocks.ACCOUNT]),
)
@settings(max_examples=200, deadline=None)
def test_whatever_happens_everybody_who_still_waits_is_served(
    steps: list[tuple[Endpoint, str, float]], blocks: Blocks
) -> None:
    subject = pacer(Published(dict.fromkeys(Endpoint, 2.0), shared=0.5, blocks=blocks))
    now = 0.0
    waiting = 0

    def settle(ticket: Ticket, how: str) -> None:
        if how == "give back":
            subject.give_back(ticket)
            return
        subject.sent(ticket, now)
        if how == "refused":
            subject.refused(ticket, now + 0.1)
        elif how == "told":
            subject.refused(ticket, now + 0.1, 7.0, 2.5)
        elif how == "quota":
            subject.refused(ticket, now + 0.1, 100.0, blocks=Blocks.QUOTA)
        elif how == "lost":
            subject.lost(ticket)
        else:
            subject.succeeded(ticket, now + 0.1)

    for endpoint, how, pause in steps:
        now += pause
        ticket = subject.enter(endpoint, now)
        waiting += 1
        if how == "leave":
            subject.leave(ticket)
            waiting -= 1
        served = subject.grant(now)
        if served is not None:
            waiting -= 1
            settle(served, how)
    while (at := subject.next_at()) is not None:
        now = max(now, at)
        served = subject.grant(now)
        assert served is not None
        waiting -= 1
        settle(served, "fine")
    assert waiting == 0


@given(st.lists(st.tuples(st.sampled_from(list(Endpoint)), st.floats(0.0, 3.0)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_calls_that_teach_nothing_are_never_closer_than_what_is_published(steps: list[tuple[Endpoint, float]]) -> None:
    subject = pacer(Published(dict.fromkeys(Endpoint, 2.0), shared=0.5))
    now = 0.0
    used: list[tuple[float, Endpoint]] = []
    for endpoint, pause in [*steps, *([(Endpoint.OFFERS, 3.0)] * 30)]:
        now += pause
        subject.enter(endpoint, now)
        while (ticket := subject.grant(now)) is not None:
            subject.sent(ticket, now)
            subject.lost(ticket)
            used.append((now, ticket.endpoint))
    for endpoint in Endpoint:
        own = [at for at, served_endpoint in used if served_endpoint is endpoint]
        assert all(later - earlier >= 2.0 - 1e-5 for earlier, later in pairwise(own))
    # A bucket of two tokens: of any three calls the first and the last are a spacing apart.
    assert all(third - first >= 0.5 - 1e-5 for (first, _), (third, _) in zip(used, used[2:], strict=False))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (LimitSettings(), 0.6),
        (LimitSettings(list=5.0), 0.6),
        (LimitSettings(list=0.1), 0.1),
        (LimitSettings(list=0.1, shared=0.3), 0.3),
        (LimitSettings(shared=0.0), 0.0),
    ],
)
def test_the_accounts_own_spacing_is_never_longer_than_what_an_operator_set(
    overrides: LimitSettings, expected: float
) -> None:
    assert Pacer(Published(shared=0.6), overrides, random.Random(3)).shared.interval == pytest.approx(expected)


def test_quick_answers_after_slow_ones_draw_no_call_near_to_the_one_before() -> None:
    desk = Desk()
    left = []
    for seconds in [4.8] * 10 + [0.1] * 10:
        ticket = desk.turn()
        left.append(desk.now)
        desk.now += seconds
        desk.pacer.lost(ticket) if seconds < 1.0 else desk.pacer.succeeded(ticket, desk.now)
    assert min(after - before for before, after in pairwise(left)) >= SOONER_SHARE * 0.99


late_sends = st.lists(
    st.tuples(st.sampled_from(list(Endpoint)), st.floats(0.0, 1.5), st.floats(0.0, 4.0)), min_size=3, max_size=30
)


@given(late_sends)
@settings(max_examples=200, deadline=None)
def test_however_late_calls_leave_after_their_turns_no_three_leave_within_the_accounts_spacing(
    asked: list[tuple[Endpoint, float, float]],
) -> None:
    subject = pacer(Published(shared=1.0))
    now, coming, lateness = 0.0, list(asked), dict[Ticket, float]()
    next_comes = coming[0][1]
    leaving: list[tuple[float, int, Ticket]] = []
    left: list[float] = []
    while len(left) < len(asked):
        due = subject.next_at()
        moments = [leaving[0][0]] if leaving else []
        moments += [next_comes] if coming else []
        moments += [] if due is None else [due]
        now = max(now, min(moments))
        if coming and next_comes <= now:
            endpoint, _, late = coming.pop(0)
            lateness[subject.enter(endpoint, now)] = late if endpoint in (Endpoint.CREATE, Endpoint.DESTROY) else 0.0
            next_comes = now + coming[0][1] if coming else math.inf
        while leaving and leaving[0][0] <= now:
            _, _, ticket = leaving.pop(0)
            subject.sent(ticket, now)
            subject.lost(ticket)
            left.append(now)
        while (granted := subject.grant(now)) is not None:
            leaving.append((now + lateness[granted], len(leaving), granted))
            leaving.sort(key=lambda each: each[:2])
    assert all(third - first >= 1.0 - 1e-6 for first, third in zip(left, left[2:], strict=False))

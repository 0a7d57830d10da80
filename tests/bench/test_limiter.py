"""The benchmark of the limiter itself: its pretended marketplaces, and that a run can be repeated."""

from random import Random

import pytest

from shopperd.providers.pacing import Endpoint
from tests.bench.limiter import paced
from tests.bench.limiter_servers import BY_ENDPOINT, Bucket, Intervals, Sliding, Steps, Windows, Word, case
from tests.bench.limiter_strategies import BASELINES
from tests.bench.limiter_workloads import saturated


def test_a_run_can_be_repeated() -> None:
    assert saturated(case("M3 90 others"), paced, 3, 900.0) == saturated(case("M3 90 others"), paced, 3, 900.0)
    assert saturated(case("M1 x1"), paced, 3, 900.0) != saturated(case("M1 x1"), paced, 4, 900.0)


def test_the_limiter_is_refused_far_less_than_one_that_never_waits() -> None:
    of = case("M2 1/s b5")
    ours = saturated(of, paced, 3, 1200.0)
    hasty = saturated(of, lambda of, told, random: BASELINES["S0"](of.published, told, random), 3, 1200.0)
    assert ours.refused < 0.05 < 0.9 < hasty.refused
    assert ours.settled > 0.95


def test_spacing_counts_from_the_last_accepted_call_or_from_any() -> None:
    moments = (0.0, 0.6, 1.1, 1.7, 2.2)
    for any_arrival, expected in (
        (False, [True, False, True, False, True]),
        (True, [True, False, False, False, False]),
    ):
        server = Intervals(any_arrival=any_arrival)
        assert [server.arrive(Endpoint.LIST, at).accepted for at in moments] == expected


def test_a_quota_is_used_up_until_midnight() -> None:
    server = Intervals(quota=1, midnight=100.0)
    assert server.arrive(Endpoint.OFFERS, 0.0).accepted
    assert server.arrive(Endpoint.OFFERS, 40.0).reset == 60.0
    assert server.arrive(Endpoint.OFFERS, 101.0).accepted


def test_a_bucket_serves_its_burst_and_tells_when_the_next_token_comes() -> None:
    server = Bucket(Steps(0.5), 2.0, Word("RA"))
    answers = [server.arrive(Endpoint.LIST, 0.0) for _ in range(3)]
    assert [answer.accepted for answer in answers] == [True, True, False]
    assert answers[-1].retry_after == 2.0
    assert server.arrive(Endpoint.LIST, 2.0).accepted


@pytest.mark.parametrize("server", [Windows(3, Random(1)), Sliding(3)])
def test_a_minute_s_count_is_used_up(server: Windows | Sliding) -> None:
    assert [server.arrive(Endpoint.LIST, 20.0 + at).accepted for at in (0.0, 1.0, 2.0, 3.0)] == [
        True,
        True,
        True,
        False,
    ]
    assert server.arrive(Endpoint.LIST, 80.5).accepted


def test_what_is_published_is_true_for_a_factor_of_one() -> None:
    server = Intervals()
    assert all(server.ideal(endpoint, 0.0) == BY_ENDPOINT.intervals[endpoint] for endpoint in Endpoint)

"""The world as a whole: the same seed and requests give the same bytes; time, limits, the log, and no keys anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from shopperd.simulator import Request, World, WorldSettings
from shopperd.simulator.exchange import Answer
from tests.simulator.visitor import KEY, START, Visitor


def _story(seed: int) -> list[Answer]:
    """An hour of everything, faults included."""
    answers: list[Answer] = []
    for dialect in ("vastai", "v2", "v0"):
        visitor = Visitor(dialect, seed=seed, boot_seconds=20, rate_scale=0.1)
        visitor.world.switch_on("server_error", probability=0.1)
        visitor.world.switch_on("create_twice", probability=0.3)
        visitor.world.switch_on("list_partial", share=0.2, probability=0.5)
        visitor.world.switch_on("garbage", probability=0.05)
        draw = random.Random(99)
        for _ in range(60):
            visitor.wait(draw.uniform(1, 100))
            acts: list[Callable[[], Answer]] = [visitor.search, visitor.create, visitor.page]
            ids = visitor.existing()
            if ids:
                chosen = draw.choice(ids)
                acts += [partial(visitor.show, chosen), partial(visitor.destroy, chosen)]
            answers.append(draw.choice(acts)())
        answers.append(visitor.control("GET", "state"))
        answers.append(visitor.control("GET", "requests"))
    return answers


def test_the_same_seed_and_requests_give_the_same_bytes() -> None:
    assert _story(5) == _story(5)


def test_another_seed_gives_another_world() -> None:
    assert _story(5) != _story(6)


def test_a_big_market_has_exactly_the_asked_number_of_offers() -> None:
    world = World.build(WorldSettings(offers=5_000), now=START)
    assert len(world.truth.vast.offers) == 5_000
    assert list(world.truth.vast.offers) == sorted(world.truth.vast.offers)


def test_there_is_no_third_provider() -> None:
    with pytest.raises(ValueError, match="no provider 'lambda'"):
        World.build(now=START).handle("lambda", Request("GET", "/"), START)


# --- time ---------------------------------------------------------------------------------------------------


def test_the_worlds_clock_is_the_doors_plus_what_it_was_advanced() -> None:
    visitor = Visitor()
    assert visitor.world.advance(3600) == START + 3600
    visitor.wait(5)
    assert visitor.world.truth.now == START + 3605


def test_the_worlds_clock_never_runs_back() -> None:
    visitor = Visitor()
    visitor.wait(100)
    visitor.now = START
    visitor.page()
    assert visitor.world.truth.now == START + 100
    with pytest.raises(ValueError, match="does not run back"):
        visitor.world.advance(-1)


def test_what_is_due_happens_in_its_order_and_at_its_time() -> None:
    visitor = Visitor()
    seen: list[tuple[str, float]] = []
    for name, delay in (("b", 20.0), ("a", 10.0), ("c", 20.0), ("never", 99.0)):
        visitor.world.truth.later(START + delay, lambda now, name=name: seen.append((name, now - START)))
    visitor.wait(30)
    assert seen == [("a", 10.0), ("b", 20.0), ("c", 20.0)]


# --- limits -------------------------------------------------------------------------------------------------


def test_a_request_inside_the_published_interval_is_429_and_names_the_threshold() -> None:
    visitor = Visitor(rate_scale=1.0)
    visitor.conjure()
    assert visitor.page().status == 200
    early = visitor.page()
    assert early.status == 429
    assert "threshold=1" in early.json()["msg"]
    visitor.wait(1)
    assert visitor.page().status == 200


def test_each_operation_has_its_interval_and_its_words() -> None:
    visitor = Visitor(rate_scale=1.0)
    visitor.create()
    assert "threshold=4.5*1.0" in visitor.create().json()["message"]
    ids = visitor.conjure(2)
    visitor.show(ids[0])
    assert "threshold=2" in visitor.show(ids[1]).json()["detail"]
    visitor.destroy(ids[0])
    assert visitor.destroy(ids[1]).json()["error"] == "rate_limit_exceeded"
    assert ids[1] in visitor.existing()


def test_another_key_has_its_own_interval() -> None:
    visitor = Visitor(rate_scale=1.0)
    visitor.page()
    visitor.key = "another"
    assert visitor.page().status == 200


def test_ten_searches_a_minute_are_served_and_the_eleventh_is_not() -> None:
    visitor = Visitor(rate_scale=1.0)
    assert [visitor.search().status for _ in range(11)] == [200] * 10 + [429]
    visitor.wait(60)
    assert visitor.search().status == 200


def test_a_hundred_requests_a_minute_are_served_by_tensordock_and_the_next_is_not() -> None:
    visitor = Visitor("v2", rate_scale=1.0)
    assert {visitor.page().status for _ in range(100)} == {200}
    refused = visitor.page()
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "5"
    assert refused.headers["X-RateLimit-Remaining"] == "0"


def test_v0_is_not_limited() -> None:
    visitor = Visitor("v0", rate_scale=1.0)
    assert {visitor.page().status for _ in range(150)} == {200}


def test_a_scale_of_zero_limits_nothing_and_a_small_one_less() -> None:
    assert {Visitor(rate_scale=0).page().status for _ in range(3)} == {200}
    visitor = Visitor(rate_scale=0.1)
    visitor.page()
    visitor.wait(0.1)
    assert visitor.page().status == 200


# --- the log ------------------------------------------------------------------------------------------------


def test_the_log_tells_each_request_with_its_effect() -> None:
    visitor = Visitor()
    instance_id = visitor.rent()
    visitor.destroy(instance_id)
    visitor.world.switch_on("connection_reset")
    visitor.page()
    created, destroyed, dropped = visitor.world.requests.after(0)
    assert (created.method, created.operation, created.effect) == ("PUT", "create", f"created:{instance_id}")
    assert (destroyed.path, destroyed.effect) == (f"/api/v0/instances/{instance_id}/", f"destroyed:{instance_id}")
    assert (dropped.status, dropped.faults) == (None, ("connection_reset",))


def test_no_key_is_in_the_log_the_state_or_a_repr() -> None:
    visitor = Visitor("v0", only_key=KEY)
    visitor.rent()
    visitor.ask("GET", "/api/v0/client/deploy/hostnodes", query={"api_key": "an-id", "api_token": KEY})
    everything = visitor.control("GET", "requests").body + visitor.control("GET", "state").body
    assert KEY.encode() not in everything
    assert b"Abcdefg1!" not in everything
    request = Request("GET", "/", {"api_token": KEY}, {"Authorization": KEY}, KEY.encode())
    assert KEY not in repr(request)
    assert KEY not in repr(visitor.world)

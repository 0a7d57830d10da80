"""Every order of what may happen, as far as the ordinary suite has time for; `make prove` goes on from here."""

import random

import pytest

from tests.heart.findings import pardoned
from tests.heart.model import Heart, possible, step
from tests.heart.scenarios import SCENARIOS, Scenario, scenario
from tests.heart.state import State, key_of
from tests.heart.walk import Violation, sentence_of, walk, wander, wrongs_on

TRANSITIONS = 900
WAYS = 4
WAY_STEPS = 40
ALIKE_MAX = 40


def told(violations: tuple[Violation, ...]) -> str:
    return "\n\n".join(map(str, violations))


@pytest.mark.parametrize("place", SCENARIOS, ids=lambda place: place.name)
def test_no_order_of_events_breaks_a_promise(place: Scenario) -> None:
    walked = walk(place, transitions_max=TRANSITIONS, heal_every=60)
    new = tuple(found for found in walked.violations if found.rule not in pardoned(place.name))
    assert not new, told(new)
    assert walked.healed > 0


@pytest.mark.parametrize("place", SCENARIOS, ids=lambda place: place.name)
def test_no_long_way_breaks_a_promise(place: Scenario) -> None:
    for number in range(WAYS):
        found = wander(place, random.Random(f"{place.name}/{number}"), WAY_STEPS, besides=pardoned(place.name))
        assert found is None, str(found)


def test_what_goes_wrong_on_a_long_way_is_told_by_a_short_one() -> None:
    place = scenario("two sessions, one of them with a deadline")
    heart = Heart(wants_proof=lambda *_: ())
    found = next(filter(None, (wander(place, random.Random(number), WAY_STEPS, heart) for number in range(20))))
    assert found.rule == "healed, it never closes a session that is over"
    way = found.path[len(place.before) :]
    assert len(way) <= 6
    for left_out in range(len(way)):
        shorter = way[:left_out] + way[left_out + 1 :]
        assert found.rule not in wrongs_on(place, shorter, heart, healed=True)


def test_a_small_world_is_walked_whole() -> None:
    walked = walk(scenario("a store put back from while a session was lost"), transitions_max=400, depth_max=3)
    assert walked.deepest == 3
    assert not walked.whole
    assert walked.states < walked.transitions


def test_a_walk_is_the_same_every_time() -> None:
    place = scenario("everything at once")
    assert walk(place, transitions_max=500) == walk(place, transitions_max=500)


@pytest.mark.parametrize(
    "name",
    ["everything at once", "ids that are used again", "answers that come late", "a store put back from a backup"],
)
def test_states_with_one_key_have_the_same_future(name: str) -> None:
    place, heart = scenario(name), Heart()
    start = place.start(heart)
    first: dict[int, State] = {key_of(start, place.rules): start}
    level, compared = [start], 0
    while compared < ALIKE_MAX:
        following: list[State] = []
        for state in level:
            for action in possible(state, place.rules, heart):
                after = step(state, action, place.rules, heart).state
                known = first.setdefault(key_of(after, place.rules), after)
                if known is after:
                    following.append(after)
                elif known != after and compared < ALIKE_MAX:
                    compared += 1
                    assert futures(known, place) == futures(after, place), sentence_of(action)
        level = following


def futures(state: State, place: Scenario) -> dict[str, object]:
    """What each action leads to, and what is wrong about it."""
    found: dict[str, object] = {}
    for action in possible(state, place.rules, Heart()):
        turn = step(state, action, place.rules, Heart())
        found[sentence_of(action)] = (key_of(turn.state, place.rules), turn.wrongs)
    return found

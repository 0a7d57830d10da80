"""The process is cut at every boundary of a story: each transaction, commit, request, effect and answer."""

import os

import pytest

from tests.simulation.oracles import judge
from tests.simulation.play import play
from tests.simulation.stories import STORIES, Story

EVERY = int(os.environ.get("SHOPPERD_CRASH_EVERY", "9"))
"""The quick suite cuts at one point in so many, and at others from story to story; 1 cuts at all of them."""

_names = [story.name for story in STORIES]


def points(story: Story) -> list[tuple[int, str]]:
    """The boundaries of the uncut story with their names, without those that leave the world and the store as the one before.

    A cut before a transaction, after one that wrote nothing, or around a request that only looks is a cut at the last
    commit or effect. Heartbeats are the exception that proves nothing: there are hundreds, all alike.
    """
    ledger = play(story.cut_at(None))
    assert judge(ledger) == []
    return [
        (number, name)
        for number, name in enumerate(ledger.crossings, 1)
        if name.startswith(("commit", "effect create", "effect destroy", "answer create", "answer destroy"))
        and name != "commit beat"
    ]


@pytest.mark.parametrize("story", STORIES, ids=_names)
def test_wherever_the_process_is_cut_it_ends_right(story: Story) -> None:
    wrong: list[str] = []
    for number, name in points(story)[STORIES.index(story) % EVERY :: EVERY]:
        ledger = play(story.cut_at(number))
        assert len(ledger.memory) == 2, "it was cut once"
        wrong.extend(f"cut at boundary {number} ({name}): {text}" for text in judge(ledger))
    assert wrong == []


@pytest.mark.parametrize("story", STORIES, ids=_names)
def test_the_points_of_a_story_hold_its_effects_and_their_commits(story: Story) -> None:
    names = [name for _, name in points(story)]
    assert {"effect create", "answer create", "effect destroy", "answer destroy"} <= set(names)
    assert {"commit begin", "commit begin_attempt", "commit record_snapshot", "commit record_gone"} <= set(names)

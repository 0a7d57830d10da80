"""The process is cut at every boundary of a story: each transaction, commit, request, effect and answer."""

import os

import pytest

from tests.simulation.play import play
from tests.simulation.stories import STORIES, Story
from tests.simulation.verdicts import verdict_on

EVERY = int(os.environ.get("SHOPPERD_CRASH_EVERY", "9"))
"""The quick suite cuts at one point in so many, and at others from story to story; 1 cuts at all of them."""

_names = [story.name for story in STORIES]


@pytest.mark.parametrize("story", STORIES, ids=_names)
def test_wherever_the_process_is_cut_it_ends_right(story: Story) -> None:
    uncut = verdict_on(story.cut_at(None))
    assert uncut.wrong == ()
    assert uncut.ledger is not None
    wrong: list[str] = []
    for number, name in list(story.points())[STORIES.index(story) % EVERY :: EVERY]:
        verdict = verdict_on(story.cut_at(number))
        wrong.extend(f"cut at boundary {number} ({name}): {text}" for text in verdict.wrong)
        assert verdict.ledger is not None, wrong
        # A cut right before a store is put back leaves the process down for both, so that no life is added.
        ends = [life.ended for life in uncut.ledger.lives]
        assert [life.ended for life in verdict.ledger.lives] != ends, "it was cut once more"
        assert len(verdict.ledger.lives) - len(ends) in (0, 1)
    assert wrong == []


@pytest.mark.parametrize("story", STORIES, ids=_names)
def test_the_points_of_a_story_hold_its_effects_and_their_commits(story: Story) -> None:
    names = [name for _, name in story.points()]
    assert {"effect create", "answer create", "effect destroy", "answer destroy"} <= set(names)
    assert {"commit begin", "commit begin_attempt", "commit record_snapshot", "commit record_gone"} <= set(names)


def test_the_same_story_is_told_every_time() -> None:
    story = STORIES[0]
    assert play(story.cut_at(5)).crossings == play(story.cut_at(5)).crossings

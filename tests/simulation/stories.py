"""Short scripted stories, to be cut at every boundary that they cross."""

from __future__ import annotations

from attrs import frozen

from shopperd.settings import Settings
from shopperd.simulator import WorldSettings
from tests.simulation.house import dock, quick_settings, quick_world, vast
from tests.simulation.schedules import Schedule, Step

STORY_SECONDS = 420.0


@frozen
class Story:
    """A schedule without chance. `seed` still decides the order of tasks and the latency."""

    name: str
    settings: Settings
    steps: tuple[Step, ...]
    seed: int = 1

    @property
    def world(self) -> WorldSettings:
        return quick_world(self.seed, boot_seconds=10.0)

    def cut_at(self, boundary: int | None) -> Schedule:
        """The story, with the process cut at that boundary, from 1; None lets it live."""
        return Schedule(self.seed, self.settings, self.world, self.steps, STORY_SECONDS, boundary)


def _create(account: str, at: float = 12.0, lifetime: float | None = None) -> Step:
    return Step(at, "create", {"key": "one", "account": account, "lifetime": lifetime})


def _end(at: float) -> Step:
    return Step(at, "end", {"key": "one"})


STORIES = (
    Story("create, run, end at Vast.ai", quick_settings(vast()), (_create("vast"), _end(90.0))),
    Story("create, run, end at TensorDock", quick_settings(dock("v2")), (_create("dock-v2"), _end(90.0))),
    Story("create and end at once", quick_settings(vast()), (_create("vast"), _end(12.7))),
    Story(
        "the create's answer is lost",
        quick_settings(vast()),
        (Step(5.0, "fault", {"name": "create_answer_lost", "count": 1}), _create("vast"), _end(150.0)),
    ),
    Story(
        "the destroy's answer is lost",
        quick_settings(vast()),
        (Step(5.0, "fault", {"name": "destroy_answer_lost", "count": 1}), _create("vast"), _end(60.0)),
    ),
    Story(
        "a machine of a session that is over comes back",
        quick_settings(vast()),
        (
            _create("vast"),
            _end(50.0),
            Step(110.0, "appear", {"account": "vast", "tag": "over", "age": 0.0, "pick": 0}),
        ),
    ),
    Story("a session reaches its deadline", quick_settings(vast()), (_create("vast", lifetime=60.0),)),
)

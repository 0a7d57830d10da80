"""Short scripted stories, to be cut at every boundary that they cross."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from tests.simulation.play import play
from tests.simulation.schedules import Schedule, Step
from tests.simulation.shapes import DOCK, VAST, Shape

SWEEP = 12.0
STORY_SECONDS = 8 * SWEEP
EFFECTS = ("commit", "effect create", "effect destroy", "answer create", "answer destroy")


@frozen
class Story:
    """A schedule without chance. `seed` still decides the order of tasks and the latency."""

    name: str
    account: str
    steps: tuple[Step, ...]
    seed: int = 1

    def cut_at(self, boundary: int | None) -> Schedule:
        """The story, with the process cut at that boundary, from 1; None lets it live."""
        shape = Shape(accounts=(self.account,), sweep=SWEEP, status_share=0.5, boot=SWEEP / 6)
        return Schedule(self.seed, shape, self.steps, STORY_SECONDS, boundary)

    def points(self) -> Iterator[tuple[int, str]]:
        """The boundaries of the uncut story with their names, without those that leave the world and the store as the one before.

        A cut before a transaction, after one that wrote nothing, or around a request that only looks is a cut at the last
        commit or effect. Heartbeats are the exception that proves nothing: there are hundreds, all alike.
        """
        for number, name in enumerate(play(self.cut_at(None)).crossings, 1):
            if name.startswith(EFFECTS) and name != "commit beat":
                yield number, name


def _at(sweeps: float, kind: str, **values: object) -> Step:
    return Step(sweeps * SWEEP, kind, values)


def _create(account: str, lifetime: float | None = None, at: float = 0.2) -> Step:
    return _at(at, "create", key="one", account=account, lifetime=lifetime)


def _end(sweeps: float) -> Step:
    return _at(sweeps, "end", key="one")


STORIES = (
    Story("create, run, end at Vast.ai", VAST, (_create(VAST), _end(1.5))),
    Story("create, run, end at TensorDock", DOCK, (_create(DOCK), _end(1.5))),
    Story("create and end at once", VAST, (_create(VAST, at=1.0), _end(1.06))),
    Story(
        "the create's answer is lost",
        VAST,
        (_at(0.1, "fault", name="create_answer_lost", count=1), _create(VAST), _end(2.5)),
    ),
    Story(
        "a create at TensorDock ends unclear",
        DOCK,
        (_at(0.1, "fault", name="create_gateway_timeout", count=1), _create(DOCK), _end(4.0)),
    ),
    Story(
        "the destroy's answer is lost",
        VAST,
        (_at(0.1, "fault", name="destroy_answer_lost", count=1), _create(VAST), _end(1.0)),
    ),
    Story(
        "a machine of a session that is over comes back",
        VAST,
        (_create(VAST), _end(0.8), _at(2.0, "appear", account=VAST, tag="over", age=0.0)),
    ),
    Story("a session reaches its deadline", VAST, (_create(VAST, lifetime=SWEEP),)),
    Story("a create makes two machines", VAST, (_at(0.1, "fault", name="create_twice"), _create(VAST), _end(5.5))),
    Story(
        "a freeze stands between an end and its destroy",
        VAST,
        (_create(VAST), _at(0.9, "freeze"), _end(1.0), _at(3.0, "unfreeze")),
    ),
    Story(
        "the store is put back from a copy that does not know the end",
        VAST,
        (
            _create(VAST),
            _at(1.0, "copy"),
            _end(1.5),
            _at(3.0, "restore", down=2.0, same_file=False),
            _end(5.0),
        ),
    ),
)

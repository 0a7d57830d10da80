"""Beginnings of walks. Each lets happen what belongs to it, so that the walk gets deep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from shopperd.model import CreateOutcome, MemorySpan, SessionState
from shopperd.settings import Settings
from tests.heart.model import Action, Heart, asked_for, expected, step
from tests.heart.state import SMALL, TICK, History, Left, Rules, State, Store, changed
from tests.nouns import NOW, session


@frozen
class Scenario:
    """A beginning: sessions asked for, what had happened before the walk, and what may happen in it.

    Attributes:
        registered: those of the sessions that another tool rents for; the others wait to be created.
        lives: deadlines of sessions in ticks from the start; the others have none.
        before: a way from nothing to the beginning; ``backup`` in it keeps the store of that moment for a restore.
    """

    name: str
    sessions: tuple[int, ...]
    rules: Rules
    left: Left
    before: tuple[Action, ...] = ()
    lives: Mapping[int, int] = field(factory=dict)
    registered: frozenset[int] = frozenset()

    def start(self, heart: Heart) -> State:
        """The state in which the walk begins."""
        made = {}
        deadlines = {number: NOW + life * TICK for number, life in self.lives.items()}
        for number in self.sessions:
            made[number] = (
                expected(number, NOW)
                if number in self.registered
                else session(
                    number,
                    SessionState.CREATING,
                    created_at=NOW,
                    state_since=NOW,
                    create_outcome=CreateOutcome.NONE,
                    create_deadline_at=NOW + TICK,
                    expires_at=deadlines.get(number),
                )
            )
        store = Store(sessions=made, spans=(MemorySpan(NOW - TICK, NOW),))
        history = History(asked=asked_for(*self.sessions, deadlines=deadlines))
        plenty = Left(9, 9, 9, 9, 9, 9, 9, 9)
        state = State(store=store, history=history, left=plenty)
        for action in self.before:
            if action == ("backup",):
                state = changed(state, backup=state.store)
                continue
            turn = step(state, action, self.rules, heart)
            if turn.wrongs:
                raise ValueError(f"{self.name} begins with something that may not happen: {turn.wrongs}")
            state = turn.state
        return changed(state, left=self.left)


def rented(number: int, id_: str, tag: str = "exact") -> tuple[Action, ...]:
    """A create that went well."""
    one = str(number)
    return (("begin", one), ("rent", one, id_, tag), ("answer", one, "accepted"))


def settings(**orphans: Any) -> Settings:
    """The small constants, with some of the orphan rules changed."""
    return evolve(SMALL, orphans=evolve(SMALL.orphans, **orphans))


def seen(*ids: str) -> tuple[Action, ...]:
    """Two complete listings, a tick apart."""
    return (("list", "complete", *ids), ("tick",), ("list", "complete", *ids))


_LOOKING = frozenset({"tick", "list", "read", "find", "sweep", "destroy"})
_CREATING = frozenset({"begin", "rent", "answer"})
_DYING = frozenset({"crash", "restart"})

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "a create, from the intent to the end",
        sessions=(1,),
        rules=Rules(acts=_LOOKING | _CREATING | _DYING | {"end", "vanish"}),
        left=Left(crashes=1, vanishings=1),
    ),
    Scenario(
        "a create with a deadline, and a second machine with its tag",
        sessions=(1,),
        lives={1: 2},
        rules=Rules(strangers=("twin",), acts=_LOOKING | _CREATING | {"extend", "appear", "vanish", "end"}),
        left=Left(appearances=1, vanishings=1, extensions=1),
    ),
    Scenario(
        "two sessions, one of them with a deadline",
        sessions=(1, 2),
        lives={1: 3},
        before=(*rented(1, "a"), *rented(2, "b"), *seen("a", "b")),
        rules=Rules(acts=_LOOKING | {"end", "extend", "vanish", "freeze", "unfreeze", "command"}),
        left=Left(extensions=1, vanishings=2),
    ),
    Scenario(
        "a twin of a live session's machine",
        sessions=(1,),
        before=(*rented(1, "a"), ("appear", "b", "twin"), *seen("a", "b")),
        rules=Rules(strangers=("twin",), acts=_LOOKING | {"end", "vanish", "appear", "command", "exempt", "unexempt"}),
        left=Left(appearances=1, vanishings=2),
    ),
    Scenario(
        "lost, and found again",
        sessions=(1,),
        before=(*rented(1, "a"), *seen("a")),
        rules=Rules(strangers=("twin",), acts=_LOOKING | {"end", "vanish", "return", "appear", "command"} | _DYING),
        left=Left(appearances=1, vanishings=2, returns=2, crashes=1),
    ),
    Scenario(
        "orphans, and a limit of one",
        sessions=(1, 2),
        before=(*rented(1, "a"), *rented(2, "b"), ("appear", "c", "twin"), *seen("a", "b", "c")),
        lives={1: 2, 2: 2},
        rules=Rules(acts=_LOOKING | _DYING | {"exempt", "unexempt", "freeze", "unfreeze"}),
        left=Left(crashes=2),
    ),
    Scenario(
        "verdicts that wait for their last look",
        sessions=(1, 2),
        before=(*rented(1, "a"), *rented(2, "b"), *seen("a", "b"), ("tick",), *seen("a", "b"), ("sweep",)),
        lives={1: 2, 2: 2},
        rules=Rules(acts=_LOOKING | _DYING | {"freeze", "unfreeze"}),
        left=Left(crashes=1),
    ),
    Scenario(
        "limits at zero",
        sessions=(1, 2),
        before=(*rented(1, "a"), *rented(2, "b"), *seen("a", "b")),
        lives={1: 2},
        rules=Rules(
            settings=settings(max_destroys_per_sweep=0, max_share_per_hour=1.0),
            strangers=("twin", "foreign"),
            acts=_LOOKING | _DYING | {"end", "appear", "command", "vanish"},
        ),
        left=Left(appearances=1, vanishings=1, crashes=1),
    ),
    Scenario(
        "report mode",
        sessions=(1, 2),
        before=(*rented(1, "a"), *rented(2, "b"), *seen("a", "b")),
        lives={1: 2},
        rules=Rules(
            settings=settings(mode="report"), strangers=("twin",), acts=_LOOKING | _DYING | {"end", "appear", "command"}
        ),
        left=Left(appearances=1, crashes=1),
    ),
    Scenario(
        "strangers in an account that is ours alone",
        sessions=(1,),
        before=(*rented(1, "a"), *seen("a")),
        rules=Rules(
            exclusive=True,
            strangers=("unknown", "foreign", "bare"),
            acts=_LOOKING | _DYING | {"appear", "vanish", "command", "exempt", "unexempt", "edit"},
        ),
        left=Left(appearances=2, vanishings=1, crashes=2, edits=1),
    ),
    Scenario(
        "an unknown machine that somebody claims",
        sessions=(),
        before=(("list", "complete"), ("appear", "a", "unknown"), *seen("a")),
        rules=Rules(
            exclusive=True,
            strangers=("unknown",),
            acts=_LOOKING | _DYING | {"register", "appear", "vanish", "end", "command", "edit"},
        ),
        left=Left(appearances=1, vanishings=1, registrations=1, crashes=1, edits=1),
    ),
    Scenario(
        "a machine that another tool rents",
        sessions=(1,),
        registered=frozenset({1}),
        lives={1: 3},
        rules=Rules(
            strangers=("twin",), acts=_LOOKING | _DYING | {"appear", "vanish", "return", "end", "command", "extend"}
        ),
        left=Left(appearances=2, vanishings=1, returns=1, crashes=1, extensions=1),
    ),
    Scenario(
        "strangers of untold age in an account that is ours alone",
        sessions=(1,),
        before=(*rented(1, "a"), *seen("a")),
        rules=Rules(
            exclusive=True,
            tells_start=False,
            strangers=("unknown", "foreign"),
            acts=_LOOKING | _DYING | {"appear", "vanish", "command", "end"},
        ),
        left=Left(appearances=2, vanishings=1, crashes=2),
    ),
    Scenario(
        "strangers in an account that others use too",
        sessions=(1,),
        before=(*rented(1, "a"), *seen("a")),
        rules=Rules(strangers=("unknown", "foreign"), acts=_LOOKING | {"appear", "vanish", "command", "end", "edit"}),
        left=Left(appearances=2, vanishings=1, edits=1),
    ),
    Scenario(
        "a machine that comes out without its tag",
        sessions=(1,),
        lives={1: 3},
        rules=Rules(tags=("bare",), acts=_LOOKING | _CREATING | _DYING | {"end", "vanish", "command"}),
        left=Left(crashes=1, vanishings=1),
    ),
    Scenario(
        "ids that are used again",
        sessions=(1, 2),
        before=(*rented(1, "a"), *seen("a")),
        rules=Rules(
            reuse=True,
            ids=("a", "b"),
            strangers=("foreign", "twin", "bare"),
            acts=_LOOKING | _CREATING | {"end", "vanish", "appear", "command", "exempt"},
        ),
        left=Left(appearances=1, vanishings=1),
    ),
    Scenario(
        "a store put back from a backup",
        sessions=(1, 2),
        lives={1: 2},
        before=(*rented(1, "a"), ("appear", "b", "twin"), *seen("a", "b"), ("backup",)),
        rules=Rules(
            exclusive=True,
            strangers=("unknown",),
            acts=_LOOKING | _CREATING | {"crash", "restore", "restart", "end", "extend", "vanish", "appear", "exempt"},
        ),
        left=Left(appearances=1, vanishings=1, crashes=1, restores=1, extensions=1),
    ),
    Scenario(
        "a store put back from before a destroy was called off",
        sessions=(1,),
        before=(
            *rented(1, "a"),
            ("appear", "b", "twin"),
            *seen("a", "b"),
            ("sweep",),
            ("backup",),
            ("vanish", "a"),
            *seen("b"),
            ("read", "a"),
        ),
        rules=Rules(acts=_LOOKING | {"crash", "restore", "restart", "end", "vanish", "exempt"}),
        left=Left(vanishings=1, crashes=1, restores=1),
    ),
    Scenario(
        "a store put back from while a session was lost",
        sessions=(1,),
        before=(
            *rented(1, "a"),
            *seen("a"),
            ("vanish", "a"),
            *seen(),
            ("read", "a"),
            ("backup",),
            ("return", "a"),
            *seen("a"),
        ),
        rules=Rules(acts=_LOOKING | {"crash", "restore", "restart", "end", "vanish"}),
        left=Left(vanishings=1, crashes=1, restores=1),
    ),
    Scenario(
        "listings that lie",
        sessions=(1, 2),
        before=(*rented(1, "a"), *rented(2, "b"), *seen("a", "b")),
        lives={2: 4},
        rules=Rules(lies=True, strangers=("twin",), acts=_LOOKING | {"appear", "vanish", "end", "extend"}),
        left=Left(appearances=1, vanishings=1, extensions=1),
    ),
    Scenario(
        "answers that come late",
        sessions=(1,),
        rules=Rules(slow=True, strangers=("twin",)),
        left=Left(appearances=1, vanishings=1, crashes=1),
    ),
    Scenario(
        "everything at once",
        sessions=(1, 2),
        lives={1: 2},
        before=(*rented(1, "a"), *seen("a")),
        rules=Rules(exclusive=True, strangers=("unknown", "foreign", "twin")),
        left=Left(appearances=2, vanishings=2, crashes=1, extensions=1, returns=1, edits=1),
    ),
)


def scenario(name: str) -> Scenario:
    """A scenario by its name.

    Raises:
        KeyError: there is none.
    """
    return {one.name: one for one in SCENARIOS}[name]

"""Walks every order of what may happen, breadth first, so that what goes wrong is told by a shortest path."""

from __future__ import annotations

import random
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import combinations

from attrs import define, field, frozen

from tests.heart.judge import unhealed
from tests.heart.model import Action, Heart, healed_round, possible, step
from tests.heart.scenarios import Scenario
from tests.heart.state import Rules, State, key_of

HEALED = "healed, it "
"""So begins what is wrong after healing."""

ROUNDS_MAX = 16
"""So many rounds of truth heal everything: a limit of one in two ticks, a grace, a create's deadline, and three machines."""


@frozen
class Violation:
    """Something that may never happen, and the shortest way there."""

    scenario: str
    rule: str
    path: tuple[Action, ...]

    def __str__(self) -> str:
        """A readable account of it."""
        lines = [f"{self.scenario}: {self.rule}"]
        lines.extend(f"  {place:2}. {sentence_of(action)}" for place, action in enumerate(self.path, 1))
        return "\n".join(lines)


@frozen
class Walked:
    """What a walk saw.

    Attributes:
        states: different ones, by their keys.
        deepest: the longest of the shortest ways.
        whole: nothing was left out: there is no other state.
        healed: states from which the truth was let heal everything.
    """

    scenario: str
    states: int
    transitions: int
    deepest: int
    whole: bool
    healed: int
    violations: tuple[Violation, ...]


def walk(
    scenario: Scenario,
    heart: Heart | None = None,
    *,
    transitions_max: int,
    depth_max: int = 1000,
    heal_every: int = 0,
    until: str = "",
) -> Walked:
    """Everything that can follow from a scenario's beginning, up to a number of transitions or a depth.

    A state in which something is wrong is not walked on from.

    Args:
        heal_every: of so many states one is healed; 0: none.
        until: a rule; when it is broken the walk is over.
    """
    walker = _Walker(scenario, heart or Heart(), heal_every, until)
    return walker.walk(transitions_max, depth_max)


@define
class _Walker:
    scenario: Scenario
    heart: Heart
    heal_every: int
    until: str = ""
    came: dict[int, tuple[int, Action]] = field(factory=dict)
    found: dict[str, Violation] = field(factory=dict)
    well: set[int] = field(factory=set)
    transitions: int = 0
    healed: int = 0

    def walk(self, transitions_max: int, depth_max: int) -> Walked:
        rules = self.scenario.rules
        start = self.scenario.start(self.heart)
        root = key_of(start, rules)
        self.came[root] = (root, ())
        level: list[tuple[int, State]] = [(root, start)]
        depth = 0
        whole = True
        while level:
            if depth >= depth_max:
                whole = False
                break
            following: list[tuple[int, State]] = []
            for key, state in level:
                if self.transitions >= transitions_max or self.until in self.found:
                    whole = False
                    break
                following.extend(self._next(key, state))
            level = following
            depth += bool(following)
        return Walked(
            scenario=self.scenario.name,
            states=len(self.came),
            transitions=self.transitions,
            deepest=depth,
            whole=whole,
            healed=self.healed,
            violations=tuple(self.found.values()),
        )

    def _next(self, key: int, state: State) -> Iterator[tuple[int, State]]:
        rules = self.scenario.rules
        for action in possible(state, rules, self.heart):
            self.transitions += 1
            turn = step(state, action, rules, self.heart)
            if turn.wrongs:
                for wrong in turn.wrongs:
                    self._blame(wrong, key, action)
                continue
            following = key_of(turn.state, rules)
            if following in self.came:
                continue
            self.came[following] = (key, action)
            if self.heal_every and len(self.came) % self.heal_every == 0:
                self._heal(following, turn.state)
            yield following, turn.state

    def _heal(self, key: int, state: State) -> None:
        """Progress: let the truth be told for long enough; then nothing may be left, and belief must be truth."""
        rules = self.scenario.rules
        self.healed += 1
        passed: list[int] = []
        at, last = key, state
        for _ in range(ROUNDS_MAX):
            last = healed_round(last, rules, self.heart)
            at = key_of(last, rules)
            if at in self.well:
                self.well.update(passed)
                return
            if passed and at == passed[-1]:
                break
            passed.append(at)
        wrongs = list(unhealed(last, rules))
        if not wrongs:
            self.well.update(passed)
        for wrong in wrongs:
            self._blame(f"{HEALED}{wrong}", *self.came[key])

    def _blame(self, rule: str, key: int, action: Action) -> None:
        if rule not in self.found:
            path = (*self.scenario.before, *self._path_to(key), action)
            self.found[rule] = Violation(self.scenario.name, rule, path)

    def _path_to(self, key: int) -> tuple[Action, ...]:
        path: list[Action] = []
        while True:
            before, action = self.came[key]
            if before == key:
                return tuple(reversed(path))
            path.append(action)
            key = before


# --- deeper than every order can be walked ----------------------------------------------------------------------------


def wander(
    scenario: Scenario,
    rng: random.Random,
    steps: int,
    heart: Heart | None = None,
    *,
    besides: Container[str] = (),
) -> Violation | None:
    """One long way at random, and healing at its end: deeper than a walk of every order comes, and without its certainty.

    What goes wrong, besides rules that were told already, is told by a way from which nothing can be left out any more.
    """
    heart = heart or Heart()
    state, path = scenario.start(heart), []
    for _ in range(steps):
        action = rng.choice(tuple(possible(state, scenario.rules, heart)))
        path.append(action)
        turn = step(state, action, scenario.rules, heart)
        if turn.wrongs:
            return _news(scenario, turn.wrongs, path, heart, besides)
        state = turn.state
    return _news(scenario, _after_healing(state, scenario.rules, heart), path, heart, besides)


def _news(
    scenario: Scenario, wrongs: Iterable[str], path: list[Action], heart: Heart, besides: Container[str]
) -> Violation | None:
    new = next((wrong for wrong in wrongs if wrong not in besides), None)
    return None if new is None else _shortened(scenario, new, path, heart)


def wrongs_on(scenario: Scenario, path: Iterable[Action], heart: Heart, *, healed: bool) -> set[str]:
    """All that is wrong on a way, and, if that is asked for, after healing at its end.

    The way ends where it cannot go on: what it went on with is not possible any more.
    """
    state = scenario.start(heart)
    wrongs: set[str] = set()
    for action in path:
        if action not in possible(state, scenario.rules, heart):
            break
        turn = step(state, action, scenario.rules, heart)
        wrongs.update(turn.wrongs)
        state = turn.state
    return wrongs | set(_after_healing(state, scenario.rules, heart)) if healed else wrongs


def _after_healing(state: State, rules: Rules, heart: Heart) -> list[str]:
    for _ in range(ROUNDS_MAX):
        state = healed_round(state, rules, heart)
    return [f"{HEALED}{wrong}" for wrong in unhealed(state, rules)]


def _shortened(scenario: Scenario, rule: str, path: list[Action], heart: Heart) -> Violation:
    """The way without every action, and every two of them, that it does not need."""
    healed = rule.startswith(HEALED)
    for size in (1, 2, 1):
        for left_out in sorted(combinations(range(len(path)), size), reverse=True):
            if left_out[-1] >= len(path):
                continue
            without = [action for place, action in enumerate(path) if place not in left_out]
            if rule in wrongs_on(scenario, without, heart, healed=healed):
                path = without
    return Violation(scenario.name, rule, (*scenario.before, *path))


SENTENCES: Mapping[str, str] = {
    "tick": "time passes",
    "crash": "the process dies",
    "restart": "it is started again",
    "restore": "the store is put back from the backup, and it is started",
    "backup": "a backup is made of the store",
    "appear": "a machine {0} turns up ({1})",
    "vanish": "machine {0} vanishes",
    "return": "machine {0} is back",
    "edit": "the tag of {0} is edited",
    "rent": "the create of session {0} has its effect: machine {1} (tag {2})",
    "begin": "the create of session {0} is sent",
    "answer": "the create of session {0} is answered: {1}",
    "end": "session {0} is ended by command",
    "extend": "session {0} is extended",
    "register": "a session is registered for the unknown machine",
    "command": "a destroy of {0} is commanded",
    "exempt": "{0} is exempted",
    "unexempt": "{0} is exempt no longer",
    "freeze": "frozen",
    "unfreeze": "unfrozen",
    "ask": "a listing is asked for",
    "hear": "the listing is answered ({0})",
    "read": "a single read does not find {0}",
    "find": "a single read finds {0}, which listings miss",
    "settle": "what the reads said is recorded",
    "sweep": "a sweep",
    "look": "the last look at {0} before its destroy",
    "send": "the destroy of {0} is sent ({1})",
    "destroy": "a try to destroy {0} ({1})",
}


def sentence_of(action: Action) -> str:
    """An action in words."""
    verb, *what = action
    if verb == "list":
        how, *ids = what
        return f"{'a complete' if how == 'complete' else 'an incomplete'} listing holds {', '.join(ids) or 'nothing'}"
    return SENTENCES[verb].format(*what)

"""What walks have found: the shortest way to each promise that was once broken.

A finding that stands still says why in `cause`: its test is expected to fail, and walks let the same thing pass in the same
scenario. Once the cause is mended the test fails for passing; then `cause` is taken out, and the way stays as a test for ever.
"""

from __future__ import annotations

from attrs import frozen

from tests.heart.model import Action, Heart
from tests.heart.scenarios import scenario
from tests.heart.walk import HEALED, wrongs_on


@frozen
class Finding:
    """A way from the beginning of a scenario to what may never happen.

    Attributes:
        name: what happens, as a sentence.
        rule: what the judge says of it.
        cause: where it comes from, while it has not been mended; "" when it is.
        elsewhere: other scenarios in which it goes wrong too.
    """

    name: str
    scenario: str
    path: tuple[Action, ...]
    rule: str
    cause: str = ""
    elsewhere: tuple[str, ...] = ()


def wrongs_of(finding: Finding, heart: Heart) -> set[str]:
    """All that is wrong on the way of a finding. Where the cause is mended the way may end early."""
    return wrongs_on(scenario(finding.scenario), finding.path, heart, healed=finding.rule.startswith(HEALED))


def pardoned(name: str) -> frozenset[str]:
    """What is known to go wrong in a scenario and is not mended yet."""
    known = (finding for finding in FINDINGS if finding.cause and name in (finding.scenario, *finding.elsewhere))
    return frozenset(finding.rule for finding in known)


def _list(*ids: str) -> Action:
    return ("list", "complete", *ids)


TICK: Action = ("tick",)
SWEEP: Action = ("sweep",)

FINDINGS: tuple[Finding, ...] = (
    Finding(
        "the last twin of a session is destroyed after the bound machine has vanished",
        "a twin of a live session's machine",
        (("vanish", "a"), SWEEP, _list("b"), ("destroy", "b", "done")),
        "destroyed a live session's machine",
    ),
    Finding(
        "a stranger's machine under the re-used id of an ending session is condemned",
        "ids that are used again",
        (
            ("end", "1"),
            ("destroy", "a", "done"),
            ("appear", "a", "foreign"),
            _list("a"),
            _list("a"),
            TICK,
            _list("a"),
            SWEEP,
            ("destroy", "a", "done"),
        ),
        "destroyed a foreign machine",
    ),
    Finding(
        "a stranger's machine under the re-used id of a live session goes when that is ended",
        "ids that are used again",
        (("vanish", "a"), ("appear", "a", "foreign"), _list("a"), ("end", "1"), ("destroy", "a", "done")),
        "destroyed a foreign machine",
    ),
    Finding(
        "a session whose id names a stranger's machine is believed to be live",
        "ids that are used again",
        (("vanish", "a"), ("appear", "a", "foreign")),
        f"{HEALED}believes a session to have a machine that is not its own or not there",
    ),
    Finding(
        "a machine whose tag reads foreign at the last look is destroyed by a command that meant its former tag",
        "strangers in an account that others use too",
        (("appear", "b", "unknown"), _list("a", "b"), ("edit", "b"), ("command", "b"), ("destroy", "b", "done")),
        "destroyed a foreign machine",
    ),
    Finding(
        "a session that expires in the moment in which its machine is proven gone is never closed",
        "two sessions, one of them with a deadline",
        (("vanish", "a"), _list("b"), _list("b"), TICK, TICK, ("read", "a")),
        f"{HEALED}never closes a session that is over",
    ),
    Finding(
        "a destroy that a restored store still holds is sent before anything was looked at",
        "a store put back from before a destroy was called off",
        (("crash",), ("restore",), ("destroy", "b", "done")),
        "destroyed a live session's machine",
    ),
    Finding(
        "a session that came back after the backup is condemned when its backup's window has passed",
        "a store put back from while a session was lost",
        (
            TICK,
            ("crash",),
            ("restore",),
            _list("a"),
            TICK,
            _list("a"),
            SWEEP,
            SWEEP,
            ("destroy", "a", "done"),
        ),
        "destroyed a live session's machine",
    ),
    Finding(
        "a session that came back after the backup is condemned if nothing could be listed for its whole window since the restore",
        "a store put back from while a session was lost",
        (
            ("crash",),
            ("restore",),
            TICK,
            TICK,
            _list("a"),
            TICK,
            _list("a"),
            SWEEP,
            SWEEP,
            ("destroy", "a", "done"),
        ),
        "destroyed a live session's machine",
    ),
    Finding(
        "verdicts that were held up are carried out together, more of them than an hour allows",
        "verdicts that wait for their last look",
        (TICK, TICK, _list("a", "b"), SWEEP, ("destroy", "a", "done"), ("destroy", "b", "done")),
        "carried out more verdicts than the limit of an hour",
        elsewhere=("orphans, and a limit of one",),
    ),
    Finding(
        "a machine with an edited tag stays, of a session that is over and that it is commanded to go with",
        "everything at once",
        (("edit", "a"), TICK, ("list", "incomplete", "a"), ("command", "a")),
        f"{HEALED}leaves a machine that no live session claims",
    ),
    Finding(
        "a session that is over is never closed, as the command by hand for its machine with an edited tag is never sent",
        "everything at once",
        (("edit", "a"), TICK, ("list", "incomplete", "a"), ("command", "a")),
        f"{HEALED}never closes a session that is over",
    ),
    Finding(
        "the machine of a create that was answered after its session had failed leaks if its tag was lost",
        "a machine that comes out without its tag",
        (("begin", "1"), TICK, ("list", "complete"), ("rent", "1", "a", "bare")),
        f"{HEALED}leaves a machine that no live session claims",
    ),
)

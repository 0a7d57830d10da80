"""One bug of somebody else's as a change of one place in shopperd."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


class StaleMutantError(ValueError):
    """The text that a mutant replaces is not there any more, or not alone: the catalogue has to follow the code."""


@frozen
class Mutant:
    """A bug, where it goes, and the tests that must notice it.

    Attributes:
        source: who had it: an entry of the lessons (``LESSONS A1``, ``LESSONS 3.2``), then tools or their issues.
        what: what it does to a user, in one sentence.
        file: a module of shopperd, as a path inside the package.
        before, after: the exact text that is replaced, and what stands there instead.
        killed_by: node ids of tests; one of them must fail.
        occurrence: which of several such texts, from 1; 0: there must be exactly one.
        hangs: a test that never ends, and is cut off, counts as noticed.
    """

    name: str
    source: str
    what: str
    file: str
    before: str
    after: str
    killed_by: tuple[str, ...]
    occurrence: int = 0
    hangs: bool = False

    def applied(self, text: str) -> str:
        """The module's text with the bug in it.

        Raises:
            StaleMutantError: the place cannot be found.
        """
        count = text.count(self.before)
        if count == 0 or (self.occurrence == 0 and count > 1) or self.occurrence > count:
            wanted = f"occurrence {self.occurrence}" if self.occurrence else "exactly one"
            raise StaleMutantError(f"{self.name}: shopperd/{self.file} holds its text {count} times, not {wanted}")
        start = -1
        for _ in range(max(1, self.occurrence)):
            start = text.index(self.before, start + 1)
        return text[:start] + self.after + text[start + len(self.before) :]


def tests(path: str, *names: str) -> tuple[str, ...]:
    """Node ids of tests of one file, given inside ``tests/`` and without its suffix."""
    return tuple(f"tests/{path}.py::{name}" for name in names)

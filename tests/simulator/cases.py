"""One case for each fault: what to do, and what is seen with the fault and never without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import field, frozen

from shopperd.simulator.faults import CATALOGUE
from tests.simulator.visitor import Visitor

DIALECTS = {"vastai": ("vastai",), "tensordock": ("v2", "v0")}


def nothing(_visitor: Visitor) -> None:
    """No preparation."""


@frozen
class Case:
    """`shows` must hold for what `act` brings back with the fault on, and must not without it.

    Attributes:
        prepare: what comes before the fault is switched on, and its result is handed to `act`.
        dialects: all of the fault's providers unless told.
    """

    fault: str
    act: Callable[[Visitor, Any], Any]
    shows: Callable[[Visitor, Any], bool]
    prepare: Callable[[Visitor], Any] = nothing
    dialects: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(factory=dict)

    def all_dialects(self) -> tuple[str, ...]:
        if self.dialects:
            return self.dialects
        return tuple(name for provider in CATALOGUE[self.fault].providers for name in DIALECTS[provider])


def expand(cases: tuple[Case, ...]) -> list[Any]:
    """Pairs of a case and a dialect, with readable test ids."""
    return [
        pytest.param(case, dialect, id=f"{case.fault}-{dialect}") for case in cases for dialect in case.all_dialects()
    ]

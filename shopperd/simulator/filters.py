"""Vast.ai's filter language: a field, an operator, a value; for offers and for instances alike.

Operators: eq, neq, gt, gte, lt, lte, in, notin. Values may arrive as text for numbers and booleans, as the provider's own
command sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

OPERATORS = ("eq", "neq", "gt", "gte", "lt", "lte", "in", "notin")

Test = Callable[[Any], bool]


class BadFilterError(ValueError):
    """The filter cannot be read; the text says where and why."""


def alike(wanted: Any, value: Any) -> Any:
    """The wanted value in the type of the actual one; unchanged where that makes no sense."""
    if isinstance(wanted, str):
        if isinstance(value, bool):
            return {"true": True, "1": True, "false": False, "0": False}.get(wanted.strip().lower(), wanted)
        if isinstance(value, int | float):
            try:
                return float(wanted)
            except ValueError:
                return wanted
    return wanted


def _equal(wanted: Any, value: Any) -> bool:
    return bool(alike(wanted, value) == value)


def _ordered(operator: str, wanted: Any, value: Any) -> bool:
    if value is None:
        return False
    wanted = alike(wanted, value)
    try:
        match operator:
            case "gt":
                return bool(value > wanted)
            case "gte":
                return bool(value >= wanted)
            case "lt":
                return bool(value < wanted)
            case _:
                return bool(value <= wanted)
    except TypeError:
        return False


def _holds(operator: str, wanted: Any, value: Any) -> bool:
    if operator == "eq":
        return _equal(wanted, value)
    if operator == "neq":
        return not _equal(wanted, value)
    if operator in ("in", "notin"):
        items = wanted if isinstance(wanted, list) else [wanted]
        return any(_equal(item, value) for item in items) == (operator == "in")
    return _ordered(operator, wanted, value)


def condition(name: str, conditions: Any) -> Test:
    """The test that one field's conditions make.

    Raises:
        BadFilterError: the conditions are no object, or an operator is unknown.
    """
    if not isinstance(conditions, Mapping):
        raise BadFilterError(f"q.{name}: Input should be a valid dictionary")
    for operator in conditions:
        if operator not in OPERATORS:
            raise BadFilterError(f"q.{name}.{operator}: Extra inputs are not permitted")
    pairs = tuple(conditions.items())
    if len(pairs) == 1:
        operator, wanted = pairs[0]
        return lambda value: _holds(operator, wanted, value)
    return lambda value: all(_holds(operator, wanted, value) for operator, wanted in pairs)


def order_of(order: Any, known: Iterable[str]) -> list[tuple[str, bool]]:
    """Pairs of a known field and whether it descends; unknown fields order nothing.

    Raises:
        BadFilterError: the order is no list of pairs.
    """
    names = frozenset(known)
    found: list[tuple[str, bool]] = []
    if order is None:
        return found
    if not isinstance(order, list):
        raise BadFilterError("q.order: Input should be a valid list")
    for entry in order:
        if not isinstance(entry, list) or not entry or not isinstance(entry[0], str):
            raise BadFilterError("q.order: Input should be a list of [field, direction]")
        if entry[0] in names:
            found.append((entry[0], len(entry) > 1 and str(entry[1]).lower() == "desc"))
    return found

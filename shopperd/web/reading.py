"""Queries and bodies as records: every key known, every value in its bounds, all that is wrong said at once.

A record is an attrs class; its fields are the keys that are allowed, those without a default must be given.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qsl
from uuid import UUID

import cattrs
import msgspec
from aiohttp import web
from attrs import frozen
from cattrs.errors import BaseValidationError, ClassValidationError

from shopperd.settings import Bounds, parse_duration
from shopperd.settings_shape import fields_of, is_optional, shown
from shopperd.store.paging import CURSOR_LENGTH_MAX, CURSOR_PATTERN
from shopperd.web.problems import Fault, Malformed, Refusal

BODY_BYTES_MAX = 1024 * 1024
"""No request is longer: the largest thing in one is a start script."""

BODY_SECONDS_MAX = 30.0
"""A body that has not arrived by then is not waited for."""

ENV_VALUES_MAX = 256
FIELDS_MAX = 32
"""No form of ours has as many."""

LIMIT_MAX = 1000

R = TypeVar("R")


@frozen
class Length:
    """How many characters a text may have, both ends included."""

    most: int
    least: int = 1


@frozen
class Form:
    """What a text must look like as a whole: a regular expression, and the same in words."""

    pattern: str
    words: str
    most: int


Word = Annotated[str, Length(255)]
"""A name or an id."""

Sentence = Annotated[str, Length(1000)]
Script = Annotated[str, Length(64 * 1024)]
Cursor = Annotated[str, Form(CURSOR_PATTERN, "the `next` of a page of this list", CURSOR_LENGTH_MAX)]
Limit = Annotated[int, Bounds(1, LIMIT_MAX)]
Environment = Mapping[str, str]


@frozen
class NoQuery:
    """The query of a route that takes no parameters."""


@frozen
class ReasonBody:
    """Why, for the audit trail."""

    reason: Sentence


class QueryText(str):
    """A value from a query: text that stands for a value of whatever type the key has."""

    __slots__ = ()


class Unfit(ValueError):
    """A value is not what the key takes; the text says what is."""


def read_query(request: web.Request, cls: type[R]) -> R:
    """The query of a request as a record.

    Raises:
        Malformed: with every parameter that is unknown, repeated, missing or out of bounds.
    """
    raw: dict[str, object] = {}
    faults = []
    for key, value in request.query.items():
        if key in raw:
            faults.append(Fault(_place("query", key), "is given more than once"))
        raw[key] = QueryText(value)
    return _structure(raw, cls, "query", faults)


def check_range(since: datetime | None, until: datetime | None) -> None:
    """See that a time that was asked for does not end before it begins. Where one end is left out it is chosen to fit.

    Raises:
        Malformed: it does.
    """
    if since is not None and until is not None and since > until:
        raise Malformed(
            [Fault(_place("query", "until"), "must not be earlier than `since`: no time lies between them")]
        )


async def read_json(request: web.Request) -> dict[str, object]:
    """The body of a request as a JSON object; without a body, an empty one.

    Raises:
        Malformed: it is no JSON object.
        Refusal: it did not arrive in time.
    """
    content = await _content(request)
    if not content:
        return {}
    try:
        decoded = msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Malformed([Fault("body", f"is not JSON in UTF-8: {what}")]) from None
    if not isinstance(decoded, dict):
        raise Malformed([Fault("body", f"must be a JSON object, not {_shown(decoded)}")])
    return decoded


async def _content(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await request.read()
    except TimeoutError:
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time") from None


async def read_form(request: web.Request, cls: type[R]) -> R:
    """The body of a request that a browser's form has sent, as a record. What was left empty counts as not given.

    Raises:
        Malformed: it is no form, or with every field that is unknown, repeated, missing or out of bounds.
        Refusal: it did not arrive in time.
    """
    content = await _content(request)
    try:
        fields = parse_qsl(
            content.decode("ascii"), encoding="utf-8", errors="strict", max_num_fields=FIELDS_MAX, strict_parsing=True
        )
    except ValueError:
        raise Malformed([Fault("body", "is not what a form sends")]) from None
    raw: dict[str, object] = {}
    faults = []
    for key, value in fields:
        if key in raw:
            faults.append(Fault(_place("body", key), "is given more than once"))
        raw[key] = QueryText(value)
    return _structure(raw, cls, "body", faults)


async def read_body(request: web.Request, cls: type[R]) -> R:
    """The body of a request as a record.

    Raises:
        Malformed: it is no JSON object, or with every key that is unknown, missing or out of bounds.
    """
    return structure_body(await read_json(request), cls)


def structure_body(raw: Mapping[str, object], cls: type[R]) -> R:
    """A decoded body as a record.

    Raises:
        Malformed: with every key that is unknown, missing or out of bounds.
    """
    return _structure(raw, cls, "body", [])


def _structure(raw: Mapping[str, object], cls: type[R], where: str, faults: list[Fault]) -> R:
    known = fields_of(cls)
    allowed = ", ".join(known) or "none"
    faults += [Fault(_place(where, key), f"is not known; allowed are: {allowed}") for key in raw if key not in known]
    record: R | None = None
    try:
        record = _CONVERTER.structure({key: value for key, value in raw.items() if key in known}, cls)
    except BaseValidationError as error:
        faults += [Fault(_place(where, key), detail) for key, detail in _causes(error, ())]
    if faults or record is None:
        raise Malformed(faults)
    return record


def _place(where: str, key: str) -> str:
    return f"{where}.{key[:64]}"


def _shown(value: object) -> str:
    return "null" if value is None else shown(value)


def _causes(error: BaseException, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(error, ClassValidationError):
        for cause, attribute in error.group_exceptions()[0]:
            yield from _causes(cause, (*path, attribute.name))
    elif isinstance(error, Unfit):
        yield ".".join(path), str(error)
    elif isinstance(error, KeyError):
        yield ".".join(path), "is missing"
    else:
        raise error


def _text(value: object, kind: Any) -> str:
    form = next((each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Form)), None)
    if form is not None:
        if not isinstance(value, str) or len(value) > form.most or not re.fullmatch(form.pattern, value, re.ASCII):
            raise Unfit(f"must be {form.words}, not {_shown(value)}")
        return str(value)
    length = next((each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Length)), None)
    if not isinstance(value, str) or (length is not None and not length.least <= len(value) <= length.most):
        size = "" if length is None else f" of {length.least} to {length.most} characters"
        raise Unfit(f"must be a text{size}, not {_shown(value)}")
    if "\0" in value:
        raise Unfit("must not hold the character NUL, which no provider and no database takes")
    return str(value)


def _truth(value: object, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, QueryText) and value in ("true", "false"):
        return value == "true"
    raise Unfit(f"must be true or false, not {_shown(value)}")


def _bounds(kind: Any) -> Bounds | None:
    return next((each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Bounds)), None)


def _number(value: object, kind: Any) -> float:
    bounds = _bounds(kind) or Bounds()
    whole = get_args(kind)[0] is int
    number = _parsed(value, bounds, whole=whole)
    if number is None or not math.isfinite(number) or not bounds.least <= number <= bounds.most:
        if bounds.seconds:
            what = "a duration: a number of seconds or text such as 90s, 5m, 12h"
        else:
            what = "a whole number" if whole else "a number"
        most = f" and at most {bounds.most:g}" if math.isfinite(bounds.most) else ""
        raise Unfit(f"must be {what}, at least {bounds.least:g}{most}, not {_shown(value)}")
    return int(number) if whole else float(number)


def _parsed(value: object, bounds: Bounds, *, whole: bool) -> float | None:
    number: float | None = None
    with contextlib.suppress(ValueError, OverflowError):
        if isinstance(value, bool):
            return None
        if bounds.seconds and isinstance(value, str | int | float):
            number = parse_duration(value)
        elif isinstance(value, QueryText):
            number = int(value) if whole else float(value)
        elif isinstance(value, int):
            # Compared as it is: an integer may be too large for a float.
            number = value if abs(value) < 2**63 else None
        elif isinstance(value, float):
            number = value
        if whole and number is not None and number != int(number):
            number = None
    return number


def _moment(value: object, _: Any) -> datetime:
    if isinstance(value, str):
        with contextlib.suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
    raise Unfit(f"must be a time with its zone, such as 2026-11-25T18:00:00Z, not {_shown(value)}")


def _uuid(value: object, _: Any) -> UUID:
    found = uuid_of(value) if isinstance(value, str) else None
    if found is None:
        raise Unfit(f"must be a UUID such as 6d0c7f1e-8f0b-4c5e-9a55-1c9a3d1f0b7a, not {_shown(value)}")
    return found


def uuid_of(text: str) -> UUID | None:
    """The UUID that a text is in its usual form, in capitals or not; None if it is none."""
    with contextlib.suppress(ValueError):
        found = UUID(text)
        if str(found) == text.lower():
            return found
    return None


def _word(value: object, kind: type[enum.StrEnum]) -> enum.StrEnum:
    for member in kind:
        if value == member.value:
            return member
    raise Unfit(f"must be one of {', '.join(kind)}, not {_shown(value)}")


def _is_tuple(kind: Any) -> bool:
    origin: object = get_origin(kind)
    return origin is tuple


def _words(value: object, kind: Any) -> tuple[enum.StrEnum, ...]:
    if not isinstance(value, str):
        raise Unfit(f"must be a text, not {_shown(value)}")
    return tuple(_word(part.strip(), get_args(kind)[0]) for part in value.split(","))


def _environment(value: object, _: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or len(value) > ENV_VALUES_MAX:
        raise Unfit(f"must be an object of at most {ENV_VALUES_MAX} texts, not {_shown(value)}")
    for key, text in value.items():
        # What a value is stays unsaid: it may be a secret.
        if not key or "\0" in key or not isinstance(text, str) or "\0" in text:
            raise Unfit("must be an object of texts without the character NUL, with names that are not empty")
    return value


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    # By class, not by predicate: for what is a class of text or number, cattrs has hooks by class that would go first.
    converter.register_structure_hook(bool, _truth)
    converter.register_structure_hook(enum.StrEnum, _word)
    converter.register_structure_hook_func(lambda kind: _is_annotated(kind, str), _text)
    converter.register_structure_hook_func(lambda kind: _is_annotated(kind, int, float), _number)
    converter.register_structure_hook(datetime, _moment)
    converter.register_structure_hook(UUID, _uuid)
    converter.register_structure_hook_func(_is_tuple, _words)
    converter.register_structure_hook_func(lambda kind: kind == Environment, _environment)
    return converter


def _is_annotated(kind: Any, *of: type) -> bool:
    if is_optional(kind) or get_origin(kind) in (Union, UnionType):
        return False
    return hasattr(kind, "__metadata__") and get_args(kind)[0] in of


_CONVERTER = _converter()

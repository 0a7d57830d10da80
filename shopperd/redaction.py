"""What may be shown: values made plain, bounded, and free of secrets, before they reach a log line or an answer.

Three nets, because each has holes: keys that are named like secrets, texts that look like credentials (headers, URLs,
assignments), and every secret value that this process has read (`shopperd.secrets.known_values`), wherever it stands.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Collection, Mapping
from datetime import date
from functools import lru_cache
from pathlib import PurePath
from uuid import UUID

from shopperd.secrets import known_values

MASK = "***"

TEXT_CHARS_MAX = 16 * 1024
"""Longest text of one value. A provider's error page is no log line."""

ITEMS_MAX = 200
DEPTH_MAX = 12
"""Deep enough for the traceback of an exception group, and an end to what contains itself."""

_CREDENTIAL = (
    r"(?:authorization|api[_-]?key|api[_-]?token|auth[_-]?id|token|password|passwd|passphrase|secret|cookie|credential"
    r"|private[_-]?key|access[_-]?key)s?"
)
_SECRET_KEY = re.compile(rf"(?:{_CREDENTIAL}|^auth|^env|^onstart)$", re.IGNORECASE)
"""`env` and `onstart` are a renter's: their values are as secret as keys."""

_SCHEME = re.compile(r"\b(bearer|basic)\s+[\w.~+/=:-]+", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^\s/?#@'\"]{1,512}@")
_QUERY = re.compile(rf"([?&][\w.-]{{0,40}}?(?:{_CREDENTIAL}|key|sig|signature)=)[^&\s#'\"]+", re.IGNORECASE)
_ASSIGNMENT = re.compile(
    rf"""(\b[\w-]{{0,40}}?{_CREDENTIAL}(?:=|["']\s*[:=]\s*(?:b(?=["']))?)\s*)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;&)\]}}"']+)""",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\b((?:proxy-)?authorization|x-api-key|(?:set-)?cookie)(\s*:\s*)[^\r\n'\"]+", re.IGNORECASE)


def mask_known(text: str) -> str:
    """The text without any secret value that this process has read."""
    pattern = _pattern_of(known_values())
    return text if pattern is None else pattern.sub(MASK, text)


@lru_cache(maxsize=2)
def _pattern_of(values: frozenset[str]) -> re.Pattern[str] | None:
    # The longest first: a value that begins like another one must not leave its tail behind.
    ordered = sorted(values, key=lambda value: (-len(value), value))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def redact(text: str) -> str:
    """The text without secrets, and at most `TEXT_CHARS_MAX` characters of it."""
    # Cut twice: first so that the patterns never see a megabyte, then for good, which also drops what the first cut split.
    text = mask_known(text[: 4 * TEXT_CHARS_MAX])
    text = _SCHEME.sub(rf"\1 {MASK}", text)
    text = _HEADER.sub(rf"\1\2{MASK}", text)
    text = _USER_INFO.sub(f"{MASK}@", text)
    text = _QUERY.sub(rf"\1{MASK}", text)
    text = _ASSIGNMENT.sub(rf"\1{MASK}", text)
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[:TEXT_CHARS_MAX]}... (cut)"


def plain(value: object, depth: int = 0) -> object:
    """The value as dicts, lists, texts, finite numbers, booleans and None, without secrets. It never raises."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, depth)
    if isinstance(value, int | float):
        return value if isinstance(value, int) or math.isfinite(value) else str(value)
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, bytes | bytearray):
        return redact(bytes(value[: 4 * TEXT_CHARS_MAX]).decode("utf-8", "backslashreplace"))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID | PurePath):
        return redact(str(value))
    if depth >= DEPTH_MAX:
        return "..."
    if isinstance(value, Mapping):
        return _plain_mapping(value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _plain_items(value, depth)
    return redact(_described(value))


def _plain_mapping(value: Mapping[object, object], depth: int) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, item in value.items():
        if len(result) >= ITEMS_MAX:
            result["..."] = f"{len(value) - ITEMS_MAX} more"
            break
        name = redact(key if isinstance(key, str) else _described(key))
        secret = _SECRET_KEY.search(name) and not (item is None or isinstance(item, bool | int | float))
        result[name] = MASK if secret else plain(item, depth + 1)
    return result


def _plain_items(value: Collection[object], depth: int) -> list[object]:
    result: list[object] = []
    for item in value:
        if len(result) >= ITEMS_MAX:
            result.append(f"{len(value) - ITEMS_MAX} more")
            break
        result.append(plain(item, depth + 1))
    return result


def _described(value: object) -> str:
    try:
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        return str(value)
    except Exception:  # what cannot describe itself must not take the log line with it
        return f"<{type(value).__name__} without a description>"

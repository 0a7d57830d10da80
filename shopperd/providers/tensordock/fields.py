"""Single values out of a JSON answer, which may hold them in any form.

The readers are total: what they cannot read is None, never an error and never zero. `decode` alone raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from shopperd.providers.contract import BadAnswer

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
"""Ids are UUIDs today. Wider, but nothing that could change the path of a URL."""
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")
_GPU_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TEXT_CHARACTERS_MAX = 1024
PRICE_PER_HOUR_MAX = 10_000.0
"""USD; a hundred times the dearest machine there is. What is above is noise, not a price."""
_WHOLE_MAX = 2**53


def decode(body: bytes) -> object:
    """The JSON document in a body.

    Raises:
        BadAnswer: it is no JSON, or numbers or nesting in it pass what can be represented.
    """
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"the answer is not JSON ({type(error).__name__}, {len(body)} bytes)") from None


def decoded_or_none(body: bytes) -> object:
    """The JSON document in a body, or None."""
    try:
        return decode(body)
    except BadAnswer:
        return None


def mapping(raw: object) -> Mapping[str, object]:
    """An object; empty if it is none."""
    return raw if isinstance(raw, dict) else {}


def array(raw: object) -> list[object] | None:
    """A list."""
    return raw if isinstance(raw, list) else None


def text(raw: object) -> str | None:
    """A text that is not blank, exactly as it was sent."""
    return raw if isinstance(raw, str) and raw.strip() and len(raw) <= TEXT_CHARACTERS_MAX else None


def identifier(raw: object) -> str | None:
    """An id that can be asked for again: a text or a positive whole number."""
    if isinstance(raw, int) and not isinstance(raw, bool) and 0 < raw < _WHOLE_MAX:
        return str(raw)
    if isinstance(raw, str) and IDENTIFIER.fullmatch(stripped := raw.strip()):
        return stripped
    return None


def number(raw: object) -> float | None:
    """A finite number, also one in a text."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        value = float(raw)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def whole(raw: object) -> int | None:
    """A whole number of zero or more; 4.0 is one too."""
    value = number(raw)
    return int(value) if value is not None and 0 <= value < _WHOLE_MAX and value == int(value) else None


def floor(raw: object) -> int | None:
    """A number of zero or more, rounded down: what a machine has can be a fraction, what is asked of it cannot."""
    value = number(raw)
    return int(value) if value is not None and 0 <= value < _WHOLE_MAX else None


def price(raw: object) -> float | None:
    """USD per hour, zero or more."""
    value = number(raw)
    return value if value is not None and 0 <= value <= PRICE_PER_HOUR_MAX else None


def flag(raw: object) -> bool | None:
    """A truth value, also one written as a word or as 0 or 1."""
    if isinstance(raw, bool):
        return raw
    return {"true": True, "1": True, "false": False, "0": False}.get(str(raw).strip().lower())


def host(raw: object) -> str | None:
    """An IP address or a host name."""
    return raw.strip() if isinstance(raw, str) and _HOST.fullmatch(raw.strip()) else None


def gpu_name(raw: object) -> str | None:
    """TensorDock's own name of a GPU model, such as ``geforcertx4090-pcie-24gb``."""
    return raw if isinstance(raw, str) and _GPU_NAME.fullmatch(raw) else None


def port(raw: object) -> int | None:
    """A TCP port."""
    value = whole(raw)
    return value if value is not None and 1 <= value <= 65535 else None

"""Which credentials are good. All good keys of a provider share one account."""

from __future__ import annotations

import enum
from hmac import compare_digest

BAD_KEY = "bad-key"
READONLY_KEY = "readonly-key"


class Verdict(enum.Enum):
    """What a credential may do."""

    GOOD = enum.auto()
    READ_ONLY = enum.auto()
    MISSING = enum.auto()
    BAD = enum.auto()


def judge(key: str, only: str | None) -> Verdict:
    """Judge a credential. `only`: the one good key besides `readonly-key`; None: anything but `bad-key` is good."""
    if not key:
        return Verdict.MISSING
    if key == READONLY_KEY:
        return Verdict.READ_ONLY
    if key == BAD_KEY or (only is not None and not compare_digest(key.encode(), only.encode())):
        return Verdict.BAD
    return Verdict.GOOD


def bearer(header: str) -> str:
    """The token of an Authorization header, or an empty string."""
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""

"""Text from outside, made harmless to look at: a marketplace's label must not move a cursor, turn a line around or hide a word."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Control characters, marks that change the direction of text, what has no width, and halves of pairs. Emoji stay."""


def visible(text: str) -> str:
    """The text with whatever acts on its display, or cannot be seen, written out as an escape."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)

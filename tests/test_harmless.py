"""Text from outside does nothing to where it is shown."""

import pytest

from shopperd.harmless import visible


@pytest.mark.parametrize(
    "mark", ["\x00", "\x1b", "\x9b", "\n", "\u200b", "\u202e", "\u2066", "\u061c", "\ufeff", "\ud800"]
)
def test_what_acts_on_a_display_is_written_out(mark: str) -> None:
    shown = visible(f"a{mark}b")
    assert mark not in shown
    assert shown.startswith("a\\")
    assert shown.endswith("b")


def test_ordinary_text_of_any_language_stays() -> None:
    text = "GPU \u05d0\u0628 \u4e2d \U0001f469\u200d\U0001f4bb caf\u00e9"
    assert visible(text) == text

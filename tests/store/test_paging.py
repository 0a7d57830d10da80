import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopperd.store import BadCursor
from shopperd.store.paging import read_cursor, write_cursor
from tests.store.nouns import words


@given(st.lists(words, min_size=1, max_size=3))
def test_a_cursor_is_read_as_it_was_written(key: list[str]) -> None:
    assert read_cursor(write_cursor(*key), len(key)) == key


@given(st.text(max_size=30))
def test_any_other_text_is_refused_or_read_as_a_key_and_never_breaks(text: str) -> None:
    try:
        key = read_cursor(text, 2)
    except BadCursor:
        return
    assert len(key) == 2


def test_a_key_that_no_database_could_hold_is_refused() -> None:
    with pytest.raises(BadCursor):
        read_cursor(write_cursor("a\x00"), 1)

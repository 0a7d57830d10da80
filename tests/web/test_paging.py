"""Pages of lists that are put together for each request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopperd.store import BadCursor
from shopperd.store.paging import write_cursor
from shopperd.web.paging import Key, piece


def key(row: tuple[float, str]) -> Key:
    return row


@given(
    st.sets(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3)), max_size=20),
    st.integers(1, 7),
)
def test_pages_put_together_are_the_list(rows: set[tuple[float, str]], limit: int) -> None:
    found: list[tuple[float, str]] = []
    cursor = None
    while True:
        page = piece(rows, key, "rows", limit, cursor)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    assert found == sorted(rows)


def test_a_row_that_went_away_costs_none_of_the_others() -> None:
    rows = [(1.0, "a"), (2.0, "b"), (3.0, "c")]
    page = piece(rows, key, "rows", 1, None)
    assert piece(rows[1:], key, "rows", 2, page.next).items == ((2.0, "b"), (3.0, "c"))


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        write_cursor("rows"),
        write_cursor("other", "[1.0]"),
        write_cursor("rows", "[null]"),
        write_cursor("rows", '["a", "b"]'),
        write_cursor("rows", "{"),
    ],
)
def test_other_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        piece([(1.0, "a")], key, "rows", 1, cursor)

"""Dollars as people read them."""

import pytest

from shopperd.money import dollars, dollars_per_hour


@pytest.mark.parametrize(
    ("usd", "shown"), [(None, "-"), (0.0, "0.00"), (0.0012, "<0.01"), (0.006, "0.01"), (12.3, "12.30")]
)
def test_less_than_a_cent_is_not_nothing(usd: float | None, shown: str) -> None:
    assert dollars(usd) == shown


@pytest.mark.parametrize(("usd", "shown"), [(None, "-"), (0.0, "0.000"), (0.0694, "0.069")])
def test_an_hour_is_told_to_a_tenth_of_a_cent(usd: float | None, shown: str) -> None:
    assert dollars_per_hour(usd) == shown

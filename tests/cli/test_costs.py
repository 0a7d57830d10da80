"""What the costs look like on a terminal and in a pipe."""

from typing import Any

from shopperd.cli.overview import money_line


def row(**changes: Any) -> dict[str, Any]:
    values = {"name": "main", "burn_per_hour": 2.5, "budget_per_hour": 5.0, "balance_usd": 10.0}
    return values | {"balance_left_seconds": 14400.0} | changes


def test_budget_and_credit_of_an_account_are_one_line() -> None:
    assert money_line(row()) == ("main money: 10.00 USD left, which lasts 4h; budget 2.500 of 5.000 USD/h")


def test_what_there_is_not_is_left_out() -> None:
    assert money_line(row(budget_per_hour=None, balance_left_seconds=None)) == "main money: 10.00 USD left"
    assert money_line(row(budget_per_hour=None, balance_usd=None)) == ""

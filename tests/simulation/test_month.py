"""What shopperd counts is what the marketplaces bill. `make test-system` lets a whole month go by."""

from __future__ import annotations

import pytest

from tests.simulation.month import live


def test_half_a_day_s_costs_are_within_a_fiftieth_of_the_bill() -> None:
    """Few machines, looked at every five minutes: each of their ends weighs more than in a month."""
    month = live(0.5, seed=3)
    assert month.crashes == ()
    assert sum(bill.counted for bill in month.bills) == pytest.approx(
        sum(bill.billed for bill in month.bills), rel=0.02
    )
    for bill in month.bills:
        assert bill.metric == pytest.approx(bill.counted, abs=0.005), "the counters tell the same"

"""Over ten days of starts, stops, changes of price, orphans, lost hosts and restarts, what is counted is within a hundredth of the bill."""

import pytest

from tests.simulation.month import live

pytestmark = [pytest.mark.system, pytest.mark.timeout(3600)]  # it takes a minute or two of a core


def test_what_is_counted_in_ten_days_is_what_is_billed() -> None:
    month = live(10.0)
    assert month.crashes == ()
    assert {"create", "end", "stop", "start", "price", "orphan", "host_lost", "restart", "crash", "away"} <= set(
        month.happened
    )
    for bill in month.bills:
        assert bill.error < 0.01, str(bill)
        # A process that is cut has not told what came since its last look.
        assert bill.metric == pytest.approx(bill.counted, rel=0.005), "the counters of all processes tell the same"

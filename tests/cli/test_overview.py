"""The line of `shopperd status` on an account's limits."""

from typing import Any

from shopperd.cli.overview import limits_line


def row(**changes: Any) -> dict[str, Any]:
    limits = {
        "interval_seconds": {"shared": 0.0, "list": 1.0, "destroy": 4.512},
        "learned_from": {"shared": "published", "list": "published", "destroy": "threshold"},
        "waiting": {"list": 2, "destroy": 1},
        "calls_last_hour": 412,
        "rate_limited_last_hour": 3,
        "blocked_share": 0.12,
        "breaker_open": False,
    }
    return {"name": "main", "limits": limits | changes}


def test_an_account_s_limits_are_one_line() -> None:
    assert limits_line(row()) == (
        "main calls: list 1 s, destroy 4.51 s (learned); 412 in the last hour, 3 rate limited, 3 waiting, "
        "blocked 12% of the time"
    )


def test_an_outage_is_said_in_it() -> None:
    assert limits_line(row(breaker_open=True)).endswith("PROVIDER ANSWERS NOTHING, calls are held back")


def test_what_a_plug_in_does_not_tell_is_left_out() -> None:
    assert limits_line({"name": "main", "limits": None}) == ""
    assert "no limit known" in limits_line(row(interval_seconds={"shared": 0.0}))

"""What `shopperd status` says of accounts beside their table."""

import json
from collections.abc import Callable
from typing import Any

from shopperd.cli.overview import limits_line
from tests.cli.conftest import Run, command
from tests.cli.served import Stranger


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


def test_many_accounts_fit_one_screen_and_those_that_are_pressed_are_told(
    run: Run, stranger: Callable[..., Stranger]
) -> None:
    status = json.loads(run("status", "--json").stdout)
    (account, *_) = status["accounts"]
    status["accounts"] = [
        account
        | row(breaker_open=number == 7, blocked_share=0.0)
        | {"name": f"a{number}", "balance_usd": 10.0, "balance_left_seconds": 3600.0 * (10 - number), "healthy": True}
        for number in range(10)
    ]
    result = command(stranger(200, "application/json", json.dumps(status).encode()).url, "status")
    assert len(result.output.splitlines()) <= 24
    said = [
        line.split(":")[0]
        for line in result.stdout.splitlines()
        if line.startswith("a") and (" money:" in line or " calls:" in line)
    ]
    assert said == ["a9 money", "a8 money", "a7 money", "a7 calls", "a0 calls", "a1 calls"]
    assert "and the limits of 7 more accounts" in result.stdout

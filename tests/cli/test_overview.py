"""What `shopperd status` says: on one screen of a terminal, and all of it in a pipe."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from shopperd.cli.overview import limits_line, money_line, pages
from shopperd.cli.screen import show_first_that_fits
from tests.cli.conftest import Run, Terminal, command
from tests.cli.served import Served, Stranger

URL = "http://127.0.0.1:9877"
COLUMNS, ROWS = 80, 24


def limits(**changes: Any) -> dict[str, Any]:
    return {
        "interval_seconds": {"shared": 0.0, "list": 1.0, "destroy": 4.512},
        "learned_from": {"shared": "published", "list": "published", "destroy": "threshold"},
        "waiting": {"list": 2, "destroy": 1},
        "calls_last_hour": 412,
        "rate_limited_last_hour": 3,
        "blocked_share": 0.12,
        "breaker_open": False,
    } | changes


def account(name: str = "main", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "provider": "vastai",
        "healthy": True,
        "detail": None,
        "snapshot_age_seconds": 3.0,
        "instances": 0,
        "sessions": 0,
        "orphans": 0,
        "holds": [],
        "burn_per_hour": 0.0,
        "cost_month_usd": 0.0,
        "destroys_pending": 0,
        "destroys_held": 0,
        "destroys_stuck": 0,
        "budget_per_hour": None,
        "balance_usd": None,
        "balance_left_seconds": None,
        "limits": limits(blocked_share=0.0),
    } | changes


def deployment(*accounts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "deployment": "",
        "frozen": False,
        "frozen_reason": None,
        "frozen_at": None,
        "mode": "destroy",
        "store": {"ok": True, "problem": None, "spooled": 0},
        "notices": [],
        "accounts": list(accounts),
        "jobs": [],
        "burn_per_hour": 0.0,
        "cost_today_usd": 0.0,
        "cost_month_usd": 0.0,
        "leaked_usd": 0.0,
        "destroys_pending": sum(each["destroys_pending"] for each in accounts),
        "destroys_stuck": sum(each["destroys_stuck"] for each in accounts),
        "orphan_bound_seconds": 793.0,
    } | changes


def screen(told: dict[str, Any], columns: int = COLUMNS, rows: int = ROWS) -> list[str]:
    """The rows of a terminal of that size, once the command is done."""
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", terminal)
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("LINES", str(rows))
        show_first_that_fits(pages(told, URL))
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).split("\n")[:-1]


def fits(shown: list[str], columns: int = COLUMNS, rows: int = ROWS) -> bool:
    """Nothing wraps, and nothing scrolls away when the prompt comes back."""
    return len(shown) < rows and all(cell_len(line) <= columns for line in shown)


# --- any state ------------------------------------------------------------------------------------------------------

WORDS = st.text(st.sampled_from("abc 中é\u200b"), min_size=1, max_size=300)
AMOUNTS = st.none() | st.floats(0, 99_999)
COUNTS = st.integers(0, 99_999)
HOLDS = st.lists(
    st.fixed_dictionaries(
        {"reason": st.sampled_from(["not_exclusive", "limit_per_sweep", "grace"]), "count": st.integers(1, 999)}
    ),
    max_size=3,
)
KINDS = ("shared", "destroy", "create", "list", "show", "offers")
LIMITS = st.none() | st.builds(
    limits,
    interval_seconds=st.fixed_dictionaries({kind: st.floats(0, 600) for kind in KINDS}),
    learned_from=st.fixed_dictionaries(
        {kind: st.sampled_from(["published", "settings", "probing", "retry_after"]) for kind in KINDS}
    ),
    waiting=st.fixed_dictionaries(dict.fromkeys(KINDS, COUNTS)),
    calls_last_hour=COUNTS,
    rate_limited_last_hour=COUNTS,
    blocked_share=st.floats(0, 1),
    breaker_open=st.booleans(),
)


def accounts_of(names: list[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.tuples(
        *(
            st.builds(
                account,
                st.just(name),
                healthy=st.booleans(),
                detail=WORDS,
                snapshot_age_seconds=st.none() | st.floats(0, 10**7),
                instances=COUNTS,
                sessions=COUNTS,
                orphans=st.integers(0, 9999),
                holds=HOLDS,
                burn_per_hour=st.floats(0, 9999),
                cost_month_usd=AMOUNTS,
                destroys_pending=COUNTS,
                destroys_held=COUNTS,
                destroys_stuck=COUNTS,
                budget_per_hour=AMOUNTS,
                balance_usd=AMOUNTS,
                balance_left_seconds=AMOUNTS,
                limits=LIMITS,
            )
            for name in names
        )
    ).map(list)


@st.composite
def deployments(draw: st.DrawFn, accounts: st.SearchStrategy[int]) -> dict[str, Any]:
    names = [
        f"account-{number:03}" + draw(st.sampled_from(["", "-with-a-long-name"])) for number in range(draw(accounts))
    ]
    ok = draw(st.booleans())
    return deployment(
        *draw(accounts_of(names)),
        deployment=draw(st.sampled_from(["", "prod"])),
        frozen=draw(st.booleans()),
        frozen_at="2026-11-22T22:00:00Z",
        frozen_reason=draw(WORDS),
        mode=draw(st.sampled_from(["destroy", "report"])),
        store={"ok": ok, "problem": None if ok else draw(WORDS), "spooled": draw(COUNTS)},
        # One of the four says that it does not act, which a store with a problem says itself.
        notices=draw(st.lists(WORDS, max_size=4 if ok else 3)),
        jobs=[
            {"job": job, "account": name, "ok": draw(st.sampled_from([None, True, False])), "detail": draw(WORDS)}
            for name in names[:3]
            for job in ("status", "offers")
        ],
        burn_per_hour=draw(st.floats(0, 9999)),
        cost_today_usd=draw(AMOUNTS),
        cost_month_usd=draw(AMOUNTS),
        leaked_usd=draw(st.floats(0, 99)),
    )


def anything(told: dict[str, Any]) -> set[str]:
    """How the lines begin that must be seen, whatever else is."""
    rows = told["accounts"]
    return {
        "shopperd 0.1.0",
        *(["FROZEN until `shopperd unfreeze`, since 2026-11-22T22:00:00Z:"] if told["frozen"] else []),
        *(["REPORT MODE"] if told["mode"] == "report" else []),
        *(["an orphan is gone within 13m13s"] if not told["frozen"] and told["mode"] == "destroy" else []),
        *([] if told["store"]["ok"] else ["STORE: nothing is acted on"]),
        *(["NOTICE:"] if told["notices"] else []),
        *(f"{row['name'][:11]}" for row in rows),
        *(f"{row['name']}:" for row in rows if not row["healthy"]),
        *(f"{row['name']} money: " for row in rows if money_line(row)),
        *(f"{row['name']} calls: " for row in rows if row["limits"]),
        "burn ",
        f"{told['destroys_pending']} destroy",
        *(["held orphans that bill on:"] if any(row["holds"] for row in rows) else []),
    }


generated = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@generated
@given(deployments(st.integers(0, 3)))
def test_up_to_three_accounts_in_any_state_are_told_whole_on_one_screen(told: dict[str, Any]) -> None:
    shown = screen(told)
    assert fits(shown)
    assert [start for start in anything(told) if not any(line.startswith(start) for line in shown)] == []
    assert not any("more lines" in line or "more account" in line for line in shown)


@generated
@given(deployments(st.integers(4, 12)), st.integers(1, 200), st.integers(1, 60))
def test_any_number_of_accounts_fits_a_terminal_of_any_size(told: dict[str, Any], columns: int, rows: int) -> None:
    columns, rows = max(columns, COLUMNS), max(rows, ROWS)
    assert fits(screen(told, columns, rows), columns, rows)


# --- what is told first ---------------------------------------------------------------------------------------------


def test_the_worst_that_three_accounts_can_be_in_fits() -> None:
    bad = [
        account(
            name,
            healthy=False,
            detail="auth: GET /api/v0/instances/: HTTP 401: invalid key; check the key, that it is this provider's "
            * 2,
            holds=[{"reason": "not_exclusive", "count": 2}],
            destroys_stuck=1,
            budget_per_hour=20.0,
            balance_usd=5.0,
            balance_left_seconds=3600.0,
            limits=limits(breaker_open=True),
        )
        for name in ("vast-main", "vast-lab", "dock")
    ]
    told = deployment(
        *bad,
        frozen=True,
        frozen_at="2026-11-22T22:00:00Z",
        frozen_reason="a drill",
        mode="report",
        store={"ok": False, "problem": "the disk is full", "spooled": 1},
        notices=["a hook is gone", "a file is refused", "a reload was refused"],
        jobs=[{"job": "offers", "account": "dock", "ok": False, "detail": "no answer"}],
    )
    shown = screen(told)
    assert fits(shown)
    assert anything(told) <= {start for start in anything(told) for line in shown if line.startswith(start)}
    assert "STORE: nothing is acted on (1 accepted create in the spool): the disk is full" in shown


def test_a_quiet_deployment_has_room_for_blank_lines_and_for_long_ones() -> None:
    shown = screen(deployment(account(healthy=False, detail="a long story " * 12)))
    assert shown.count("") == 2
    assert " ".join(line for line in shown if "story" in line) == "main: " + "a long story " * 11 + "a long story"


def test_with_many_accounts_the_worst_come_first_and_the_rest_is_counted() -> None:
    well = [account(f"a{number}") for number in range(28)]
    bad = account("b1", healthy=False, detail="timeout"), account("b2", destroys_stuck=1)
    shown = screen(deployment(*well, *bad))
    titles = next(number for number, line in enumerate(shown) if line.startswith("ACCOUNT"))
    assert [line.split()[0] for line in shown[titles + 1 : titles + 4]] == ["b1", "b2", "a0"]
    (rest,) = (line for line in shown if "more accounts, all well" in line)
    told = sum(re.match(r"[ab]\d+ +(ok|NOT OK)", line) is not None for line in shown)
    assert rest == f"… and {30 - told} more accounts, all well: `shopperd accounts`"
    assert fits(shown)


def test_one_account_more_is_not_many() -> None:
    notices = [f"notice {number}" for number in range(4)]
    shown = screen(deployment(*(account(f"a{number}", budget_per_hour=1.0) for number in range(4)), notices=notices))
    assert not any("1 more accounts" in line for line in shown)
    assert fits(shown)


def test_accounts_that_are_not_well_are_never_counted_as_well() -> None:
    shown = screen(deployment(*(account(f"a{number}", healthy=False, detail="timeout") for number in range(30))))
    assert any(
        re.fullmatch(r"… and (\d+) more accounts, \1 of them not well: `shopperd accounts`", line) for line in shown
    )
    assert "… and 27 more accounts are not well: `shopperd accounts`" in shown


def test_the_jobs_of_an_account_that_is_not_well_are_not_told_beside_it() -> None:
    def job(name: str) -> dict[str, Any]:
        return {"job": "offers", "account": name, "ok": False, "detail": "no answer"}

    told = deployment(account("a", healthy=False, detail="auth"), account("b"), jobs=[job("a"), job("b")])
    assert "1 job failed: offers b: no answer" in screen(told)


def test_a_large_terminal_is_used() -> None:
    told = deployment(*(account(f"a{number}", budget_per_hour=1.0) for number in range(12)))
    assert any("more accounts" in line for line in screen(told))
    assert sum(line.startswith("a11 ") for line in screen(told, 120, 50)) == 1


def test_a_pipe_gets_all(run: Run, stranger: Callable[..., Stranger]) -> None:
    status = json.loads(run("status", "--json").stdout)
    (first, *_) = status["accounts"]
    status["accounts"] = [
        first | account(f"a{number}", budget_per_hour=1.0, healthy=False, detail="timeout " * 40)
        for number in range(10)
    ]
    result = command(stranger(200, "application/json", json.dumps(status).encode()).url, "status")
    lines = result.stdout.splitlines()
    assert sum(" money: " in line for line in lines) == sum(" calls: " in line for line in lines) == 10
    assert result.stderr.count("timeout " * 39) == 10
    assert "…" not in result.output


def test_a_real_terminal_is_asked_for_its_size(served: Served) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb") as seen:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environ = {"PATH": os.environ["PATH"], "TERM": "dumb", "SHOPPERD_URL": served.url}
        asked = [sys.executable, "-c", "from shopperd.cli import main; main()", "status"]
        subprocess.run(asked, env=environ, stdout=theirs, timeout=60, check=True)
        os.close(theirs)
        shown = _all_of(seen).decode().split("\r\n")[:-1]
    assert fits(shown)
    assert "dock: no_snapshot_yet: no listing was read yet" in shown


def _all_of(seen: BinaryIO) -> bytes:
    chunks = []
    # Linux says EIO where a terminal that nobody has open any more ends.
    with contextlib.suppress(OSError):
        while chunk := os.read(seen.fileno(), 4096):
            chunks.append(chunk)
    return b"".join(chunks)


# --- lines ----------------------------------------------------------------------------------------------------------


def test_an_account_s_limits_are_one_line_that_begins_with_refusals_and_what_was_learned() -> None:
    assert limits_line({"name": "main", "limits": limits()}) == (
        "main calls: 412 in 1h, 3 got 429; destroy 4.51 s (threshold), list 1 s; blocked 12% of it; 3 waiting now"
    )


def test_an_outage_is_said_before_all() -> None:
    line = limits_line({"name": "main", "limits": limits(breaker_open=True)})
    assert line.startswith("main calls: PROVIDER ANSWERS NOTHING, calls are held back; 412 in")


def test_what_a_plug_in_does_not_tell_is_left_out() -> None:
    assert limits_line({"name": "main", "limits": None}) == ""
    assert "no limit known" in limits_line({"name": "main", "limits": limits(interval_seconds={"shared": 0.0})})

import io
from typing import Any

import pytest
from rich.console import Console

from shopperd.demo.board import LINES_KEPT, AccountView, Board
from shopperd.demo.comparison import Row
from shopperd.demo.screen import (
    LiveScreen,
    PlainScreen,
    age_text,
    limits_text,
    picture,
    plain,
    screen_for,
    show_rows,
)
from shopperd.demo.words import Line, Voice


def pipe(width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=width)


def terminal(width: int = 120, height: int = 40) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def account(**changes: Any) -> AccountView:
    values: dict[str, Any] = {
        "name": "vast-demo",
        "provider": "vastai",
        "healthy": True,
        "reason": "",
        "snapshot_age_seconds": 1.25,
        "instances": 7,
        "sessions": 5,
        "orphans": 1,
        "burn_per_hour": 1.5,
        "offers": 10,
        "limits": {"list": 0.2, "create": 0.9},
        **changes,
    }
    return AccountView(**values)


def test_a_line_in_a_pipe_is_whole_however_long_it_is() -> None:
    console = pipe(width=20)
    PlainScreen(console, Board()).tell(Line(1.25, Voice.SEEN, "a word " * 30, "vast-demo"))
    assert written(console).count("\n") == 1
    assert written(console).startswith("    1.2s  seen     vast-demo    a word")


def test_brackets_in_a_line_are_no_markup() -> None:
    console = pipe()
    PlainScreen(console, Board()).tell(Line(0.0, Voice.DONE, "[bold]x[/bold]"))
    assert "[bold]x[/bold]" in written(console)


def test_a_refresh_in_a_pipe_prints_nothing() -> None:
    console = pipe()
    with PlainScreen(console, Board()) as screen:
        screen.refresh()
    assert written(console) == ""


def test_a_line_without_an_account_ends_with_its_text() -> None:
    assert plain(Line(3.0, Voice.TROUBLE, "all of it")) == "    3.0s  trouble               all of it"


def test_a_terminal_gets_a_picture_and_a_pipe_gets_lines() -> None:
    assert isinstance(screen_for(terminal(), Board()), LiveScreen)
    assert isinstance(screen_for(pipe(), Board()), PlainScreen)


def test_the_picture_tells_where_to_look() -> None:
    console = terminal()
    board = Board(url="http://127.0.0.1:9", controls=("http://127.0.0.1:8",), length=60.0, elapsed=12.0, daemon_up=True)
    board.accounts = (account(),)
    board.add(Line(1.0, Voice.TROUBLE, "a listing lies"))
    board.add(Line(2.0, Voice.SEEN, "machine 7 runs"))
    console.print(picture(board, 120, 40))
    shown = written(console)
    for text in ("http://127.0.0.1:9/metrics", "http://127.0.0.1:8/_sim/state", "12 s of 60 s", "daemon up"):
        assert text in shown
    assert "create 0.9 s" in shown
    assert shown.index("a listing lies") < shown.index("machine 7 runs")


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (200, 60)])
def test_the_picture_fits_its_width_whatever_there_is_to_show(width: int, height: int) -> None:
    console = terminal(width, height)
    board = Board(accounts=(account(), account(name="td-v0-demo", healthy=False, reason="auth")))
    for number in range(LINES_KEPT + 10):
        board.add(Line(float(number), Voice.SEEN, "x" * 300, "vast-demo"))
    console.print(picture(board, width, height))
    assert all(len(line) <= width for line in written(console).splitlines())


def test_the_picture_shows_the_newest_lines() -> None:
    console = terminal()
    board = Board()
    for number in range(100):
        board.add(Line(float(number), Voice.SEEN, f"happening {number}."))
    console.print(picture(board, 120, 40))
    assert "happening 99." in written(console)
    assert "happening 3." not in written(console)


def test_the_board_keeps_the_demo_s_own_lines_apart_from_the_daemon_s() -> None:
    board = Board()
    for voice in Voice:
        board.add(Line(0.0, voice, voice.value))
    assert [line.text for line in board.script] == ["demo", "trouble"]
    assert [line.text for line in board.trail] == ["seen", "decided", "done"]


def test_an_unhealthy_account_tells_why() -> None:
    assert age_text(account(healthy=False, reason="auth", snapshot_age_seconds=None)) == "none yet (auth)"
    assert age_text(account()) == "1.2 s ago"


def test_one_spacing_for_all_calls_is_told_once() -> None:
    assert limits_text({"list": 0.144, "create": 0.144}) == "0.14 s"
    assert limits_text({"list": 0.2, "create": 0.9}) == "list 0.2 s, create 0.9 s"
    assert limits_text({}) == ""


def test_a_summary_in_a_pipe_marks_what_does_not_agree() -> None:
    console = pipe()
    show_rows(console, [Row("machines", "2", "2"), Row("sessions", "3", "4", agrees=False)])
    _, good, bad = written(console).splitlines()
    assert good.startswith("  machines")
    assert bad.startswith("! sessions")
    assert bad.split()[-2:] == ["3", "4"]


def test_a_summary_on_a_terminal_is_a_table() -> None:
    console = terminal()
    show_rows(console, [Row("machines", "2", "2")])
    assert "shopperd believes" in written(console)

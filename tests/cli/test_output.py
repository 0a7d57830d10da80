"""What is printed, in a pipe and on a terminal."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopperd.cli import output
from shopperd.money import dollars_per_hour
from tests.cli.conftest import Terminal

COLUMNS: dict[str, tuple[str, output.Show]] = {"STATE": ("state", str), "USD/H": ("price", dollars_per_hour)}
ROWS: list[dict[str, object]] = [{"state": "running", "price": 0.5}, {"state": "a\x1b[31mb\tc\nd", "price": None}]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        ("plain \u00e4\u4e2d", "plain \u00e4\u4e2d"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("two\nlines\r\ttab", "two\\nlines\\r\\ttab"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202eright to left", "\\u202eright to left"),
    ],
)
def test_values_are_one_harmless_line(value: object, shown: str) -> None:
    assert output.printable(value) == shown


@given(st.text())
def test_no_text_can_break_out(text: str) -> None:
    shown = output.printable(text)
    assert all(
        character.isprintable() or ord(character) > 0x2FFF or character == "\xa0" for character in shown
    ) or not (set(shown) & set("\x00\x07\x08\t\n\r\x1b\x7f\x9b\u202e\u2028"))
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (0, "0s"), (59.6, "1m"), (793, "13m13s"), (90061, "1d1h"), (3600, "1h")]
)
def test_durations_are_short(value: float | None, shown: str) -> None:
    assert output.seconds(value) == shown


def test_a_pipe_gets_lines_with_tabs_and_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_table(COLUMNS, ROWS, empty="nothing")
    assert capsys.readouterr().out == "STATE\tUSD/H\nrunning\t0.500\na\\x1b[31mb\\tc\\nd\t-\n"


def test_an_empty_table_is_its_titles_in_a_pipe_and_a_sentence_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output.show_table(COLUMNS, [], empty="nothing is there")
    assert capsys.readouterr().out == "STATE\tUSD/H\n"
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    output.show_table(COLUMNS, [], empty="nothing is there")
    assert terminal.getvalue() == "nothing is there\n"


def test_a_terminal_gets_a_table_in_colour_and_labels_without_power(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output.show_table(COLUMNS, [*ROWS, {"state": "[bold]x[/bold]", "price": 1}], empty="nothing")
    shown = terminal.getvalue()
    assert "\x1b[32mrunning" in shown
    assert "a\\x1b[31mb\\tc\\nd" in shown
    assert "[bold]x[/bold]" in shown


def test_no_line_of_a_table_ends_in_blanks_which_a_narrow_terminal_would_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    rows = [{"price": 1, "state": "held by this and that"}, {"price": 2, "state": None}]
    output.show_table({"USD/H": COLUMNS["USD/H"], "STATE": COLUMNS["STATE"]}, rows, empty="nothing")
    assert all(line == line.rstrip() for line in terminal.getvalue().splitlines())


def test_colours_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    output.show_table(COLUMNS, ROWS, empty="nothing")
    assert "\x1b[32m" not in terminal.getvalue()


@pytest.mark.parametrize("setting", [("NO_COLOR", "1"), ("TERM", "dumb")], ids="=".join)
def test_no_line_is_coloured_where_that_is_not_wanted(
    setting: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output.show_line("a", colour="red")
    monkeypatch.setenv(*setting)
    output.show_line("b", colour="red")
    assert terminal.getvalue() == "\x1b[31m\x1b[1ma\x1b[0m\nb\n"


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False, allow_infinity=False)))
def test_json_is_equal_and_harmless(value: dict[str, object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stream = io.StringIO()
        patch.setattr("sys.stdout", stream)
        output.show_json(value)
    text = stream.getvalue()
    assert json.loads(text) == value
    assert text[:-1].isprintable()
    assert text.endswith("\n")

"""What commands print: tables on a terminal, tab-separated lines in a pipe, or the API's JSON.

Whatever came from outside is printed with its control characters escaped: a marketplace's label must not move the cursor, change
a colour, or begin a line of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from shopperd.harmless import visible

LINE_CHARS_MAX = 2000
"""No row of ours is longer."""

Row = Mapping[str, Any]
Show = Callable[[Any], str]
Columns = Mapping[str, tuple[str, Show]]
"""By title, the key in a row and how to print its value."""


def printable(value: object) -> str:
    """A value for people, as one line that does nothing to a terminal."""
    match value:
        case None | "":
            return "-"
        case True:
            return "yes"
        case False:
            return "no"
        case _:
            return visible(str(value))


def percent(value: Any) -> str:
    """A share of 1."""
    return "-" if value is None else f"{value:.1%}"


def seconds(value: Any) -> str:
    """A duration, such as ``1h30m``."""
    if value is None:
        return "-"
    rest, parts = round(value), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


def counted(count: int, noun: str) -> str:
    """A number of things: ``1 account``, ``2 accounts``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def show_json(value: object) -> None:
    """JSON on one line, in ASCII: equal to what the API said, and harmless on a terminal."""
    click.echo(json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f"))


def show_table(columns: Columns, rows: Iterable[Row], *, empty: str) -> None:
    """Rows under their titles.

    Args:
        empty: what to say on a terminal if there is no row; a pipe then gets the titles alone.
    """
    if not sys.stdout.isatty():
        for line in [list(columns), *_cells(columns, rows)]:
            click.echo("\t".join(line))
        return
    # Wider than any terminal: an id that is folded or cut off cannot be copied, so the terminal itself wraps what is too long.
    for drawn in draw_table(columns, rows, width=LINE_CHARS_MAX, empty=empty):
        click.echo(drawn)


def show_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Names and values, one a line."""
    width = max((len(name) for name, _ in fields), default=0)
    for name, value in fields:
        click.echo(f"{name.ljust(width)}  {printable(value)}" if sys.stdout.isatty() else f"{name}\t{printable(value)}")


def show_line(text: str, *, colour: str | None = None, err: bool = False) -> None:
    """One line, in colour on a terminal only."""
    shown = printable(text)
    click.echo(click.style(shown, fg=colour, bold=True) if colour and _has_colours() else shown, err=err)


def _has_colours() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")


def show_next(answer: Mapping[str, Any]) -> None:
    """Tell on stderr how to get the rest of a list, if there is more."""
    if answer.get("next"):
        click.echo(f"there is more: --cursor {printable(answer['next'])}", err=True)


def draw_table(columns: Columns, rows: Iterable[Row], *, width: int, empty: str) -> list[str]:
    """The lines of a table for a terminal; the longest words are cut where it would be wider than that."""
    # Imported when needed: it takes longer to load than all the rest.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = _cells(columns, rows)
    if not lines:
        return [empty]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in columns:
        is_number = title in _NUMBERS
        # What may wrap is narrowed first, and a cell that does not wrap is cut then.
        table.add_column(title, no_wrap=is_number, justify="right" if is_number else "left")
    for line in lines:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, ""), no_wrap=True, overflow="ellipsis") for cell in line))
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False)
    with console.capture() as drawn:
        console.print(table)
    # Blanks that fill a column up to the longest cell would be folded into lines of their own.
    return [line.rstrip() for line in drawn.get().splitlines()]


def _cells(columns: Columns, rows: Iterable[Row]) -> list[list[str]]:
    return [[printable(show(row.get(key))) for key, show in columns.values()] for row in rows]


_NUMBERS = frozenset(
    {
        "USD/H",
        "USD",
        "MONTH",
        "ESTIMATED",
        "TIME",
        "AGE",
        "GPUS",
        "OFFERS",
        "LEAST",
        "P10",
        "P50",
        "P90",
        "VRAM",
        "SIGHTINGS",
        "INST",
        "SESS",
        "ORPH",
        "DESTR",
        "STUCK",
    }
)
_STYLES = {
    "running": "green",
    "ok": "green",
    "NOT OK": "red",
    "failed": "red",
    "lost": "red",
    "destroying": "red",
    "held": "yellow",
    "stuck": "red",
    "HOLDS (first)": "red",
    "holds": "yellow",
    "starting": "yellow",
    "creating": "yellow",
    "ending": "yellow",
    "unknown": "yellow",
}

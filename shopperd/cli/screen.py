"""One screen of a terminal: no line that the terminal would wrap, and none that scrolls out of sight."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import chain

import click
from attrs import frozen

from shopperd.cli.output import Columns, Row, draw_table, printable, show_line

SMALLEST = (80, 24)
"""Columns and rows. In a smaller window lines wrap and scroll: what matters has no room there."""


@frozen
class Said:
    """A line for people. `err`: what a pipe gets on stderr."""

    text: str
    colour: str | None = None
    err: bool = False


@frozen
class Page:
    """What a screen is to hold: lines, a table, and lines again, of which the last ones matter least. `empty` stands for a table without rows."""

    above: Sequence[Said]
    columns: Columns
    rows: Sequence[Row]
    empty: str
    below: Sequence[Said]


def show_first_that_fits(pages: Iterator[Page]) -> None:
    """Print the first of these pages that fits the terminal with every line cut to one row, else the last one without its end.

    The rows that are left go to the lines that were cut, from the top down, and then to a blank line above and below the table.
    """
    columns, rows = (max(there, least) for there, least in zip(shutil.get_terminal_size(), SMALLEST, strict=True))
    for page in pages:
        table = draw_table(page.columns, page.rows, width=columns, empty=page.empty)
        # The prompt comes back in the last row.
        spare = rows - 1 - len(table) - len(page.above) - len(page.below)
        if spare >= 0:
            break
    below = list(page.below)
    if spare < 0:
        del below[spare - 1 :]
        below.append(Said(f"… and {1 - spare} more lines: `shopperd status | less`"))
        spare = 0
    shown = []
    for said in (*page.above, *below):
        folded = _folded(printable(said.text), columns, 1 + spare)
        spare -= len(folded) - 1
        shown.append([(line, said.colour) for line in folded])
    blanks = [""] if spare >= 2 else []
    _show(shown[: len(page.above)])
    for line in (*blanks, *table, *blanks):
        click.echo(line)
    _show(shown[len(page.above) :])


def _show(shown: Sequence[Sequence[tuple[str, str | None]]]) -> None:
    for line, colour in chain.from_iterable(shown):
        show_line(line, colour=colour)


def _folded(text: str, columns: int, rows_max: int) -> list[str]:
    """A line in as many rows as it may have, the last of them cut."""
    # Imported when needed: it takes longer to load than all the rest.
    from rich.console import Console
    from rich.text import Text

    rows = list(Text(text).wrap(Console(), columns))
    if len(rows) > rows_max:
        rest = Text("").join(rows[rows_max - 1 :])
        rest.truncate(columns, overflow="ellipsis")
        rows[rows_max - 1 :] = [rest]
    return [row.plain.rstrip() for row in rows]

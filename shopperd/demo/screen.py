"""How the demo looks: a live picture on a terminal, one line per happening in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Protocol

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from shopperd.demo.board import AccountView, Board
from shopperd.demo.comparison import Row
from shopperd.demo.words import Line, Voice

PICTURES_PER_SECOND = 4

_HEIGHT_BESIDES_LINES = 17
"""Rows that header, accounts and frames take."""

_LINES_MIN = 4

_STYLES: Mapping[Voice, str] = {
    Voice.SCRIPT: "bold",
    Voice.TROUBLE: "bold red",
    Voice.SEEN: "cyan",
    Voice.DECIDED: "yellow",
    Voice.DONE: "green",
}

_SPACING_FROM_WIDTH = 110
"""A narrower terminal has no room for the last column."""

_ACCOUNT_WIDTH = 12
_WIDTHS: Mapping[str, int] = {"account": _ACCOUNT_WIDTH, "provider": 10, "last truth": 10}


class Screen(Protocol):
    """Something that shows the story as it goes on."""

    def __enter__(self) -> Screen:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show no more."""

    def tell(self, line: Line) -> None:
        """Something happened."""

    def refresh(self) -> None:
        """The board changed."""


def screen_for(console: Console, board: Board) -> Screen:
    """A live picture if somebody watches, else plain lines."""
    return (
        LiveScreen(console, board)
        if console.is_terminal and not console.is_dumb_terminal
        else PlainScreen(console, board)
    )


class PlainScreen:
    """One line per happening, for pipes and files. Nothing is coloured, wrapped or repeated."""

    def __init__(self, console: Console, board: Board) -> None:
        self._console = console
        self._board = board

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def tell(self, line: Line) -> None:
        """Print it."""
        self._board.add(line)
        print_plainly(self._console, plain(line))

    def refresh(self) -> None:
        """Nothing: only happenings are told."""


class LiveScreen:
    """The board, redrawn in place."""

    def __init__(self, console: Console, board: Board) -> None:
        self._board = board
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, line: Line) -> None:
        """Put it on the board."""
        self._board.add(line)

    def refresh(self) -> None:
        """Draw again."""
        self._live.update(picture(self._board, *self._console.size), refresh=True)


def print_plainly(console: Console, text: str) -> None:
    """Print a line as it is, whole, and at once."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.file.flush()


def plain(line: Line) -> str:
    """A line for a pipe."""
    return f"{line.at:7.1f}s  {line.voice.value:<8} {line.account:<{_ACCOUNT_WIDTH}} {line.text}".rstrip()


def picture(board: Board, width: int, height: int) -> RenderableType:
    """The whole board for a terminal of that size."""
    room = max(2 * _LINES_MIN, height - _HEIGHT_BESIDES_LINES - len(board.accounts))
    above = max(_LINES_MIN, room // 3)
    return Group(
        _header(board),
        _accounts(board.accounts, spacing=width >= _SPACING_FROM_WIDTH),
        Panel(_lines(board.script, above), title="what the demo does", title_align="left", border_style="red"),
        Panel(
            _lines(board.trail, max(_LINES_MIN, room - above)),
            title="what shopperd sees, decides, does (its audit trail)",
            title_align="left",
            border_style="green",
        ),
    )


def _header(board: Board) -> RenderableType:
    of_length = "" if board.length is None else f" of {board.length:.0f} s"
    daemon = ("up", "bold green") if board.daemon_up else ("down", "bold red")
    head = Text.assemble(
        ("shopperd demo", "bold"),
        f"   {board.elapsed:.0f} s{of_length}   {board.phase}   daemon ",
        daemon,
        "   Ctrl-C ends it",
    )
    url = board.url or "..."
    where = Text(
        f"status page {url}/   API {url}/api/v1/status   metrics {url}/metrics",
        style="dim",
        overflow="ellipsis",
        no_wrap=True,
    )
    control = Text(
        "simulator " + " ".join(f"{control}/_sim/state" for control in board.controls),
        style="dim",
        overflow="ellipsis",
        no_wrap=True,
    )
    return Panel(Group(head, where, control), border_style="blue")


def _accounts(accounts: Iterable[AccountView], *, spacing: bool) -> RenderableType:
    table = Table(box=SIMPLE, expand=True, padding=(0, 1))
    for title in ("account", "provider", "last truth", "machines", "sessions", "orphans", "USD/h"):
        text = title in ("account", "provider")
        table.add_column(
            title, justify="left" if text else "right", no_wrap=True, min_width=_WIDTHS.get(title, len(title))
        )
    if spacing:
        table.add_column("spacing of calls, learned", no_wrap=True, overflow="ellipsis", ratio=1)
    for account in accounts:
        table.add_row(
            Text(account.name, style="bold" if account.healthy else "bold red"),
            account.provider,
            age_text(account),
            str(account.instances),
            str(account.sessions),
            Text(str(account.orphans), style="bold yellow" if account.orphans else ""),
            f"{account.burn_per_hour:.3f}",
            *([limits_text(account.limits)] if spacing else []),
        )
    return table


def age_text(account: AccountView) -> str:
    """How old the account's newest complete snapshot is, and what is wrong if something is."""
    age = "none yet" if account.snapshot_age_seconds is None else f"{account.snapshot_age_seconds:.1f} s ago"
    return age if account.healthy else f"{age} ({account.reason or 'not healthy'})"


def limits_text(limits: Mapping[str, float]) -> str:
    """Spacing of calls, such as ``list 0.2 s, create 0.9 s``, or ``0.12 s`` if it is the same for all."""
    if len(limits) > 1 and len(set(limits.values())) == 1:
        return f"{next(iter(limits.values())):.2g} s"
    return ", ".join(f"{endpoint} {seconds:.2g} s" for endpoint, seconds in limits.items())


def _lines(lines: Iterable[Line], count: int) -> Text:
    newest = list(lines)[-count:]
    text = Text(no_wrap=True, overflow="ellipsis")
    for line in newest:
        text.append(f"{line.at:6.1f} ", style="dim")
        text.append(f"{line.voice.value:<8}", style=_STYLES[line.voice])
        text.append(f"{line.account:<{_ACCOUNT_WIDTH}} ", style="dim")
        text.append(f"{line.text}\n")
    text.append("\n" * (count - len(newest)))
    text.rstrip()
    return text


def show_rows(console: Console, rows: Iterable[Row]) -> None:
    """The summary's table: what shopperd believes beside what is true."""
    heading = ("", "shopperd believes", "the truth")
    if not console.is_terminal:
        print_plainly(console, f"  {heading[0]:<40} {heading[1]:>18}  {heading[2]}")
        for row in rows:
            print_plainly(console, f"{'  ' if row.agrees else '! '}{row.what:<40} {row.believed:>18}  {row.true}")
        return
    table = Table(box=SIMPLE)
    table.add_column(heading[0])
    table.add_column(heading[1], justify="right")
    table.add_column(heading[2])
    for row in rows:
        table.add_row(row.what, row.believed, row.true, style="" if row.agrees else "bold red")
    console.print(table)

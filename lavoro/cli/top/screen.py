"""Draws the screen: a head, the tables with the line that is chosen, and the keys."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from lavoro.cli.common import clock
from lavoro.cli.top.choice import Choice
from lavoro.cli.top.tables import VIEWS, View, summary
from lavoro.monitoring.top import Frame
from lavoro.text.printable import cut, plain

CELL = 200
"""Characters of a cell."""
AROUND = 3
"""Lines of the head and the foot."""
FRAME = 3
"""Lines of a table besides its own: its title, the titles of its columns, and the empty one below."""
KEYS = {
    "queues": "p pause/resume",
    "workers": "",
    "running": "x revoke",
    "failing": "t start the last one again  T all of them",
}
HELP = (
    "Tab, 1-4      the next table, or the one of that number",
    "up, down      move; also j, k, page up, page down, home, end",
    "Enter         show one table alone, or all",
    "p             pause or resume the queue",
    "x             revoke the running task, after a question",
    "t, T          start the last failed task of the line again, or all of them, after a question",
    "?             these keys",
    "q, Ctrl-C     end",
)


class Screen:
    """All that is shown at one moment, drawn for the size that the terminal has then."""

    def __init__(
        self, frame: Frame | None, choice: Choice, zone: dt.tzinfo, *, line: str, trouble: str | None = None
    ) -> None:
        self._frame, self._choice, self._zone = frame, choice, zone
        self._line, self._trouble = line, trouble

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw no more lines than the terminal has."""
        lines: list[Any] = [self._head(), Text("")]
        height = max(options.size.height, 1)
        if self._choice.helping:
            lines += [Text(each) for each in HELP][: max(height - AROUND, 1)]
        elif self._frame is not None:
            lines += self._tables(self._frame, height - AROUND)
        yield from lines
        yield Text(plain(self._line) or self._keys(), style="bold", no_wrap=True, overflow="ellipsis", end="")

    def _head(self) -> Text:
        seen = "" if self._frame is None else clock(self._frame.at.replace(microsecond=0), self._zone)
        if self._trouble is not None:
            text, style = f"no database{f', last seen {seen}' * bool(seen)}: {self._trouble}; trying again", "bold red"
        elif self._frame is None:
            text, style = "reads the database ...", "bold"
        else:
            text, style = f"{seen}  {summary(self._frame)}  {self._frame.database}", "bold"
        return Text(plain(text), style=style, no_wrap=True, overflow="ellipsis")

    def _keys(self) -> str:
        own = KEYS[self._choice.view.name]
        return f"Tab table  Enter {'all' if self._choice.alone else 'alone'}  {own}{'  ' * bool(own)}? keys  q end"

    def _tables(self, frame: Frame, height: int) -> list[Any]:
        """Draw the chosen table alone, or all, where each has its part of the lines."""
        views = [self._choice.view] if self._choice.alone or height < len(VIEWS) * (FRAME + 1) else list(VIEWS)
        counts = {view.name: len(view.lines(frame)) for view in views}
        rooms = shared(height - FRAME * len(views), [max(counts[view.name], 1) for view in views])
        return [self._table(view, frame, room) for view, room in zip(views, rooms, strict=True)]

    def _table(self, view: View, frame: Frame, room: int) -> Group:
        chosen, rows = view is self._choice.view, view.lines(frame)
        place = self._choice.place(frame, view)
        begin = min(max(0, place - room + 1), max(0, len(rows) - room))
        count = f" ({begin + 1} to {begin + room} of {len(rows)})" if len(rows) > room else ""
        title = Text(f"{VIEWS.index(view) + 1} {view.title}{count}", style="bold reverse" if chosen else "bold")
        if not rows:
            return Group(title, Text(view.empty, style="dim"), Text(""))
        table = Table(box=None, expand=True, pad_edge=False)
        for name in view.titles:
            table.add_column(Text(name, style="dim"), no_wrap=True, overflow="ellipsis", justify=_justified(name))
        for at, row in enumerate(rows[begin : begin + room], begin):
            cells = [Text(plain(cut(cell, CELL))) for cell in view.cells(row)]
            table.add_row(*cells, style="reverse" if chosen and at == place else _style(row))
        return Group(title, table, Text(""))


def _justified(name: str) -> Any:
    return "right" if name in ("ready", "later", "held", "running", "in", "out", "failed", "pid", "for") else "left"


def _style(row: Any) -> str:
    wrong = getattr(row, "paused", False) or not getattr(row, "served", True) or getattr(row, "ending", False)
    return "yellow" if wrong or getattr(row, "quiet", False) else ""


def shared(lines: int, wanted: Sequence[int]) -> list[int]:
    """Share lines among tables: each gets one at least, and no more than it wants while another wants more.

    >>> shared(10, [2, 20, 1, 20])
    [2, 4, 1, 3]
    """
    given = [1] * len(wanted)
    left = lines - len(wanted)
    while left > 0 and any(have < want for have, want in zip(given, wanted, strict=True)):
        for place, want in enumerate(wanted):
            if given[place] < want and left > 0:
                given[place] += 1
                left -= 1
    return given

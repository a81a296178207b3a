"""Draws a table on a terminal, with rich."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def console() -> Console:
    """Return the terminal; with NO_COLOR it gets no escapes at all, where rich alone would write bold."""
    return Console(color_system=None if os.environ.get("NO_COLOR") else "auto", highlight=False)


def table_of(titles: Sequence[str], rows: Sequence[Sequence[str]], *, title: str, lines: Sequence[int]) -> Table:
    """Make a table of plain texts; ``lines`` are the columns whose cells stay on one line."""
    table = Table(box=None if Console().width < 120 else box.HEAVY_HEAD, title=Text(title) if title else None)
    for place, name in enumerate(titles):
        table.add_column(name, overflow="fold", no_wrap=place in lines)
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    return table


def draw(titles: Sequence[str], rows: Sequence[Sequence[str]], *, title: str, lines: Sequence[int]) -> None:
    """Print a table of plain texts."""
    console().print(table_of(titles, rows, title=title, lines=lines))

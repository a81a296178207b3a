"""The parts that the verbs of ``lavoro schedule`` share: the application with its tasks, JSON, times and tables."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lavoro.app import Lavoro
from lavoro.cli.common import load_app, load_tasks
from lavoro.cli.output import say
from lavoro.store.entries import StoredSchedule
from lavoro.store.schema import migrate as migrations
from lavoro.text.printable import cut, plain

JSON_OPTION = click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")
LONGEST = 1000
"""Characters of a cell."""
SHORT = 10
"""Characters of a cell that stay on one line."""
WIDE = 120
"""Characters of a line that has room for all columns."""


def app_with_tasks(context: click.Context, app: str | None, *, database: bool = True) -> Lavoro:
    """Load the application with the modules of its tasks and entries; its database must be of this release."""
    found = load_app(context, app)
    load_tasks(found)
    if database:
        migrations.check(found.database)
    return found


def say_json(value: Any) -> None:
    """Print a value as JSON; what JSON has not becomes a text."""
    say(json.dumps(value, default=_as_json, ensure_ascii=False))


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (dt.datetime, dt.date)) else str(value)


def as_dict(stored: StoredSchedule) -> dict[str, Any]:
    """Return the fields of a schedule, and its state."""
    return {**stored._asdict(), "state": stored.state}


def zone_of(app: Lavoro, stored: StoredSchedule) -> dt.tzinfo:
    """Return the zone in which the times of a schedule are shown: its own, or the application's."""
    try:
        return ZoneInfo(stored.zone) if stored.zone else app.timezone
    except (KeyError, ValueError, OSError):  # a zone that there is not
        return app.timezone


def clock(at: dt.datetime | None, zone: dt.tzinfo) -> str:
    """Write a time; nothing for None."""
    if at is None:
        return ""
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}{f'{local:.%f}'.rstrip('0').rstrip('.') if local.microsecond else ''} {local:%Z}"


def narrow() -> bool:
    """Return whether a line of the terminal is too short for the columns that are least needed."""
    return Console().width < WIDE


def show_table(titles: tuple[str, ...], rows: list[tuple[Any, ...]], *, whole: str) -> None:
    """Print a table of plain text: brackets in names are no markup, and control characters are escapes.

    Each cell is shown in full, on several lines if need be; the column ``whole`` on one, if that leaves half of the
    width to the others. A narrow table leaves out columns without any value.
    """
    console = Console()
    texts = [[Text(plain(cut(str(cell), LONGEST))) for cell in row] for row in rows]
    places = [place for place in range(len(titles)) if not narrow() or any(row[place] for row in texts)]
    table = Table(box=None if narrow() else box.HEAVY_HEAD)
    for place in places:
        longest = max(row[place].cell_len for row in texts)
        most = console.width // 2 if titles[place] == whole else SHORT
        table.add_column(titles[place], overflow="fold", no_wrap=longest <= most)
    for row in texts:
        table.add_row(*[row[place] for place in places])
    console.print(table)

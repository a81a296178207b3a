"""Prints for the verbs: JSON, tables, notes and questions, with control characters as escapes."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from lavoro.cli.exits import Exit, Failure
from lavoro.text.plural import counted
from lavoro.text.printable import cut, plain, plain_json

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

LONGEST = 1000
"""Characters of a cell: names of queues have up to 200 when Python sends the task, and no limit when SQL does."""
SHORT = 10
"""Characters of a cell that stay on one line."""
WIDE = 120
"""Characters of a line that has room for all columns."""
ENDLESS = 10_000
"""Characters of a line that is no terminal's."""
QUIET = "_LAVORO_QUIET"
"""The variable that ``-q`` sets."""


def say(text: str, *, error: bool = False) -> None:
    """Print lines; names in them may come from any sender of tasks."""
    click.echo(plain(text, lines=True), err=error)


def note(text: str) -> None:
    """Print lines beside the result, on standard error; with ``-q`` nothing."""
    if not os.environ.get(QUIET):
        say(text, error=True)


def say_found(problems: int, where: str = "") -> None:
    """Say how many problems were found, and where."""
    say(f"{counted(problems, 'problem') if problems else 'nothing'} found{where and f' in {where}'}")


def say_json(value: Any) -> None:
    """Print a value as JSON: named tuples and dataclasses as objects, and as texts what JSON has not."""
    say(as_json_line(value))


def as_json_line(value: Any) -> str:
    """Write a value as JSON on one line."""
    return plain_json(json.dumps(_as_json(value), ensure_ascii=False))


def _as_json(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif dataclasses.is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {str(key): _as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_as_json(each) for each in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    return value.isoformat() if isinstance(value, (dt.datetime, dt.date)) else str(value)


def is_terminal() -> bool:
    """Return whether results are printed on a terminal."""
    return sys.stdout.isatty()


def width() -> int:
    """Return the characters of a line; without a terminal there are as many as a line needs, or COLUMNS says."""
    if is_terminal():
        return shutil.get_terminal_size().columns
    given = os.environ.get("COLUMNS", "")  # not the terminal of the process, which may print elsewhere
    return int(given) if given.isdigit() else ENDLESS


def narrow() -> bool:
    """Return whether a line is too short for the columns that are least needed."""
    return width() < WIDE


def show_table(titles: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "", whole: str = "") -> None:
    """Print a table of plain text: brackets in names are no markup, and control characters are escapes.

    On a terminal each cell is shown in full, on several lines if need be; the column ``whole`` on one, if that leaves
    half of the width to the others. A narrow table leaves out columns without any value. Elsewhere each row is a line
    of aligned columns, without colours.
    """
    texts = [[plain(cut(str(cell), LONGEST)) for cell in row] for row in rows]
    places = [place for place in range(len(titles)) if not narrow() or any(row[place] for row in texts)]
    titles, texts = [titles[place] for place in places], [[row[place] for place in places] for row in texts]
    if is_terminal():
        _draw(titles, texts, title, whole)
    else:
        for line in ([f"{title}:"] if title else []) + aligned([titles, *texts]):
            say(line)


def _draw(titles: Sequence[str], rows: list[list[str]], title: str, whole: str) -> None:
    from lavoro.cli.drawing import draw  # noqa: PLC0415  # rich takes 50 ms, and only a terminal needs it

    longest = [max((_cells(row[place]) for row in rows), default=0) for place in range(len(titles))]
    most = [width() // 2 if name == whole else SHORT for name in titles]
    draw(titles, rows, title=title, lines=[place for place in range(len(titles)) if longest[place] <= most[place]])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines whose columns are aligned, two spaces apart; a column of numbers to the right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(_cells, column)) for column in columns]
    numbers = [all(_is_number(cell) for cell in column[1:]) for column in columns]
    return [
        "  ".join(
            f"{' ' * (size - _cells(cell))}{cell}" if right else f"{cell}{' ' * (size - _cells(cell))}"
            for cell, size, right in zip(row, widths, numbers, strict=True)
        ).rstrip()
        for row in rows
    ]


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).isdigit() or not text


def _cells(text: str) -> int:
    """Return the columns of a terminal that a text takes: Chinese and the like take two each."""
    return len(text) if text.isascii() else sum(1 + (unicodedata.east_asian_width(each) in "WF") for each in text)


def confirm(question: str, *, yes: bool, option: str = "--yes") -> None:
    """Ask before something that cannot be undone; without a terminal to ask on, the option has to say yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(f"{plain(question)} There is no terminal to ask on: give {option}; nothing was done", Exit.USAGE)
    click.confirm(plain(question), abort=True, err=True)


@contextlib.contextmanager
def progress(total: int, label: str, *, shown: bool = True) -> Iterator[ProgressBar[int] | None]:
    """Show a bar on a terminal while long work goes on; elsewhere, and with ``-q``, None is yielded."""
    if not shown or not sys.stderr.isatty() or os.environ.get(QUIET):
        yield None
        return
    with click.progressbar(length=total, label=plain(label), file=sys.stderr) as bar:
        yield bar

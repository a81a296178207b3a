"""The lists: what of Celery's unit tests is left out, and which tests fail, each with the sentence that says why."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
UNIT = "t/unit/"
INTERNAL = "Internal: "
"""Begins the sentences for tests that use what is no public API; all others tell of a difference."""


class Entry(NamedTuple):
    """A test id below `t/unit`, or a pattern of ids, with its sentence."""

    pattern: str
    sentence: str


def read(name: str) -> list[Entry]:
    """Read a list: sentences, each followed by indented ids."""
    found: list[Entry] = []
    sentence = ""
    for line in (FOLDER / name).read_text().splitlines():
        if line.startswith("    "):
            if not sentence or any(line.strip() == entry.pattern for entry in found):
                raise ValueError(f"{name}: {line.strip()} has no sentence, or stands there twice")
            found.append(Entry(line.strip(), sentence))
        elif line and not line.startswith("#"):
            sentence = line
    return found


LEFT_OUT = read("left-out.txt")
FAILING = read("failing.txt")


def entry_for(entries: list[Entry], test: str) -> Entry | None:
    """Return the entry for a test; one that names it alone goes before a pattern."""
    exact = (entry for entry in entries if entry.pattern in (test, test.partition("[")[0]))
    return next(exact, None) or next((e for e in entries if "*" in e.pattern and fnmatchcase(test, e.pattern)), None)


def files_to_run(source: Path) -> list[str]:
    """Return the test files that no entry leaves out as a whole."""
    names = (str(file.relative_to(source)) for file in sorted((source / UNIT).rglob("test_*.py")))
    return [name for name in names if entry_for(LEFT_OUT, name.removeprefix(UNIT)) is None]


def trim(passing: list[str]) -> None:
    """Take tests out of `failing.txt`, and sentences that have none left; patterns stay."""
    file = FOLDER / "failing.txt"
    kept = []
    for group in file.read_text().rstrip("\n").split("\n\n"):
        lines = [line for line in group.splitlines() if line.strip() not in passing]
        if "\n".join(lines) == group or any(line.startswith("    ") for line in lines):
            kept.append("\n".join(lines))
    file.write_text("\n\n".join(kept) + "\n")

"""The list of Celery's integration tests that fail on Lavoro, each with the sentence that says why."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from tests.celery_suite.source import REPOSITORY

FOLDER = "t/integration"
FILE = REPOSITORY / "compat" / "expected_failures.txt"
POOLS = ("threads", "prefork", "solo", "gevent")
NOT_RUN = "Not run: "
"""Begins the sentences for tests that would only wait for their time limit."""

SOMETIMES = "Sometimes: "
"""Begins the sentences for tests that a race decides."""


class Entry(NamedTuple):
    """A test id below `t/integration`, or a pattern of ids, with its sentence and the pools in which it fails."""

    pattern: str
    sentence: str
    pools: tuple[str, ...]


def read(file: Path = FILE) -> list[Entry]:
    """Read the list: sentences, each followed by indented ids; after an id may follow ``@`` and pools."""
    found: list[Entry] = []
    sentence = ""
    for line in file.read_text().splitlines():
        if line.startswith("    "):
            pattern, _, pools = line.strip().partition(" @ ")
            entry = Entry(pattern, sentence, tuple(pools.split()) or POOLS)
            if not sentence or not set(entry.pools) <= set(POOLS):
                raise ValueError(f"{file.name}: {line.strip()} has no sentence, or names an unknown pool")
            found.append(entry)
        elif line and not line.startswith("#"):
            sentence = line
    return found


def entry_for(entries: list[Entry], test: str, pool: str) -> Entry | None:
    """Return the entry for a test; one that names it alone goes before a pattern."""
    fitting = [entry for entry in entries if pool in entry.pools]
    exact = (entry for entry in fitting if entry.pattern == test)
    return next(exact, None) or next((e for e in fitting if "*" in e.pattern and fnmatchcase(test, e.pattern)), None)

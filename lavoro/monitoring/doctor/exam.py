"""An examination: the connection, the limits beyond which something counts as wrong, and what is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lavoro.store.statements import read, render, without_comments
from lavoro.store.tx import Row, Tx

FOLDER = Path(__file__).parent
_QUERIES = read(FOLDER)


class Finding(NamedTuple):
    """Something that is wrong, or soon will be."""

    check: str
    """What was looked at, in a word."""
    which: str
    """The table, queue, worker or session it is about."""
    problem: str
    repair: str
    """A command, or SQL; what begins with ``--`` is advice."""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """What the doctor has to know, and from when on something counts as wrong. Durations are in seconds."""

    tx: Tx
    retention: Mapping[str, float | None]
    pooled: bool = False
    direct_url: str | None = None
    patience: float = 300.0
    """How old a snapshot or prepared transaction may be."""
    backlog: float = 60.0
    """How long a due task may wait on a queue that nobody serves."""
    skew: float = 2.0
    """How far this machine's clock may be from the database's."""
    full: float = 0.8
    """The part of the server's connections that may be in use."""
    clock: Callable[[], float] = time.time

    def rows(self, query: str, **parameters: Any) -> list[Row]:
        """Return the rows of a query; it is named as its file beside this one."""
        text = render(without_comments(_QUERIES[query]), self.tx.schema).encode()
        return self.tx.cursor.execute(text, parameters).fetchall()


def literal(text: str) -> str:
    """Return a text as SQL writes it, for a repair."""
    return "'" + text.replace("'", "''") + "'"

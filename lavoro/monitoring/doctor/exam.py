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
    """A fault, or one that will soon be."""

    check: str
    """The name of the check."""
    which: str
    """The table, queue, worker or session that has the fault."""
    problem: str
    repair: str
    """A command, or SQL; a line that begins with ``--`` is advice."""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """The input of all checks, and the limits beyond which they find a fault. Durations are in seconds."""

    tx: Tx
    retention: Mapping[str, float | None]
    pooled: bool = False
    direct_url: str | None = None
    patience: float = 300.0
    """The allowed age of a snapshot or a prepared transaction."""
    backlog: float = 60.0
    """The allowed wait of a due task on a queue that no worker serves."""
    locked: float = 2.0
    """The allowed age of a lock that others wait for."""
    skew: float = 2.0
    """The allowed difference between this machine's clock and the database's."""
    shown: int = 100
    """The most schedules with a problem that are told."""
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

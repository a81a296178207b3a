"""The failed tasks of a time, grouped by their name and the class of their error."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import NamedTuple

from lavoro.store.database import Database

READ = 10_000
"""Most failed tasks that are read, the latest ones."""


@dataclass(frozen=True)
class Wanted:
    """The failures to group; an empty tuple or None is no condition."""

    since: dt.datetime
    until: dt.datetime
    queues: tuple[str, ...] = ()
    name: str | None = None
    """A pattern of SQL's ``like``."""
    errors: tuple[str, ...] = ()


class Group(NamedTuple):
    """Failed tasks of one name with one class of error."""

    name: str
    error: str
    tasks: int
    first: dt.datetime
    last: dt.datetime
    example: str
    """The id of the last one."""
    message: str | None
    """JSON: the arguments of its exception."""


class Groups(NamedTuple):
    """All of them, the largest first."""

    groups: list[Group]
    cut: dt.datetime | None
    """The end of the earliest failure that was read, if there may be more before it."""


def group(database: Database, wanted: Wanted) -> Groups:
    """Group the latest 10,000 failures of a time."""
    parameters = {
        "since": wanted.since, "until": wanted.until, "queues": list(wanted.queues) or None, "name": wanted.name,
        "errors": list(wanted.errors) or None, "most": READ,
    }  # fmt: skip
    with database.tx() as tx:
        rows = tx.run("group_failures", parameters)
    *_, read, earliest = rows[0]
    groups = [Group._make(row[:7]) for row in rows if row[0] is not None]
    return Groups(groups, earliest if read == READ else None)

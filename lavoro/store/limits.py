"""The limits of keys: what they count and hold, and an operator's changes."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import NamedTuple

from lavoro.store.database import Database
from lavoro.store.tx import Tx


class LimitInfo(NamedTuple):
    """A limit: its terms, and the tasks that it counts and holds."""

    key: str
    running: int | None
    """Most tasks that run at the same time; None: any number."""
    rate: int | None
    """Most starts in ``per`` seconds; None: any number."""
    per: float | None
    burst: int | None
    """How many of them may start at once."""
    fixed: bool
    """Whether an operator has set the terms; else the last call gave them."""
    paused_until: dt.datetime | None
    """Until when no task starts; the last day of the calendar: until it is resumed."""
    taken: int | None
    """The running tasks that it counts; None without ``running``."""
    held: int
    """The tasks that wait for it, of those that a worker has met."""
    oldest: float | None
    """Seconds since the oldest of them was due."""
    used_at: dt.datetime


class Holder(NamedTuple):
    """A running task that a limit counts."""

    id: str
    name: str
    node: str | None
    seconds: float


def free(tx: Tx) -> float:
    """Move held tasks back to their queues as far as their limits have room; return the seconds until the next look.

    Infinity: no limit holds a task.
    """
    row = tx.row("free_limits")
    return math.inf if row is None or row[0] is None else float(row[0])


def recount(tx: Tx, key: str | None = None) -> int:
    """Set the count of a limit, or of all, to the tasks that run; return how many were wrong."""
    row = tx.row("recount_limits", {"key": key})
    return row[0] if row else 0


def forget(tx: Tx) -> None:
    """Delete limits that no task uses any more, and unique keys whose time is over."""
    tx.row("forget_limits")


def listed(database: Database, keys: Sequence[str] | None = None, *, most: int = 10_000) -> list[LimitInfo]:
    """List the limits with these keys, or all, in the order of their keys."""
    with database.tx() as tx:
        rows = tx.run("list_limits", {"keys": None if keys is None else list(keys), "most": most})
    return [LimitInfo._make(row) for row in rows]


def holders(database: Database, key: str, *, most: int = 100) -> list[Holder]:
    """List running tasks that a limit counts, the longest first."""
    with database.tx() as tx:
        rows = tx.run("list_holders", {"key": key, "most": most})
    return [Holder._make(row) for row in rows]


class Terms(NamedTuple):
    """The terms of a limit; None: none of that kind."""

    running: int | None = None
    rate: int | None = None
    per: float | None = None
    burst: int | None = None


def fix(database: Database, key: str, terms: Terms) -> None:
    """Give a limit terms that calls do not change, and free what it has room for."""
    with database.tx() as tx, tx.connection.transaction():
        tx.execute("set_limit", {"key": key, **terms._asdict()})
        recount(tx, key)


def unfix(database: Database, key: str) -> bool:
    """Let calls give a limit its terms again; return whether an operator had set them."""
    with database.tx() as tx:
        return tx.row("unset_limit", {"key": key}) is not None


def pause(
    database: Database, keys: Sequence[str], *, until: dt.datetime | None = None, seconds: float | None = None
) -> list[str]:
    """Let no task of limits start until a time, or for so long, or until they are resumed; return those that exist."""
    with database.tx() as tx:
        return [row[0] for row in tx.run("pause_limit", {"keys": list(keys), "until": until, "seconds": seconds})]


def resume(database: Database, keys: Sequence[str]) -> list[str]:
    """Let the tasks of limits start again; return the limits that exist."""
    with database.tx() as tx, tx.connection.transaction():
        found = [row[0] for row in tx.run("pause_limit", {"keys": list(keys), "until": _PAST, "seconds": None})]
        for key in sorted(found):
            recount(tx, key)
    return found


_PAST = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)

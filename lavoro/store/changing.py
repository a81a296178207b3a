"""Changes tasks for an operator: each function takes ids, and returns those of the tasks that it changed."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from lavoro.store import tasks
from lavoro.store.arrays import uuids
from lavoro.store.results import forget
from lavoro.store.tx import Tx


class Acted(NamedTuple):
    """The tasks that an action has reached."""

    done: frozenset[uuid.UUID]
    asked: frozenset[uuid.UUID] = frozenset()
    """Those that run, and whose process is told to end them."""
    awaited: frozenset[uuid.UUID] = frozenset()
    """Those that were left alone because other tasks wait for them."""


def change(
    tx: Tx, ids: Sequence[uuid.UUID], *, queue: str | None = None, priority: int | None = None,
    due: dt.datetime | None = None, now: bool = False,
) -> Acted:  # fmt: skip
    """Change tasks that wait; unless they are to be due ``now``, held ones too."""
    parameters = {
        "ids": uuids(ids), "queue": queue, "priority": priority, "due": due, "now": now, "held": not now,
    }  # fmt: skip
    return Acted(frozenset(row[0] for row in tx.run("change_tasks", parameters)))


def revoke(tx: Tx, ids: Sequence[uuid.UUID], *, cancel: str) -> Acted:
    """End tasks that wait or are held as REVOKED, and ask for the end of those that run; ``cancel`` says how."""
    revoked = tasks.revoke_each(tx, ids, cancel=cancel)
    return Acted(revoked.ended, revoked.asked - revoked.ended)


def replay(tx: Tx, ids: Sequence[uuid.UUID], *, states: Sequence[str] | None = None) -> Acted:
    """Let finished tasks start again, under their ids: those of these states, by default all but successes."""
    parameters = {"ids": uuids(ids), "states": None if states is None else list(states)}
    return Acted(frozenset(row[0] for row in tx.run("replay_tasks", parameters)))


def delete(tx: Tx, ids: Sequence[uuid.UUID], *, cascade: bool = False) -> Acted:
    """Delete tasks that wait, are held or have finished; those for which others wait only with ``cascade``."""
    parameters = {"ids": uuids(ids), "cascade": cascade}
    rows = tx.run("delete_waiting", parameters)
    awaited = {row[0] for row in rows if row[1]}
    done = {row[0] for row in rows if not row[1]}
    left = [id for id in ids if id not in done and id not in awaited]
    if left:
        rows = tx.run("delete_held", parameters | {"ids": uuids(left)})
        awaited |= {row[0] for row in rows if row[1]}
        done |= {row[0] for row in rows if not row[1]}
    if left := [id for id in ids if id not in done and id not in awaited]:
        done |= forget(tx, *left)
    return Acted(frozenset(done), awaited=frozenset(awaited))

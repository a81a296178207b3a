"""Reads what a chord's body gets: the list of the results of its header."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from lavoro import serialization
from lavoro.exceptions import OperationalError
from lavoro.protocol.ids import task_uuid
from lavoro.states import SUCCESS
from lavoro.store import members
from lavoro.store.database import Database
from lavoro.store.members import Member

logger = logging.getLogger("lavoro.worker")

PAUSE = 1.0
"""Seconds between tries while the database cannot be reached."""


def reader(database: Database, accept: Collection[str], limit: int) -> Callable[[str], list[Any]]:
    """Return the function that reads the results of a barrier's members, at the start of the body.

    It waits for a database that cannot be reached: the outcome of the task would wait for it too. Raises
    ``ChordError`` if the results have more than ``limit`` bytes.
    """

    def read(barrier: str) -> list[Any]:
        found = _fetch(database, barrier, limit)
        values: list[Any] = serialization.loads(found.results)
        for member in found.others:
            values[member.position] = _value(member, accept)
        return values

    return read


def _fetch(database: Database, barrier: str, limit: int) -> members.Gathered:
    while True:
        try:
            with database.tx() as tx:
                return members.gather(tx, task_uuid(barrier), limit=limit)
        except OperationalError as error:
            logger.warning("the results of a chord's header cannot be read, they are tried again: %s", error)
            time.sleep(PAUSE)


def _value(member: Member, accept: Collection[str]) -> Any:
    if member.state != SUCCESS:
        return None if member.result is None else serialization.loads_exception(serialization.loads(member.result))
    if member.payload is None:
        return None
    return serialization.decode(member.payload, serialization.loads(member.result or "null"), frozenset(accept))

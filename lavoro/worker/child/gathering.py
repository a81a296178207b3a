"""Reads what a chord's body gets: the list of the results of its header, of small ones when the body is claimed."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection
from typing import Any

import psycopg

from lavoro import serialization
from lavoro.exceptions import OperationalError
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.message import Job, Packed
from lavoro.states import SUCCESS
from lavoro.store import members
from lavoro.store.database import Database
from lavoro.store.members import Member
from lavoro.store.tx import Tx

logger = logging.getLogger("lavoro.worker")

PAUSE = 1.0
"""Seconds between tries while the database cannot be reached."""
_OPTION = '"gathers"'


class ReadAhead(str):
    """The id of a barrier that keeps the results of its members, which were read when the body was claimed."""

    __slots__ = ("found",)

    found: members.Gathered


def read_ahead(tx: Tx, jobs: list[Job]) -> list[Job]:
    """Read the results for the bodies of small chords among claimed jobs: one statement for all, instead of one each.

    Return the jobs with them. A body whose results could not be read here reads them at its start.
    """
    bodies = [job for job in jobs if job.options is not None and _OPTION in job.options]
    if not bodies:
        return jobs
    with contextlib.suppress(psycopg.Error, ValueError, TypeError):
        options = {job.id: job.read_options() for job in bodies}
        barriers = {id: task_uuid(each["gathers"]) for id, each in options.items() if each.get("gathers")}
        found = members.gather_small(tx, list(barriers.values()))
        return [
            job if (results := found.get(barriers.get(job.id, job.id))) is None
            else job._replace(options=_with(results, job.options or "", options[job.id]))
            for job in jobs
        ]  # fmt: skip
    return jobs


def _with(results: members.Gathered, text: str, options: dict[str, Any]) -> Packed:
    packed, barrier = Packed(text), ReadAhead(options["gathers"])
    barrier.found = results
    packed.options = {**options, "gathers": barrier}
    return packed


def reader(database: Database, accept: Collection[str], limit: int) -> Callable[[str], list[Any]]:
    """Return the function that reads the results of a barrier's members, at the start of the body.

    It waits for a database that cannot be reached: the outcome of the task would wait for it too. Raises
    ``ChordError`` if the results have more than ``limit`` bytes.
    """

    def read(barrier: str) -> list[Any]:
        found = barrier.found if isinstance(barrier, ReadAhead) else None
        if found is None or found.size > limit:
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

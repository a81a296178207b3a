"""Reads the results of the members that a barrier has counted: the first argument of a chord's body."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from psycopg import pq

from lavoro.exceptions import ChordError
from lavoro.store.arrays import uuids
from lavoro.store.tx import Tx


class Member(NamedTuple):
    """A member whose result the JSON array does not hold: it has failed, or used another serializer."""

    position: int
    """In the array."""
    id: uuid.UUID
    state: str
    result: str | None
    """JSON: the exception of a failure, or the content type of the payload."""
    payload: bytes | None


class Gathered(NamedTuple):
    """The results of a barrier's members, in the order of their indexes."""

    number: int
    size: int
    """In bytes."""
    results: str
    """JSON array; null stands for each of the others."""
    others: tuple[Member, ...]


def gather(tx: Tx, barrier: uuid.UUID, *, limit: int) -> Gathered:
    """Read the results; raises ``ChordError`` if they have more than ``limit`` bytes (lavoro_max_gathered)."""
    found = tx.run_prepared("gather_members", [barrier.bytes, b"%d" % limit], (pq.Format.BINARY, pq.Format.TEXT))
    first, second, results, strange = (found.get_value(0, column) for column in range(4))
    number, size = int(first or 0), int(second or 0)
    if results is None:
        raise ChordError(
            f"the {number} results that this task gathers have {size} bytes, and lavoro_max_gathered is {limit}:"
            " raise it, or have the members return less (an id, the name of a file)"
        )
    others = [] if strange == b"0" else tx.run("fetch_members", {"barrier": barrier})
    return Gathered(number, size, results.decode(), tuple(Member._make(row) for row in others))


def gather_small(tx: Tx, barriers: Sequence[uuid.UUID]) -> dict[uuid.UUID, Gathered]:
    """Read the results of the barriers that have few and small ones, all of them successes in JSON."""
    found = tx.run_prepared("gather_small", [uuids(barriers)], (pq.Format.BINARY,))
    read: dict[uuid.UUID, Gathered] = {}
    for row in range(found.ntuples):
        id, number, size, results = (found.get_value(row, column) or b"" for column in range(4))
        read[uuid.UUID(id.decode())] = Gathered(int(number), int(size), results.decode(), ())
    return read


def forget_old(tx: Tx, *, kept: float) -> int:
    """Delete barriers that ended more than ``kept`` seconds ago and whose task is gone; return how many."""
    forgotten = 0
    while found := len(tx.run("forget_barriers", {"kept": kept})):
        forgotten += found
    return forgotten

"""The members of a set: the tasks in it, their parents, and their values as they end."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import Any

from lavoro import states
from lavoro.protocol.lineage import leaves
from lavoro.result.async_result import AsyncResult
from lavoro.result.gathering import Patience, gather, raise_of


def tasks(results: Iterable[Any]) -> list[AsyncResult[Any]]:
    """Return the results of tasks among the members; a result of another class is asked itself."""
    return [each for each in leaves(results) if isinstance(each, AsyncResult)]


def key(result: Any) -> Any:
    """Return the part of a result by which sets tell members apart."""
    return getattr(result, "id", None) or id(result)


def parents(result: Any) -> list[AsyncResult[Any]]:
    """Return the tasks that come before a set or before one of its members, the first ones first."""
    found: dict[str, AsyncResult[Any]] = {}
    seen: set[int] = set()
    left = [result]
    while left:
        node = left.pop()
        left += getattr(node, "results", ())
        parent = getattr(node, "parent", None)
        if parent is not None and id(parent) not in seen:
            seen.add(id(parent))
            left.append(parent)
            found.update((each.id, each) for each in tasks([parent]))
    return list(found.values())[::-1]


def value_of(member: Any, propagate: bool, patience: Patience) -> Any:
    """Return the value of a member that is over: of a set the list of its members' values; else raise its error."""
    inner = getattr(member, "results", None)
    if inner is not None:
        return [value_of(each, propagate, patience) for each in inner]
    if not isinstance(member, AsyncResult):
        return member.get(timeout=patience.seconds, propagate=propagate)
    if member._ignored:
        return None
    value = member.maybe_throw(propagate=False)
    if propagate and member.state in states.PROPAGATE_STATES:
        raise_of(parents(member))
        member.maybe_throw()
    return value


def stored_of(member: Any) -> Any:
    """Return what is stored of a member that is over; of a set its members."""
    inner = getattr(member, "results", None)
    return member.stored() if inner is None else inner


def as_they_end(results: Sequence[Any], patience: Patience) -> Generator[tuple[int, Any], None, None]:
    """Yield each member with its position once all of its tasks are over."""
    left = [0] * len(results)
    positions: dict[int, list[int]] = {}
    waited: list[AsyncResult[Any]] = []
    for position, member in enumerate(results):
        for each in tasks([member]):
            if each.is_awaited:
                left[position] += 1
                if id(each) not in positions:
                    waited.append(each)
                positions.setdefault(id(each), []).append(position)
        if not left[position]:
            yield position, member
    with closing(gather(waited, patience)) as ends:
        for each in ends:
            for position in positions[id(each)]:
                left[position] -= 1
                if not left[position]:
                    yield position, results[position]


class Joining:
    """A wait for members in their order, which reads all that have ended meanwhile."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._ends = gather((), patience)
        self._over: set[int] = set()

    def close(self) -> None:
        """End the wait."""
        self._ends.close()

    def wait_for(self, results: Sequence[Any], position: int) -> None:
        """Wait until the tasks of the member at this position are over; others may have been added behind it."""
        for each in tasks(results[position : position + 1]):
            began = False
            while each.is_awaited and id(each) not in self._over:
                if (ended := next(self._ends, None)) is not None:
                    self._over.add(id(ended))
                elif not began:
                    began = True
                    rest = {id(task): task for task in tasks(results[position:])}
                    waited = [task for key, task in rest.items() if task.is_awaited and key not in self._over]
                    self._ends = gather(waited, self._patience)
                else:
                    return

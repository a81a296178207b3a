"""Finds the place of a call in a canvas from its options, which are those of Celery's messages."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lavoro import serialization
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.place import Place
from lavoro.result import result_from_tuple

Steps = tuple[uuid.UUID, ...]


def place_of(extra: Mapping[str, Any], options: Mapping[str, Any]) -> Place | None:
    """Return the place of a call; None for one that no barrier counts or holds.

    ``extra`` are the options that travel with it, ``options`` all of them. A body has ``awaits``, the barrier and the
    number of members.
    """
    barriers = barriers_of(extra) if "chord" in extra or "chain" in extra else None
    awaits, blockers = options.get("awaits"), options.get("blockers")
    policy = None if (policy := options.get("failure_policy")) == "fail" else policy
    if awaits is not None:
        if blockers:
            raise ValueError("the body of a chord waits for the tasks of the header: give blockers to these")
        return Place(barriers, task_uuid(awaits["barrier"]), awaits["expects"], policy=policy)
    if blockers:
        found = dict(_blockers(blockers))
        return Place(barriers, None, len(found), tuple(found), policy, tuple(found.values()))
    return None if barriers is None else Place(barriers)


def _blockers(given: Iterable[Any], before: Steps = ()) -> Iterator[tuple[uuid.UUID, Steps]]:
    """Yield the ids of results, or of ids, each with those of the steps of its chain before it, nearest first.

    A group stands for its members, which all have the steps before the group behind their own.
    """
    for blocker in given:
        if isinstance(blocker, (list, tuple)):  # of a signature that has travelled
            blocker = result_from_tuple(blocker)
        if not getattr(blocker, "is_stored", True):
            raise ValueError(f"blockers: the task {blocker.id} has run here, in eager mode: leave it out")
        steps = (*_steps_before(blocker), *before)
        if hasattr(blocker, "results"):
            yield from _blockers(blocker.results, steps)
        elif isinstance(blocker, Mapping):
            raise TypeError("blockers must be results or ids of tasks, not signatures: send the signature first")
        else:
            yield task_uuid(getattr(blocker, "id", blocker)), steps


def _steps_before(result: Any) -> Iterator[uuid.UUID]:
    while (result := getattr(result, "parent", None)) is not None:
        if not hasattr(result, "results"):
            yield task_uuid(result.id)


def barriers_of(options: Mapping[str, Any]) -> str | None:
    """Return the barriers that count the end of a call, as JSON: for the steps of a chain those of its last step.

    A task without an index gets the next one of a barrier that exists.
    """
    if not options.get("chord") and (rest := options.get("chain")):
        options = _end(rest[0])["options"]
    if not options.get("chord"):
        return None
    if (group_id := options.get("group_id")) is None:
        raise ValueError("the option chord needs group_id, the id of the header that the task joins: see add_to_chord")
    return serialization.dumps({str(task_uuid(group_id)): options.get("group_index")})


def _end(signature: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the task whose result is that of a signature."""
    while (kind := signature.get("subtask_type")) in ("chain", "chord"):
        parts = signature["kwargs"]
        signature = parts["tasks"][-1] if kind == "chain" else parts["body"]
    return signature

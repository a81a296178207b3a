"""Finds the place of a call in a canvas from its options, which are those of Celery's messages."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from lavoro import serialization
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.place import Place


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
        found = dict(_blocker(blocker) for each in blockers for blocker in getattr(each, "results", None) or [each])
        return Place(barriers, None, len(found), tuple(found), policy, tuple(found.values()))
    return None if barriers is None else Place(barriers)


def _blocker(blocker: Any) -> tuple[uuid.UUID, tuple[uuid.UUID, ...]]:
    """Return the id of a result, or of an id, and those of the steps of its chain before it, nearest first."""
    steps, step = [], getattr(blocker, "parent", None)
    while step is not None:
        if not hasattr(step, "results"):
            steps.append(task_uuid(step.id))
        step = step.parent
    return task_uuid(getattr(blocker, "id", blocker)), tuple(steps)


def barriers_of(options: Mapping[str, Any]) -> str | None:
    """Return the barriers that count the end of a call, as JSON: for the steps of a chain those of its last step.

    A task without an index gets the next one of a barrier that exists.
    """
    if not options.get("chord") and (rest := options.get("chain")):
        options = _end(rest[0])["options"]
    if not options.get("chord"):
        return None
    return serialization.dumps({str(task_uuid(options["group_id"])): options.get("group_index")})


def _end(signature: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the task whose result is that of a signature."""
    while (kind := signature.get("subtask_type")) in ("chain", "chord"):
        parts = signature["kwargs"]
        signature = parts["tasks"][-1] if kind == "chain" else parts["body"]
    return signature

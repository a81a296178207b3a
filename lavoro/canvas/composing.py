"""The rules of ``|``, which are those of Celery: a group that something follows becomes a chord."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lavoro.canvas.kinds import TYPES


def composed(left: Any, right: Any) -> Any:
    """Return ``left | right``; the two stay as they are."""
    match left.subtask_type:
        case "chain":
            return _after_chain(left, right)
        case "group":
            return left if is_empty_group(right) else TYPES["chord"](left, body=right, app=left._app)
        case "chord" if (followed := _into_body(left, right)) is not None:
            return followed
    if right.subtask_type == "chain":
        return _chain([left, *right.unchain_tasks()], left._app)
    return _chain([left, unrolled(right)], left._app)


def folded(signatures: Iterable[Any]) -> Any:
    """Return ``chain() | first | second | ...``, in time that grows with their number, not with its square."""
    steps: list[Any] = []
    left = list(signatures)
    for number, each in enumerate(left):
        made = _extended(steps, each, clone=number < len(left) - 1)
        if made is not steps:  # it is a chain no longer
            for following in left[number + 1 :]:
                made = composed(made, following)
            return made
    return _chain([*(step.clone() for step in steps[:-1]), *steps[-1:]], None)


def is_empty_group(signature: Any) -> bool:
    """Tell whether it is a group without members; that of a generator is not looked into."""
    return signature.subtask_type == "group" and isinstance(signature.tasks, (list, tuple)) and not signature.tasks


def unrolled(signature: Any) -> Any:
    """Return the one member of a group of one, else the signature."""
    alone = signature.subtask_type == "group" and len(signature.tasks) == 1
    return signature.tasks[0] if alone else signature


def last_of(signature: Any) -> Any:
    """Return the task or the group whose value is that of a signature."""
    while signature.subtask_type in ("chain", "chord"):
        signature = signature.tasks[-1] if signature.subtask_type == "chain" else signature.body
    return signature


def _after_chain(chain: Any, right: Any) -> Any:
    steps = chain.unchain_tasks()
    made = _extended(steps, right, clone=False)
    if made is chain or is_empty_group(right):
        return chain
    return type(chain)(steps, app=chain._app) if made is steps else made


def _extended(steps: list[Any], right: Any, *, clone: bool) -> Any:
    """Add a signature to the steps of a chain, in place; return them, or what is made instead of a chain."""
    if is_empty_group(right):
        return steps
    if right.subtask_type == "chain":
        inner = right.unchain_tasks()
        for number, each in enumerate(inner):
            made = _extended(steps, each, clone=clone or number < len(inner) - 1)
            if made is not steps:
                for following in inner[number + 1 :]:
                    made = composed(made, following)
                return made
        return steps
    right = unrolled(right)
    if right.subtask_type == "chain":
        return _extended(steps, right, clone=clone)
    last = steps[-1].subtask_type if steps else None
    if not steps and right.subtask_type == "group":
        return right
    own = right.clone() if clone else right
    if last == "group" and right.subtask_type != "group":
        made = TYPES["chord"](steps.pop(), body=own, app=own._app)
        if steps and steps[-1].subtask_type == "chord":  # of two chords in sequence the first's body goes on
            steps[-1].body = composed(steps[-1].body, made)
        else:
            steps.append(made)
    elif last == "chord" and right.subtask_type != "chord":
        steps[-1].body = composed(steps[-1].body, right)
    else:
        steps.append(own)
    return steps


def _into_body(chord: Any, right: Any) -> Any:
    """Return a copy of a chord whose body goes on with ``right``; None where a chain has to be made of the two."""
    following = unrolled(right)
    if following is right and right.subtask_type in ("group", "chain"):
        return None
    copy = chord.clone()
    copy.body = composed(copy.body, following)
    return copy


def _chain(steps: list[Any], app: Any) -> Any:
    return TYPES["chain"](steps, app=app)

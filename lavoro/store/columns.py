"""Batches as the parameters of a statement: an array for each field of their messages, outcomes and places."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from typing import Any

from lavoro import serialization
from lavoro.protocol.message import Job, Message
from lavoro.protocol.place import Follow, Place
from lavoro.store.arrays import doubles, integers, optional_uuids, payloads, smallints, texts, uuids

Fields = tuple[tuple[str, Callable[[Any], Any]], ...]
"""Each field of a value: its parameter, and how a column of them is sent."""

_MESSAGES: Fields = (
    ("ids", uuids), ("names", texts), ("queues", texts), ("priorities", smallints), ("retries", integers),
    ("etas", list), ("countdowns", doubles), ("expires", list), ("expires_in", doubles), ("args", texts),
    ("kwargs", texts), ("options", texts), ("payloads", payloads),
)  # fmt: skip
_PLACES: Fields = (
    ("barriers", texts), ("held_for", optional_uuids), ("expects", integers), ("blockers", texts), ("policies", texts),
    ("ancestors", texts), ("keys", texts),
)  # fmt: skip
_CANVAS: Fields = (
    ("barriers", texts), ("indexes", integers), ("held_for", optional_uuids), ("expects", integers),
    ("policies", texts),
)  # fmt: skip
_NOWHERE = Place()


def of_messages(messages: Sequence[Message]) -> dict[str, Any]:
    """Return the columns of messages, without their places."""
    *values, _places = zip(*messages, strict=True)
    return _columns(_MESSAGES, values)


def of_places(messages: Sequence[Message]) -> dict[str, Any]:
    """Return the columns of the places of messages."""
    places = [message.place or _NOWHERE for message in messages]
    barriers, _, expects, _, policies, _, keys = zip(*places, strict=True)
    # A task with blockers needs no other name for its barrier than its own.
    pairs = zip(messages, places, strict=True)
    held_for = [place.held_for or (message.id if place.blockers else None) for message, place in pairs]
    blockers = [f"{{{','.join(map(str, place.blockers))}}}" if place.blockers else None for place in places]
    ancestors = [_ancestors(place) if any(place.ancestors) else None for place in places]
    return _columns(_PLACES, (barriers, held_for, expects, blockers, policies, ancestors, keys))


def of_canvas(messages: Sequence[Message]) -> dict[str, Any] | None:
    """Return the columns of a canvas that stands alone; None for one with blockers, keys, or barriers made before."""
    places = [message.place or _NOWHERE for message in messages]
    made = {str(place.held_for) for place in places if place.held_for}
    members = [_member(place, made) for place in places]
    if not all(members):
        return None
    _, held_for, expects, _, policies, _, _ = zip(*places, strict=True)
    barriers, indexes = zip(*members, strict=True)
    return of_messages(messages) | _columns(_CANVAS, (barriers, indexes, held_for, expects, policies))


def _member(place: Place, made: Container[str]) -> tuple[str | None, int | None] | None:
    """Return the barrier and the index of a task that is a member of one of these at most; None for another one."""
    if place.keys or place.blockers or (place.held_for is None) != (place.expects == 0):
        return None
    if place.barriers is None:
        return None, None
    found = _ONE_BARRIER(place.barriers)
    return (found[1], int(found[2])) if found and found[1] in made else None


_ONE_BARRIER = re.compile(r'\{"([0-9a-f-]{36})": ?(\d+)\}').fullmatch


def _ancestors(place: Place) -> str:
    pairs = zip(place.blockers, place.ancestors, strict=True)
    return serialization.dumps({str(blocker): list(map(str, steps)) for blocker, steps in pairs})


def of_placed(messages: Sequence[Message]) -> dict[str, Any]:
    """Return the columns of messages, of which there may be none, and of their places."""
    return of_messages(messages) | of_places(messages) if messages else _columns(_MESSAGES + _PLACES, [()] * 20)


def of_batch(worker_id: int, jobs: Sequence[Job], fields: Fields, values: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return the columns of outcomes, with what their fence needs."""
    ids, attempts = uuids([job.id for job in jobs]), integers([job.attempt for job in jobs])
    return _columns(fields, values) | {"ids": ids, "attempts": attempts, "worker_id": worker_id}


def of_follows(jobs: Sequence[Job], follows: Sequence[Follow | None]) -> dict[str, Any]:
    """Return the columns of the messages that follow outcomes."""
    pairs = [(job.id, follow) for job, follow in zip(jobs, follows, strict=True) if follow is not None]
    messages = [(parent, message) for parent, follow in pairs for message in follow.messages]
    never = [(parent, id, name) for parent, follow in pairs for id, name in follow.never]
    found: dict[str, Any] = {
        "heirs": optional_uuids([follow and follow.heir for follow in follows]),
        "replaced": [bool(follow and follow.replaced) for follow in follows],
        "parents": uuids([parent for parent, _ in messages]),
        "never_parents": uuids([parent for parent, _, _ in never]),
        "never_ids": uuids([id for _, id, _ in never]),
        "never_names": texts([name for _, _, name in never]),
    }
    columns = of_placed([message for _, message in messages])
    # The outcomes have columns of these names themselves.
    return found | {_OTHER_NAMES.get(name, name): column for name, column in columns.items()}


_OTHER_NAMES = {"ids": "message_ids", "payloads": "message_payloads"}


def _columns(fields: Fields, values: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return {name: column(found) for (name, column), found in zip(fields, values, strict=True)}

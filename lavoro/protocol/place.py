"""The place of a task among others: its barriers, its keys, and the messages that are stored with its outcome."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lavoro.protocol.message import Message


FOLLOWED = frozenset({"link", "link_error", "chain"})
"""The options of a task that others follow."""


class Place(NamedTuple):
    """The place of a message in a canvas, and its keys; a task without either has none."""

    barriers: str | None = None
    """JSON object: the id of each barrier that counts the end of this task, and the index of the task in it."""
    held_for: uuid.UUID | None = None
    """The barrier that this task waits for, in ``held``: a chord's body, or a task with blockers."""
    expects: int = 0
    """How many members that barrier has to count."""
    blockers: tuple[uuid.UUID, ...] = ()
    """Tasks that are marked as members of that barrier, with the index of their position here."""
    policy: str | None = None
    """A failed member fails this task at once (None), when all have ended (``wait``), or not at all (``run``)."""
    ancestors: tuple[tuple[uuid.UUID, ...], ...] = ()
    """For each blocker the steps of its chain before it, nearest first: it may not be stored yet."""
    keys: str | None = None
    """JSON object: the limits that count the task, and its unique key."""


class Follow(NamedTuple):
    """Messages and outcomes that are stored with the outcome of a task, if the fence accepts it."""

    messages: tuple[Message, ...] = ()
    """The tasks that follow: callbacks, the next step of a chain."""
    heir: uuid.UUID | None = None
    """The one of them that takes over the barriers of the finished task, which is then not counted."""
    replaced: bool = False
    """The task is not over: one of the messages has its id, and goes on instead of it."""
    never: tuple[tuple[uuid.UUID, str], ...] = ()
    """Ids and names of tasks that will not be sent: the rest of a failed chain. They are stored with its failure."""

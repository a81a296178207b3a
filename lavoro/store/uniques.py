"""Stores unique tasks: each call whose key is held gets the id of the task that holds it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping, Sequence

from lavoro import serialization
from lavoro.exceptions import NotUnique
from lavoro.protocol.message import Message
from lavoro.store import columns, tasks
from lavoro.store.tx import Tx

Holders = Mapping[uuid.UUID, uuid.UUID]
"""By the id of a call that was not stored, that of the task that holds its key."""


def insert_any(
    tx: Tx, messages: Sequence[Message], *, always_wake: bool = False, repeated: bool = False, assigned: bool = True
) -> Holders | None:
    """Store messages, of which some may be unique: return the holders of keys; None if none is unique.

    For the parameters see ``tasks.insert``.
    """
    if are_unique(messages):
        return _insert(tx, messages, always=always_wake, repeated=repeated)
    tasks.insert(tx, messages, always_wake=always_wake, repeated=repeated, assigned=assigned)
    return None


def are_unique(messages: Sequence[Message]) -> bool:
    """Whether one of the messages has a unique key."""
    return any(message.place is not None and '"unique":' in _keys_of(message) for message in messages)


def _insert(tx: Tx, messages: Sequence[Message], *, always: bool, repeated: bool) -> Holders:
    parameters = columns.of_placed(messages) | {"always": always, "repeated": repeated}
    with tx.connection.transaction() if len(messages) > 1 else contextlib.nullcontext():
        row = tx.row("insert_unique", parameters)
        holders = {uuid.UUID(id): uuid.UUID(holder) for id, holder in (row[0] if row else {}).items()}
        for message in messages if holders else ():
            if message.id in holders and '"error":true' in _keys_of(message):
                raise NotUnique(
                    f"{message.name} was not sent: the task {holders[message.id]} holds its unique key"
                    f" {serialization.loads(_keys_of(message))['unique']['key']!r}"
                )
    return holders


def _keys_of(message: Message) -> str:
    return (message.place and message.place.keys) or ""

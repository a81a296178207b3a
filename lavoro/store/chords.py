"""Stores a chord whose members differ only in their ids and arguments, in two thirds of the time of any canvas."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import pq

from lavoro.protocol.message import Message
from lavoro.protocol.place import Place
from lavoro.store.arrays import texts, uuids
from lavoro.store.tx import Tx

Values = list[bytes | None]


def parameters_of(messages: Sequence[Message]) -> Values | None:
    """Return the parameters of ``insert_chord`` but the last, in its order; None for messages of another form.

    They are a chord's if the last one is the body, and the others are its members, in the order of their indexes.
    """
    body, members = messages[-1], messages[:-1]
    if not members or not _is_held(body, len(members)):
        return None
    columns = dict(zip(Message._fields, zip(*members, strict=True), strict=True))
    if any(len(set(columns[name])) > 1 for name in _SHARED) or not _has_no_times(members[0]):
        return None
    assert body.place is not None
    barrier = body.place.held_for
    before, end, _ = (members[0].options or "").rpartition(_end(0))
    if not end or any(
        each.options != before + _end(index) or each.place != Place(f'{{"{barrier}":{index}}}')
        for index, each in enumerate(members)
    ):
        return None
    first = members[0]
    return [
        uuids(columns["id"]), texts(columns["args"]), texts(columns["kwargs"]),
        first.name.encode(), first.queue.encode(), b"%d" % first.priority, before.encode(),
        str(barrier).encode(), _encoded(body.place.policy),
        body.id.bytes, body.name.encode(), body.queue.encode(), b"%d" % body.priority,
        *map(_encoded, (body.args, body.kwargs, body.options)),
    ]  # fmt: skip


def insert(tx: Tx, parameters: Values, *, always: bool) -> None:
    """Store a chord; the connection is in autocommit. Raises psycopg's ``UniqueViolation`` for an id that is taken."""
    tx.run_prepared("insert_chord", [*parameters, b"t" if always else b"f"], _FORMATS)


def _is_held(body: Message, members: int) -> bool:
    """Whether a message is a body that waits for so many members, and has no rare option."""
    place = body.place
    return (
        place is not None
        and place.held_for is not None
        and place == Place(None, place.held_for, members, policy=place.policy)
        and _has_no_times(body)
    )


def _has_no_times(message: Message) -> bool:
    """Whether a message is due at once, never expires, is no retry, and has its arguments as JSON."""
    _, _, _, _, retries, eta, countdown, expires, expires_in, _, _, _, payload, _ = message
    times = eta is not None or expires is not None or expires_in is not None
    return not (times or retries or countdown or payload is not None)


def _end(index: int) -> str:
    """Return the end of the options of the member with that index, as a plain member of a group has them."""
    return f',"group_index":{index}}}'


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


_SHARED = ("name", "queue", "priority", "retries", "eta", "countdown", "expires", "expires_in", "payload")
"""The fields that the members share."""
_BINARY, _TEXT = pq.Format.BINARY, pq.Format.TEXT
_FORMATS = (
    _BINARY, _BINARY, _BINARY, _BINARY, _BINARY, _TEXT, _BINARY, _TEXT, _BINARY, _BINARY, _BINARY, _BINARY, _TEXT,
    _BINARY, _BINARY, _BINARY, _TEXT,
)  # fmt: skip
"""Of the parameters of insert_chord; texts are sent as binary, so that the server refuses a zero byte in one."""

"""Tasks in the stages and states that the inspector's tests need."""

from __future__ import annotations

import uuid
from typing import Any

from lavoro.protocol.ids import uuid7
from lavoro.protocol.outcome import Finished
from lavoro.protocol.place import Place
from lavoro.store import tasks
from lavoro.store.tx import Tx
from tests.store.walk import message, sent_and_taken

ERROR = '{"exc_type":"ValueError","exc_module":"builtins","exc_message":["no price","for 3"]}'


def failed(tx: Tx, error: str = ERROR, **changes: Any) -> uuid.UUID:
    """The id of a task that has just failed."""
    job = sent_and_taken(tx, **changes)
    tasks.finish(tx, 1, [Finished(job, "FAILURE", error, None, "Traceback", 0.5)])
    return job.id


def chord(tx: Tx, members: int = 1, **changes: Any) -> tuple[list[uuid.UUID], uuid.UUID]:
    """Members that wait, and the task that is held for them."""
    barrier, body = uuid7(), uuid7()
    options = f'{{"gathers":"{barrier}"}}'
    sent = [message(place=Place(barriers=f'{{"{barrier}": {index}}}'), **changes) for index in range(members)]
    held = message(id=body, name="test.body", options=options, place=Place(held_for=barrier, expects=members))
    tasks.insert(tx, [held, *sent])
    return [each.id for each in sent], body

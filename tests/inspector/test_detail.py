"""One task with all that is stored of it, and the queues as a whole."""

from __future__ import annotations

import pytest

from lavoro.exceptions import TaskNotFound
from lavoro.inspector import Count, Inspector
from lavoro.store.tx import Tx
from tests.inspector.walking import chord, failed
from tests.store.walk import send


def test_a_failed_task_that_was_replayed(tx: Tx, inspector: Inspector) -> None:
    send(tx)
    id = str(failed(tx, args=f'["{"x" * 3000}"]', queue="mail", options='{"parent_id":"p","root_id":"r"}'))
    found = inspector.show(id)
    assert (found.info.id, found.info.stage, found.info.error, found.traceback) == (
        id, "finished", "ValueError", "Traceback",
    )  # fmt: skip
    assert (len(found.info.args or ""), found.parent, found.root, found.attempts) == (3004, "p", "r", ())
    assert found.why == "ended as FAILURE: ValueError: no price, for 3"
    inspector.replay(id)
    found = inspector.show(id)
    [attempt] = found.attempts
    assert (found.info.stage, attempt.number, attempt.state, attempt.error, attempt.message, attempt.worker) == (
        "waiting", 1, "FAILURE", "ValueError", "no price, for 3", "node@test",
    )  # fmt: skip


def test_a_held_task(tx: Tx, inspector: Inspector) -> None:
    _, body = chord(tx)
    assert inspector.show(str(body)).why.startswith("waits for 1 of 1 task: ")


def test_an_unknown_task(tx: Tx, inspector: Inspector) -> None:
    send(tx)
    with pytest.raises(TaskNotFound, match="no task 'nothing' is stored"):
        inspector.show("nothing")


def test_queues_are_paused_resumed_and_purged(tx: Tx, inspector: Inspector) -> None:
    for queue in ("mail", "mail", "other"):
        send(tx, queue=queue)
    inspector.pause("mail", "other")
    assert [queue.paused for queue in inspector.queues()] == [False, True, True]
    inspector.resume("other")
    assert [queue.paused for queue in inspector.queues()] == [False, True, False]
    assert inspector.purge("mail") == 2
    assert inspector.counts("queue") == {"other": Count(1)}

"""Revoking: wherever the task is, and before it exists."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

from lavoro import serialization
from lavoro.exceptions import TaskRevokedError
from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.store import tasks, workers
from lavoro.store.tx import Tx
from tests.store.walk import message, rows, send, sent_and_taken, stage_of, stored, succeeded, take, value

Wait = Callable[..., None]
CANCEL = json.dumps({"terminate": True, "signal": "SIGTERM"})


def test_a_waiting_task_ends_at_once(tx: Tx) -> None:
    id, other = send(tx, priority=2, kwargs='{"x":1}'), send(tx)
    assert tasks.revoke(tx, [id], cancel=CANCEL) == 1
    found = stored(tx, id)
    assert (found.stage, found.state, found.kwargs) == ("finished", "REVOKED", '{"x":1}')
    error = serialization.loads_exception(serialization.loads(found.result or ""))
    assert type(error) is TaskRevokedError
    assert error.args == ("revoked",)
    assert rows(tx, "select id from lavoro.waiting") == [(other,)]
    assert rows(tx, "select 1 from lavoro.revoked") == []


def test_a_running_task_is_asked_to_end_and_may_not_start_again(tx: Tx) -> None:
    job = sent_and_taken(tx)
    assert tasks.revoke(tx, [job.id], cancel=CANCEL) == 1
    assert workers.renew(tx, [1, 2]).cancels == [(job.id, 1, 1, CANCEL)]
    assert workers.renew(tx, [2]).cancels == []
    assert stage_of(tx, job.id) == "running"
    tasks.requeue(tx, 1, [outcome.retrying(job, countdown=0.0)])
    assert [again.revoked for again in take(tx)] == [True]


def test_a_finished_task_is_left_alone(tx: Tx) -> None:
    job = sent_and_taken(tx)
    tasks.finish(tx, 1, [succeeded(job)])
    assert tasks.revoke(tx, [job.id], cancel=CANCEL) == 0
    assert stored(tx, job.id).state == "SUCCESS"
    assert rows(tx, "select 1 from lavoro.revoked") == []


def test_an_unknown_id_is_remembered_once(tx: Tx) -> None:
    id = uuid7()
    assert tasks.revoke(tx, [id, id], cancel=CANCEL) == 0
    assert tasks.revoke(tx, [id], cancel=CANCEL) == 0
    assert rows(tx, "select id from lavoro.revoked") == [(id,)]
    tasks.insert(tx, [message(id=id)])
    assert [job.revoked for job in take(tx)] == [True]


def test_many_in_all_stages(tx: Tx) -> None:
    running, done = sent_and_taken(tx), sent_and_taken(tx)
    tasks.finish(tx, 1, [succeeded(done)])
    waiting, unknown = send(tx), uuid7()
    assert tasks.revoke(tx, [waiting, running.id, done.id, unknown], cancel=CANCEL) == 2
    assert [stage_of(tx, id) for id in (waiting, running.id, done.id, unknown)] == [
        "finished",
        "running",
        "finished",
        None,
    ]


def test_waiting_callers_and_the_worker_are_told(tx: Tx, opened: Callable[[], Tx]) -> None:
    job = sent_and_taken(tx)
    waiting = send(tx)
    ears = opened().connection
    ears.execute("listen lavoro_done")
    ears.execute("listen lavoro_wake")
    tasks.revoke(tx, [waiting, job.id], cancel=CANCEL)
    heard = {(n.channel, n.payload) for n in ears.notifies(timeout=30, stop_after=2)}
    assert heard == {("lavoro_done", str(waiting)), ("lavoro_wake", f"cancel:1:{job.id}")}


def test_a_task_that_is_being_claimed_is_reached(tx: Tx, opened: Callable[[], Tx], until_it_waits: Wait) -> None:
    """When the claim lets it see, the task has left the table it was looked for in."""
    id, other, found = send(tx), opened(), []
    thread = threading.Thread(target=lambda: found.append(tasks.revoke(other, [id], cancel=CANCEL)))
    with tx.connection.transaction():
        take(tx)
        thread.start()
        until_it_waits("lavoro-test")
    thread.join(60)
    assert found == [1]
    assert value(tx, "select cancel from lavoro.running") == CANCEL


def test_a_revoke_is_part_of_its_transaction(tx: Tx) -> None:
    id = send(tx)
    with tx.connection.transaction(force_rollback=True):
        assert tasks.revoke(tx, [id], cancel=CANCEL) == 1
    assert stage_of(tx, id) == "waiting"

"""Mutants of calls: a lost answer taken for a failure, and a transaction that is not joined, are caught."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.protocol.message import Message
from lavoro.store import database, tasks
from lavoro.store.enqueuer import Enqueuer
from tests.faults.plugin.rig_changes import Points
from tests.faults.producer import Producer
from tests.faults.stage import Stage

Play = Callable[[Stage], None]


def repeated(stage: Stage) -> None:
    """The answer to a call is lost after it was stored; the call is made again."""
    producer = Producer(stage.url, stage.ledger, seed=1, task_publish_retry_policy={"interval_start": 0.01})
    for number in range(8):  # each kind of id has a statement of its own
        producer.send("echo", number)
    producer.close()


def rolled_back(stage: Stage) -> None:
    """A caller's transaction ends in a rollback, in whole or in part."""
    producer = Producer(stage.url, stage.ledger, seed=1, kinds=("rolled back", "savepoint"))
    for _ in range(6):
        producer.operate()
    producer.close()


def run_meanwhile(stage: Stage) -> None:
    """While the call is made again the first one is stored after all, and its task is run to the end."""
    stage.let_inserts_lock()
    holder, second, id = stage.another(), stage.another(), uuid.uuid4()
    sent = Message(id, "echo", "celery", 0, 0, None, 0.0, None, None, "[1]", None, None, None)
    with ThreadPoolExecutor() as threads:
        with holder.connection.transaction():
            holder.connection.execute("select pg_advisory_xact_lock(1)")
            again = threads.submit(tasks.insert, second, [sent], repeated=True)
            stage.until_somebody_waits()
            stage.send(id=id)
            stage.run_to_the_end()
        again.result(60)
    holder.connection.close()
    second.connection.close()


def never_looks_later(change: Callable[[Any, str, Any], None]) -> None:
    """Look for what the first call stored in the snapshot that was taken before it was waited for."""
    change(tasks, "_await_first", lambda *_, **__: None)


def new_ids(change: Callable[[Any, str, Any], None]) -> None:
    """Send what was perhaps stored as another task."""
    original = Enqueuer.insert_again

    def again(self: Any, messages: Any, error: Any, pauses: Any) -> None:
        original(self, [message._replace(id=uuid.uuid4()) for message in messages], error, pauses)

    change(Enqueuer, "insert_again", again)


def own_transaction(change: Callable[[Any, str, Any], None]) -> None:
    """Store a task beside the caller's transaction."""
    original = Lavoro.publish

    def publish(self: Any, messages: Any, *, connection: Any = None, **options: Any) -> None:
        original(self, messages, **options)

    change(Lavoro, "publish", publish)


def nothing(change: Callable[[Any, str, Any], None]) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("play", "mutant", "caught"),
    [
        (repeated, nothing, set()), (repeated, new_ids, {"I2"}),
        (run_meanwhile, nothing, set()), (run_meanwhile, never_looks_later, {"I3", "I7"}),
        (rolled_back, nothing, set()), (rolled_back, own_transaction, {"I2"}),
    ],
)  # fmt: skip
def test_mutant_is_caught(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, play: Play, mutant: Callable[..., None], caught: set[str]
) -> None:
    monkeypatch.setattr(database, "Tx", database.Tx)
    lost = [{"statement": name, "kind": "after", "times": 1} for name in ("insert_task", "insert_tasks")]
    Points(lost if play is repeated else [], "1").install(database)
    mutant(monkeypatch.setattr)
    play(stage)
    assert all(point["times"] == 0 for point in lost) == (play is repeated)
    stage.run_to_the_end()
    assert {violation.invariant for violation in stage.violations()} == caught

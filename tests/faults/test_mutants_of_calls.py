"""Mutants of calls: a lost answer taken for a failure, and a transaction that is not joined, are caught."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from lavoro import publisher
from lavoro.store import database
from tests.faults.plugin.rig_changes import Points
from tests.faults.producer import Producer
from tests.faults.stage import Stage

Play = Callable[[Stage], None]


def repeated(stage: Stage) -> None:
    """The answer to a call is lost after it was stored; the call is made again."""
    producer = Producer(stage.url, stage.ledger, seed=1, task_publish_retry_policy={"interval_start": 0.01})
    producer.send("echo", 1)
    producer.close()


def rolled_back(stage: Stage) -> None:
    """A caller's transaction ends in a rollback, in whole or in part."""
    producer = Producer(stage.url, stage.ledger, seed=1, kinds=("rolled back", "savepoint"))
    for _ in range(6):
        producer.operate()
    producer.close()


def new_ids(change: Callable[[Any, str, Any], None]) -> None:
    """Send what was perhaps stored as another task."""
    original = publisher.Publisher._send_again

    def again(self: Any, outbox: Any, messages: Any, error: Any, pauses: Any) -> None:
        original(self, outbox, [message._replace(id=uuid.uuid4()) for message in messages], error, pauses)

    change(publisher.Publisher, "_send_again", again)


def own_transaction(change: Callable[[Any, str, Any], None]) -> None:
    """Store a task beside the caller's transaction."""
    change(publisher.Publisher, "_joined", lambda self, options: None)


def nothing(change: Callable[[Any, str, Any], None]) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("play", "mutant", "caught"),
    [
        (repeated, nothing, set()), (repeated, new_ids, {"I2"}),
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
    stage.run_to_the_end()
    assert {violation.invariant for violation in stage.violations()} == caught

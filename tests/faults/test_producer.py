"""The producer says that a task is stored only when its transaction has been committed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.producer import Producer
from tests.faults.stage import Stage


def test_a_connection_that_is_lost_inside_of_a_savepoint(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """psycopg ends such a transaction without an error: what was sent in it is gone, and nobody is told."""
    producer = Producer(stage.url, stage.ledger, seed=1, kinds=("savepoint",))
    send = producer.app.send_task

    def send_and_lose(name: str, args: list[Any], *, connection: Any, **options: Any) -> None:
        send(name, args, connection=connection, **options)
        if args == ["dropped"]:
            stage.connection.execute("select pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))

    monkeypatch.setattr(producer.app, "send_task", send_and_lose)
    producer.operate()
    producer.close()
    stage.run_to_the_end()
    known = stage.history()
    assert sorted(entry["outcome"] for entry in known.of_kind("outcome")) == ["rolled back", "unknown"]
    assert producer.sent == []
    assert stage.violations() == []

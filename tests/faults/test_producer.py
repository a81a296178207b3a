"""The producer says that a task is stored only when its transaction has been committed; a canvas is stored whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.faults.producer import Producer
from tests.faults.stage import Stage
from tests.faults.trial import PLUGIN, ROOT

PATIENCE = 60.0
CANVAS = """
import sys
from lavoro import Lavoro, chord
app = Lavoro(broker=sys.argv[1])
echo = app.signature("echo", immutable=True)
if sys.argv[2] == "uniform":
    echo = app.task(name="echo")(lambda: None).si()
blockers = [app.send_task("before").id] if sys.argv[2] == "blocked" else None
chord([echo.clone() for _ in range(3)], app.signature("body"), app=app).apply_async(blockers=blockers)
"""
STORED = """
select
    (select count(*) from lavoro.waiting where name = 'echo') + (select count(*) from lavoro.held where name = 'echo'),
    (select count(*) from lavoro.held where name = 'body'),
    (select count(*) from lavoro.barrier b where exists (select from lavoro.held h where h.id = b.task_id))"""
KINDS = {"alone": ("insert_canvas", (3, 1, 1)), "uniform": ("insert_chord", (3, 1, 1)),
         "blocked": ("insert_placed", (3, 1, 4))}  # fmt: skip
"""The statement that stores a canvas, and what is stored of it: members, body, barriers."""


def sending(stage: Stage, kind: str, *points: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A process that sends a canvas, and perhaps dies of it."""
    rig = {"LAVORO_RIG": json.dumps({"points": points}), "PYTHONPATH": f"{ROOT}{os.pathsep}{PLUGIN}"}
    return subprocess.Popen([sys.executable, "-c", CANVAS, stage.url, kind], env={**os.environ, **rig})


def stored(stage: Stage) -> tuple[int, ...]:
    found = stage.connection.execute(STORED.encode()).fetchone()
    assert found is not None
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ["die", "die after"])
def test_a_producer_that_is_killed_at_a_canvas_leaves_all_of_it_or_nothing(
    stage: Stage, kind: str, moment: str
) -> None:
    statement, whole = KINDS[kind]
    process = sending(stage, kind, {"statement": statement, "kind": moment, "times": 1})
    assert process.wait(PATIENCE) == -9
    assert stored(stage) == (whole if moment == "die after" else (0, 0, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_producer_that_is_killed_while_a_canvas_is_stored(stage: Stage, kind: str) -> None:
    """The server goes on, and finds out that nobody waits for its answer once all is stored."""
    _, whole = KINDS[kind]
    with stage.connection.transaction():
        stage.connection.execute("lock table lavoro.held in share mode")  # the barrier is made by then
        process = sending(stage, kind)
        stage.until_somebody_waits()
        process.kill()
        assert process.wait(PATIENCE) == -9
        assert stored(stage) == (0, 0, 0)
    stage.until_nobody_runs("lavoro")
    assert stored(stage) == whole


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

"""The lists of task columns: each statement names those of its table, and a task keeps its values as it moves."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.store import tasks, workers
from lavoro.store.results import StoredTask
from lavoro.store.schema.migrate import functions
from lavoro.store.schema.tables import tables_of
from lavoro.store.statements import TEXTS
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from tests.store.walk import lane, registered, rows, succeeded, take

NAMES = ("waiting", "running", "finished", "attempt", "held")
TABLES = {name: tables_of().metadata.tables[f"lavoro.{name}"] for name in NAMES}
NEW = {"attempt", "crashes", "created_at", "reason", "barriers", "keys"}
"""What `waiting` gives a task that is sent."""
NEVER_RAN = {
    "finished_at", "runtime", "result_payload", "children", "traceback", "worker_id", "started_at",
}  # fmt: skip
STEP = {
    "runtime", "result_payload", "children", "traceback", "started_at", "args", "kwargs", "options", "payload", "keys",
}  # fmt: skip
"""What is unknown of a step that was not sent."""
LEFT_OUT: dict[tuple[str, str], set[str]] = {
    ("insert_tasks", "waiting"): NEW,
    ("insert_calls", "waiting"): NEW | {"payload"},
    ("insert_task_quietly", "waiting"): NEW | {"payload", "retries", "due_at", "expires_at"},
    ("assign_task", "waiting"): NEW | {"payload", "retries", "due_at", "expires_at"},
    ("assign_task", "running"): {
        "started_at", "state", "progress", "cancel", "payload", "expires_at", "barriers", "keys",
    },
    ("assign", "running"): {"started_at", "state", "progress", "cancel", "payload", "expires_at", "keys"},
    ("admit", "waiting"): set(),
    ("store_messages", "held"): {"created_at", "crashes", "reason", "limited_by"},
    ("store_canvas", "held"): {"created_at", "attempt", "crashes", "reason", "keys", "limited_by"},
    ("store_canvas", "waiting"): NEW - {"barriers"},
    ("store_chord", "held"): {
        "created_at", "attempt", "retries", "crashes", "reason", "expires_at", "payload", "barriers", "countdown",
        "expires_in", "keys", "limited_by",
    },
    ("store_chord", "waiting"): NEW - {"barriers"} | {"payload", "retries", "due_at", "expires_at"},
    ("enqueue", "waiting"): NEW | {"payload", "retries", "expires_at", "options"},
    ("claim_tasks", "running"): {"started_at", "state", "progress", "cancel"},
    ("claim_tasks", "held"): {"barrier", "countdown", "expires_in"},
    ("free_held", "waiting"): set(),
    ("finish_task", "finished"): {"finished_at"},
    ("finish_tasks", "finished"): {"finished_at"},
    ("finish_link", "finished"): {"finished_at"},
    ("finish_link", "running"): {"started_at", "state", "progress", "cancel", "payload", "expires_at", "keys"},
    ("finish_and_follow", "finished"): {"finished_at"},
    ("finish_and_follow", "attempt"): {"ended_at", "reason", "error", "traceback"},
    ("finish_and_follow, steps", "finished"): STEP | {"finished_at"},
    ("fail_held", "finished"): NEVER_RAN,
    ("end_held", "finished"): NEVER_RAN - {"result_payload"},
    ("end_task", "finished"): {"finished_at", "runtime", "children", "traceback"},
    ("end_steps", "finished"): STEP | NEVER_RAN,
    ("requeue_tasks", "waiting"): set(),
    ("requeue_tasks", "attempt"): {"ended_at", "heir"},
    ("replay_tasks", "attempt"): {"heir"},
    ("reopen", "attempt"): {"heir", "worker_id", "started_at", "traceback"},
    ("reopen", "held"): {"limited_by", "expires_at", "countdown", "expires_in", "barriers"},
    ("rescue_tasks", "waiting"): set(),
    ("rescue_tasks", "attempt"): {"ended_at", "error", "traceback", "heir"},
    ("rescue_tasks", "finished"): {"finished_at", "runtime", "result_payload", "children", "traceback"},
    ("revoke_tasks", "finished"): NEVER_RAN,
}  # fmt: skip
"""By statement and table, the columns that it leaves to their defaults. A new column is added to a list, or here."""


def lists() -> list[tuple[str, str, list[str]]]:
    """Each list of columns of a task's table that is inserted into: statement, table, columns."""
    insert = re.compile(r"(never as \(\s*)?insert into \{schema\}\.(\w+) \(([^)]*)\)")
    return [
        (f"{name}, steps" if never else name, table, re.findall(r"\w+", columns))
        for name, text in {**TEXTS, **functions()}.items()
        for never, table, columns in insert.findall(text)
        if table in TABLES
    ]


@pytest.mark.parametrize(("name", "table", "columns"), lists())
def test_a_statement_names_every_column_of_the_table(name: str, table: str, columns: list[str]) -> None:
    assert len(columns) == len(set(columns))
    assert set(TABLES[table].columns.keys()) - set(columns) == LEFT_OUT[name, table]


def test_what_is_left_out_is_left_out_by_a_statement() -> None:
    assert set(LEFT_OUT) == {(name, table) for name, table, _ in lists()}


# What they return


@pytest.mark.parametrize(
    ("name", "parameters", "kind"),
    [
        ("claim_tasks", {"queues": [], "priorities": [], "bounds": [], "limit": 1, "worker_id": 1}, Job),
        ("adopt_tasks", {"worker_id": 1, "known": []}, Job),
        ("fetch_task", {"id": None}, StoredTask),
    ],
)
def test_columns_are_returned_as_the_value_names_them(
    tx: Tx, name: str, parameters: dict[str, Any], kind: type[Any]
) -> None:
    returned = tx.execute(name, parameters).description or []
    assert [column.name.removesuffix("_at") for column in returned] == list(kind._fields)


# What they keep


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
MOVES: dict[str, tuple[str, Callable[[Tx, int, Job], object], set[str]]] = {
    "finish": ("finished", lambda tx, worker, job: tasks.finish(tx, worker, [succeeded(job)]), set()),
    "requeue": ("waiting", lambda tx, worker, job: tasks.requeue(tx, worker, [outcome.retrying(job)]), {"retries"}),
    "rescue": (
        "waiting",
        lambda tx, worker, _: workers.rescue(tx, Rescue(worker, Ending.stopped("told")), max_crashes=3),
        {"attempt"},
    ),
    "rescue to finished": (
        "finished",
        lambda tx, worker, _: workers.rescue(tx, Rescue(worker, Ending.expired("gone")), max_crashes=1),
        {"crashes"},
    ),
}
"""A move from `running`: where to, how, and the columns that it changes."""


def value_for(column: sa.Column[Any]) -> str:
    """SQL for a value that no other column of the row has."""
    number = list(column.table.columns).index(column) + 1
    kind = str(column.type.compile(dialect=_DIALECT)).removeprefix("lavoro.").lower()
    if kind in ("smallint", "integer", "counter", "small_counter"):
        return str(number)
    if kind == "uuid":
        return "gen_random_uuid()"
    if kind == "jsonb":
        return f"jsonb_build_object(gen_random_uuid(), {number})"
    if kind in ("json", "bytea"):
        return f"""'{{"acks_late": {number}}}'"""
    return f"now() - interval '{number} days'" if column.name.endswith("_at") else f"'celery{number}'"


def row_of(tx: Tx, table: str) -> dict[str, Any]:
    """The only row of a table."""
    [row] = rows(tx, f"select * from lavoro.{table}")
    return dict(zip(TABLES[table].columns.keys(), map(repr, row), strict=True))


@pytest.fixture
def waiting(tx: Tx) -> dict[str, Any]:
    """A waiting task with another value in each column."""
    columns = list(TABLES["waiting"].columns)
    values = ", ".join("'celery'" if column.name == "queue" else value_for(column) for column in columns)
    tx.connection.execute(f"insert into lavoro.waiting values ({values})".encode())
    return row_of(tx, "waiting")


def same(one: dict[str, Any], other: dict[str, Any], changed: set[str]) -> None:
    shared = (one.keys() & other.keys()) - changed
    assert {name: one[name] for name in shared} == {name: other[name] for name in shared}
    assert len(shared) >= 12


def claimed(tx: Tx, worker: int, priority: str) -> Job:
    [job] = take(tx, lane("celery", int(priority)), worker_id=worker)
    return job


def test_a_claim_keeps_values(tx: Tx, waiting: dict[str, Any]) -> None:
    claimed(tx, registered(tx), waiting["priority"])
    same(waiting, row_of(tx, "running"), {"attempt"})


@pytest.mark.parametrize("move", MOVES)
def test_a_move_keeps_values(tx: Tx, waiting: dict[str, Any], move: str) -> None:
    target, act, changed = MOVES[move]
    worker = registered(tx)
    job = claimed(tx, worker, waiting["priority"])
    tx.connection.execute("update lavoro.running set expires_at = expires_at + interval '100 days'")
    running = row_of(tx, "running")
    act(tx, worker, job)
    same(running, row_of(tx, target), changed | {"state"})


def test_a_revoke_keeps_values(tx: Tx, waiting: dict[str, Any]) -> None:
    id = rows(tx, "select id from lavoro.waiting")[0][0]
    assert tasks.revoke(tx, [id], cancel="{}") == 1
    same(waiting, row_of(tx, "finished"), set())

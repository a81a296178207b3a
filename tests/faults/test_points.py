"""Every file of store/sql has its fault points: no statement's text is had but through what the rig replaces."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import pq

import lavoro
from lavoro.protocol.ids import uuid7
from lavoro.store.arrays import uuids
from lavoro.store.statements import FOLDER
from lavoro.store.tx import Tx
from tests.faults.plugin.rig_changes import Points
from tests.faults.stage import Stage

PACKAGE = Path(lavoro.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.sql"))
DOORS: dict[str, set[str]] = {
    "statement": set(),
    "numbered": {"Tx.execute", "Prepared.__init__", "Tx.send"},
    "Prepared": {"Tx.run_prepared"},
}
"""Who may read a statement: by which function, in which methods. The rig replaces those of ``Tx``."""


def calls(tree: ast.AST, place: str = "") -> Iterator[tuple[str, str]]:
    """The functions that are called by their names, and where: ``Class.method``."""
    for node in ast.iter_child_nodes(tree):
        inside = place
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            inside = f"{place}.{node.name}".lstrip(".")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, inside
        yield from calls(node, inside)


def test_no_statement_is_run_but_through_what_the_rig_replaces() -> None:
    found: dict[str, set[str]] = {name: set() for name in DOORS}
    for path in PACKAGE.rglob("*.py"):
        if path.stem != "statements":
            for name, place in calls(ast.parse(path.read_text())):
                if name in found:
                    found[name].add(place)
    assert found == DOORS


def faulty(stage: Stage, *points: dict[str, Any]) -> Tx:
    """A connection of the rig with these fault points."""
    module = SimpleNamespace(Tx=Tx, psycopg=psycopg, pg=pg)
    Points(list(points), "1").install(module)
    tx: Tx = module.Tx(psycopg.connect(stage.url, autocommit=True), "lavoro")
    return tx


@pytest.mark.parametrize("name", NAMES)
def test_each_statement_fails_before_it_is_run(stage: Stage, name: str) -> None:
    ways = {Tx.execute: [], Tx.run: [], Tx.row: [], Tx.run_prepared: [[], []], Tx.send: [{}]}
    for run, arguments in ways.items():
        tx = faulty(stage, {"statement": name, "kind": "before", "times": 1})
        with pytest.raises(psycopg.OperationalError, match="before the statement"):
            getattr(tx, run.__name__)(name, *arguments)


def test_an_answer_is_lost_when_the_statement_was_run(stage: Stage) -> None:
    sent = [uuid7(), uuid7()]
    tx = faulty(stage, {"statement": "insert_task_quietly", "kind": "after", "times": 1})
    values = [sent[0].bytes, b"celery", b"0", b"echo", b"[1]", None, None]
    with pytest.raises(psycopg.OperationalError, match="after the statement"):
        tx.run_prepared("insert_task_quietly", values, [pq.Format.BINARY, *[pq.Format.TEXT] * 6])
    tx = faulty(stage, {"statement": "insert_calls", "kind": "after", "times": 1})
    call = {"ids": uuids(sent[1:]), "args": ["[1]"], "kwargs": [None], "always": False, "priority": 0, "retries": 0}
    unset = dict.fromkeys(("eta", "expires", "expires_in", "options"))
    with pytest.raises(psycopg.OperationalError, match="after the statement"):
        tx.execute("insert_calls", {**unset, **call, "queue": "celery", "name": "echo", "countdown": 0.0})
    found = stage.connection.execute("select id from lavoro.waiting order by id").fetchall()
    assert found == [(id,) for id in sent]

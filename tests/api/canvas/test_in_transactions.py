"""Canvases in the caller's transaction: all tasks and barriers exist when it commits, and never did otherwise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest

from lavoro import Lavoro, chain, chord, group
from lavoro.exceptions import LavoroError

SHAPES: dict[str, tuple[Callable[[Any], Any], tuple[int, int, int]]] = {
    "chain": (lambda task: chain(task.si(), task.si(), task.si()), (1, 0, 0)),
    "group": (lambda task: group(task.si(), task.si()), (2, 0, 0)),
    "chord": (lambda task: chord([task.si(), task.si()], task.si()), (2, 1, 1)),
    "chain with a group": (lambda task: chain(task.si(), group(task.si(), task.si()), task.si()), (1, 0, 0)),
    "chord in a chord": (lambda task: chord([chord([task.si()], task.si()), task.si()], task.si()), (2, 2, 2)),
    "chunks": (lambda task: task.chunks([(), (), ()], 1), (3, 0, 0)),
    "map": (lambda task: task.map([1]), (1, 0, 0)),
}
"""Each with the rows that it makes in ``waiting``, ``held`` and ``barrier``."""


@pytest.fixture
def task(app: Lavoro) -> Any:
    return app.task(name="nothing")(lambda *args: None)


def count(url: str) -> tuple[int, ...]:
    tables = ("waiting", "held", "barrier")
    with psycopg.connect(url) as connection:
        rows = (connection.execute(f"select count(*) from lavoro.{table}".encode()).fetchone() for table in tables)
        return tuple(row[0] for row in rows if row is not None)


@pytest.mark.parametrize("by", ["connection", "block"])
@pytest.mark.parametrize("shape", SHAPES)
def test_canvases(app: Lavoro, task: Any, migrated_url: str, shape: str, by: str) -> None:
    make, made = SHAPES[shape]
    with psycopg.connect(migrated_url) as connection:

        def send() -> None:
            with app.transaction(connection) if by == "block" else nullcontext():
                make(task).apply_async(**({} if by == "block" else {"connection": connection}))

        send()
        assert count(migrated_url) == (0, 0, 0)
        connection.rollback()
        assert count(migrated_url) == (0, 0, 0)
        send()
        connection.commit()
        assert count(migrated_url) == made


def test_a_canvas_that_is_refused_leaves_the_transaction_usable(app: Lavoro, task: Any, migrated_url: str) -> None:
    with psycopg.connect(migrated_url) as connection, app.transaction(connection):
        with pytest.raises((TypeError, LavoroError)):
            chord([task.si(), task.si(object())], task.si()).apply_async()
        chord([task.si()], task.si()).apply_async()
        connection.commit()
    assert count(migrated_url) == (1, 1, 1)

"""Canvases in a transaction of the caller's: all of it exists when that commits, and nothing did when it is undone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from lavoro import chain, chord, group, signals, uuid
from tests.api import tasks
from tests.api.tasks import add, echo, identity

pytestmark = pytest.mark.usefixtures("worker")

Canvas = Callable[[], Any]
CANVASES: dict[str, tuple[Canvas, Any]] = {
    "chain": (lambda: chain(add.s(1, 1), add.s(10), echo.s(5)), [[12, 5], {}]),
    "group": (lambda: group(add.s(1, 1), add.s(2, 2).set(priority=1)), [2, 4]),
    "chord": (lambda: chord([add.s(1, 1), add.s(2, 2)], identity.s()), [2, 4]),
    "a chord of all": (
        lambda: (
            chord([chain(add.s(1, 1), group(add.s(1), add.s(2))), chord([add.s(1, 1)], identity.s())], echo.s())
            | identity.s()
        ),
        [[[[3, 4], [2]]], {}],
    ),
    "a chord without a header": (lambda: chord([], identity.s()), []),
    "chunks": (lambda: add.chunks([(1, 1), (2, 2), (3, 3)], 2), [[2, 4], [6]]),
}
COUNTED = "select (select count(*) from lavoro.tasks) + (select count(*) from lavoro.barrier)"


@contextlib.contextmanager
def session() -> Iterator[Any]:
    engine = sa.create_engine(tasks.app.database_url)
    with Session(engine) as made:
        yield made
    engine.dispose()


@contextlib.contextmanager
def connection() -> Iterator[Any]:
    engine = sa.create_engine(tasks.app.database_url)
    with engine.connect() as made:
        yield made
    engine.dispose()


@contextlib.contextmanager
def driver() -> Iterator[Any]:
    with psycopg.connect(tasks.app.database_url.replace("+psycopg", "")) as made:
        yield made


def in_block(canvas: Any, joined: Any) -> Any:
    with tasks.app.transaction(joined):
        return canvas.apply_async()


def by_option(canvas: Any, joined: Any) -> Any:
    return canvas.apply_async(connection=joined)


every_opener = pytest.mark.parametrize("opener", [session, connection, driver])
every_way = pytest.mark.parametrize("way", [in_block, by_option])
every_canvas = pytest.mark.parametrize("name", CANVASES)


def stored() -> int:
    with driver() as looking:
        [[count]] = looking.execute(COUNTED).fetchall()
    return int(count)


@every_canvas
@every_way
@every_opener
def test_it_runs_when_the_transaction_commits(opener: Any, way: Any, name: str) -> None:
    make, value = CANVASES[name]
    with opener() as joined:
        result = way(make(), joined)
        members = result.results if hasattr(result, "results") else [result]
        assert [member.stage for member in members] == [None] * len(members)  # nobody else sees it yet
        joined.commit()
    assert result.get(timeout=30) == value


@every_canvas
@every_way
@every_opener
def test_nothing_is_left_when_the_transaction_is_undone(opener: Any, way: Any, name: str) -> None:
    before = stored()
    with opener() as joined:
        way(CANVASES[name][0](), joined)
        joined.rollback()
    assert stored() == before


@every_way
def test_a_savepoint_that_is_undone_takes_its_canvases_alone(way: Any) -> None:
    with session() as joined:
        kept = way(chord([add.s(1, 1)], identity.s()), joined)
        with contextlib.suppress(LookupError), joined.begin_nested():
            dropped = way(chord([add.s(1, 1)], identity.s()), joined)
            raise LookupError
        joined.commit()
    assert kept.get(timeout=30) == [2]
    assert (dropped.stage, dropped.parent[0].stage) == (None, None)


@every_way
def test_a_canvas_that_is_refused_leaves_the_transaction_whole(way: Any) -> None:
    """It is composed as a whole before anything of it is sent."""
    with session() as joined:
        joined.execute(sa.text("create temporary table written (number integer)"))
        with pytest.raises(TypeError, match="not JSON serializable"):
            way(chord([add.s(1, 1), echo.s(object())], identity.s()), joined)
        joined.execute(sa.text("insert into written values (1)"))
        result = way(chord([add.s(1, 1)], identity.s()), joined)
        joined.commit()
    assert result.get(timeout=30) == [2]


def test_a_canvas_waits_for_one_of_the_same_transaction() -> None:
    with session() as joined:
        with tasks.app.transaction(joined):
            first = (identity.s([1]) | group(identity.s(), echo.s(2))).apply_async()
            second = chord([add.s(1, 1), add.s(2, 2)], identity.s()).apply_async(blockers=[first])
        third = echo.apply_async(("late",), blockers=[second, first.parent], connection=joined)
        joined.commit()
    assert third.get(timeout=30) == [["late"], {}]
    assert first.ready()
    assert second.get(timeout=30) == [2, 4]


def test_a_member_that_names_its_header_joins_it_in_the_same_transaction() -> None:
    with session() as joined, tasks.app.transaction(joined):
        body = chord([add.s(1, 1)], identity.s()).apply_async()
        add.apply_async((3, 3), chord=dict(identity.s()), group_id=body.parent.id)
        joined.commit()
    assert body.get(timeout=30) == [2, 6]


@every_way
def test_receivers_of_signals_hear_of_no_task_before_its_commit(way: Any) -> None:
    told: list[str] = []

    def note(headers: dict[str, Any], **_: Any) -> None:
        told.append(headers["id"])

    signals.after_task_publish.connect(note, weak=False)
    try:
        with session() as joined:
            result = way(chord([add.s(1, 1).set(task_id=(id := uuid()))], identity.s()), joined)
            joined.commit()
    finally:
        signals.after_task_publish.disconnect(note)
    assert result.get(timeout=30) == [2]
    assert id not in told

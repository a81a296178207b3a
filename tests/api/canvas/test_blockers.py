"""Every result that a call of a canvas returns can be waited for, on every way of sending, or is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lavoro import chain, chord, group, uuid
from lavoro.exceptions import ChordError, InvalidCanvas
from lavoro.protocol.ids import uuid7
from lavoro.result import AsyncResult, GroupResult, result_from_tuple
from lavoro.serialization import dumps, loads
from tests.api import tasks
from tests.api.tasks import boom, echo, identity
from tests.conftest import Eventually

pytestmark = pytest.mark.usefixtures("worker")

Canvas = Callable[[Any], Any]
"""Sends a canvas that begins with this signature; returns what can be waited for."""


def begin() -> Any:
    """A signature of a task that ends when it is told to."""
    return identity.s([1]).set(countdown=3600, task_id=uuid())


def go_on(first: Any) -> None:
    assert tasks.app.complete(first.id, [1])


def saved(result: GroupResult) -> GroupResult:
    result.save()
    restored = GroupResult.restore(result.id or "", app=tasks.app)
    assert isinstance(restored, GroupResult)
    return restored


def travelled(result: Any) -> Any:
    return result_from_tuple(loads(dumps(result.as_tuple())), tasks.app)


def behind(first: Any) -> Any:
    return (first | group(identity.s(), echo.s(2).set(countdown=0.1))).apply_async()


CANVASES: dict[str, Canvas] = {
    "a task": lambda first: first.apply_async(),
    "a chain": lambda first: (first | identity.s() | identity.s()).apply_async(),
    "a group": lambda first: group(first, identity.s(2)).apply_async(),
    "a group behind a task": behind,
    "a group behind a chain": lambda first: (first | identity.s() | group(identity.s(), identity.s())).apply_async(),
    "chains behind a task": lambda first: (
        first | group(identity.s() | echo.s(1), identity.s() | echo.s(2))
    ).apply_async(),
    "a group at the end of a member": lambda first: group(
        first | group(identity.s(), echo.s(2)), identity.s(2)
    ).apply_async(),
    "chords behind a task": lambda first: (
        first | group(chord([identity.s(), identity.s()], echo.s()), identity.s())
    ).apply_async(),
    "a chord": lambda first: chord([first, identity.s(2)], identity.s()).apply_async(),
    "a header": lambda first: chord([identity.s(2), first], identity.s()).apply_async().parent,
    "a header behind a task": lambda first: (
        first | chord([identity.s() | identity.s(), echo.s(2)], identity.s())
    ).apply_async().parent,
    "a chord behind a task": lambda first: (first | chord([identity.s(), echo.s()], identity.s())).apply_async(),
    "a step behind a chord": lambda first: (first | chord([identity.s()], identity.s()) | echo.s(1)).apply_async(),
    "a chord that ends in a group": lambda first: chord([first], group(identity.s(), echo.s(2))).apply_async(),
    "a chord that ends in a chord": lambda first: chord(
        [first], chord([identity.s(), identity.s()], echo.s())
    ).apply_async(),
    "groups in sequence": lambda first: chain(
        first, group(identity.s(), identity.s()), group(identity.s(), echo.s())
    ).apply_async(),
    "a saved group": lambda first: saved(group(first, identity.s(2)).apply_async()),
    "a saved group behind a task": lambda first: saved(behind(first)),
    "a group of a tuple": lambda first: travelled(behind(first)),
    "the tuple of a group": lambda first: behind(first).as_tuple(),
    "a set of results": lambda first: tasks.app.ResultSet([first.apply_async(), identity.delay(3)]),
    "a task that is replaced": lambda first: (
        first | tasks.replaced_by.si(identity.s(1).set(countdown=0.1) | echo.s(1))
    ).apply_async(),
    "every step": lambda first: steps_of((first | identity.s() | identity.s()).apply_async()),
    "every part": lambda first: steps_of(
        (first | chord([identity.s(), echo.s()], identity.s()) | echo.s(2)).apply_async()
    ),
    "many steps": lambda first: steps_of(chain(first, *[identity.s() for _ in range(60)]).apply_async()),
}  # fmt: skip


def steps_of(result: Any) -> list[Any]:
    steps = []
    while result is not None:
        steps.append(result)
        result = result.parent
    return steps


@pytest.mark.parametrize("name", CANVASES)
def test_a_task_waits_for_each_result_of_a_canvas(name: str) -> None:
    """Also those of tasks that are not stored yet: the step before them that is has their marks, and hands them on."""
    first = begin()
    blocker = CANVASES[name](first)
    blockers = blocker if isinstance(blocker, list) else [blocker]
    waits = echo.apply_async(("late",), blockers=blockers)
    assert not waits.ready()
    go_on(first)
    assert waits.get(timeout=30) == [["late"], {}]
    assert all(each.ready() for each in blockers if not isinstance(each, tuple))


WAYS: dict[str, Callable[[Any], Any]] = {
    "apply_async": lambda blocker: echo.apply_async(("late",), blockers=[blocker]),
    "send_task": lambda blocker: tasks.app.send_task(echo.name, ("late",), blockers=[blocker]),
    "delay_many": lambda blocker: echo.delay_many([("late",), ("later",)], blockers=[blocker])[1],
    "a signature's option": lambda blocker: echo.s("late").set(blockers=[blocker]).delay(),
    "the option of a member": lambda blocker: group(echo.s("late").set(blockers=[blocker])).apply_async()[0],
    "a group's option": lambda blocker: group(echo.s("late"), echo.s("later")).apply_async(blockers=[blocker])[1],
    "a chain's option": lambda blocker: (echo.s("late") | identity.s()).apply_async(blockers=[blocker]),
    "a chord's option": lambda blocker: chord([echo.s("late")], identity.s()).apply_async(blockers=[blocker]),
    "a transaction": lambda blocker: in_transaction(blocker),
}


def in_transaction(blocker: Any) -> Any:
    with tasks.app.database.connect("caller") as connection, connection.transaction():
        with tasks.app.transaction(connection):
            inside = echo.apply_async(("late",), blockers=[blocker])
        echo.apply_async(("later",), blockers=[blocker, inside], connection=connection)
    return inside


@pytest.mark.parametrize("canvas", [behind, lambda first: first.delay()])
@pytest.mark.parametrize("way", WAYS)
def test_a_task_waits_on_each_way_of_sending(way: str, canvas: Canvas) -> None:
    first = begin()
    blocker = canvas(first)
    waits = WAYS[way](blocker)
    assert not waits.ready()
    go_on(first)
    waits.get(timeout=30)
    assert blocker.ready()


def test_the_failure_of_a_task_before_a_group_fails_those_that_wait_for_the_group() -> None:
    first = begin()
    members = (first | group(identity.s(), identity.s())).apply_async()
    waits = echo.apply_async(("never",), blockers=[members])
    assert tasks.app.fail(first.id, tasks.LocalError(1, "boom"))
    with pytest.raises(ChordError, match=f"Dependency {members.parent.id} raised LocalError"):
        waits.get(timeout=30)


def test_a_member_that_fails_behind_a_task_fails_those_that_wait() -> None:
    first = begin()
    members = (first | group(identity.s(), boom.s())).apply_async()
    waits = echo.apply_async(("never",), blockers=[members])
    go_on(first)
    with pytest.raises(ChordError, match=f"Dependency {members[1].id} raised LocalError"):
        waits.get(timeout=30)


def replaced_by_chain() -> tuple[Any, Any]:
    """A task that has been replaced, and the first step of the chain that goes on instead of it."""
    first = begin()
    replaced = tasks.replaced_by.delay(first | identity.s() | echo.s("end"))
    return replaced, first


def test_a_task_waits_for_one_that_was_replaced_by_a_chain_before(eventually: Eventually) -> None:
    """No row has its id until the last step of the chain is sent."""
    replaced, first = replaced_by_chain()
    eventually(lambda: AsyncResult(first.id, app=tasks.app).stage == "waiting", timeout=30, why="it was replaced")
    assert replaced.stage is None
    waits = [echo.apply_async(("late",), blockers=[blocker]) for blocker in (replaced, replaced.id)]
    assert [result.stage for result in waits] == ["held"] * 2
    go_on(first)
    assert [result.get(timeout=30) for result in waits] == [[["late"], {}]] * 2
    assert replaced.get(timeout=0) == [[[1], "end"], {}]


def test_a_task_fails_with_one_that_was_replaced_by_a_chain_that_fails(eventually: Eventually) -> None:
    replaced, first = replaced_by_chain()
    eventually(lambda: AsyncResult(first.id, app=tasks.app).stage == "waiting", timeout=30, why="it was replaced")
    waits = echo.apply_async(("never",), blockers=[replaced])
    assert tasks.app.fail(first.id, tasks.LocalError(1, "boom"))
    with pytest.raises(ChordError, match=f"Dependency {first.id} raised LocalError"):
        waits.get(timeout=30)


def test_a_result_of_eager_mode_is_refused() -> None:
    eager = identity.apply((1,))
    for blocker in (eager, group(identity.s(1), identity.s(2)).apply()):
        with pytest.raises(ValueError, match="has run here, in eager mode: leave it out"):
            echo.apply_async(("never",), blockers=[blocker])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (5, "a task's id must be a text or a UUID, not int"),
        (identity.s(1), "must be results or ids of tasks, not signatures: send the signature first"),
        (None, "a task's id must be a text or a UUID, not NoneType"),
    ],
)
def test_what_is_no_result_is_refused(wrong: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        echo.apply_async(("never",), blockers=[wrong])
    for given in (wrong, {"a": 1}, AsyncResult(uuid(), app=tasks.app), GroupResult(uuid(), [], app=tasks.app)):
        if given is not None:
            with pytest.raises(ValueError, match="blockers must be a list of results or ids of tasks"):
                echo.apply_async(("never",), blockers=given)


def test_tasks_that_would_wait_for_each_other_are_refused() -> None:
    one, other, blocker = uuid(), uuid(), identity.apply_async((1,), countdown=3600)
    echo.apply_async(("one",), task_id=one, blockers=[blocker])
    own = str(uuid7())
    with pytest.raises(InvalidCanvas, match=f"task {own} would wait for itself: one of its blockers waits for it"):
        echo.apply_async(("itself",), task_id=own, blockers=[own])
    with pytest.raises(InvalidCanvas, match="would wait for itself"):
        group(
            echo.s("two").set(task_id=other, blockers=[own]), echo.s("own").set(task_id=own, blockers=[other, one])
        ).apply_async()
    assert [AsyncResult(id, app=tasks.app).stage for id in (other, own)] == [None, None]
    blocker.revoke()


@pytest.mark.parametrize("canvas", [behind, lambda first: first.delay()])
def test_a_later_step_waits_when_it_is_sent(canvas: Canvas) -> None:
    """A signature travels as JSON, and a result in its options as its tuple."""
    first = begin()
    blocker = canvas(first)
    last = (identity.s(1) | echo.si("late").set(blockers=[blocker])).apply_async()
    assert last.parent.get(timeout=30) == 1
    assert last.stage == "held"
    go_on(first)
    assert last.get(timeout=30) == [["late"], {}]
    assert blocker.ready()

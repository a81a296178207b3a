"""Canvases in eager mode: what fails, what is called then, and what a call inside of a task may do."""

from __future__ import annotations

from typing import Any

import pytest

from lavoro import Lavoro, Task, chain, chord, group
from lavoro.exceptions import ChordError, Ignore, Reject


class Kit:
    """Tasks of one application, and the list of what they were called with."""

    def __init__(self, app: Lavoro) -> None:
        self.called: list[Any] = []

        @app.task
        def echo(*args: Any) -> Any:
            self.called.append(args)
            return list(args)

        @app.task
        def fail(*args: Any) -> None:
            raise KeyError("no")

        @app.task
        def errback(request: Any, exc: BaseException, traceback: Any, name: str) -> None:
            self.called.append((name, request.task.rpartition(".")[2], exc))

        @app.task(bind=True)
        def replaced(self: Task[..., Any], canvas: Any) -> Any:
            return self.replace(app.signature(canvas))

        self.echo, self.fail, self.errback, self.replaced = echo, fail, errback, replaced


@pytest.fixture
def kit(app: Lavoro) -> Kit:
    return Kit(app)


def test_the_steps_behind_one_that_fails_have_its_error(kit: Kit) -> None:
    result = chain(kit.echo.s(1), kit.fail.s(), kit.echo.s().set(task_id="last")).delay()
    assert (result.id, result.state, result.parent.state, result.parent.parent.get()) == (
        "last",
        "FAILURE",
        "FAILURE",
        [1],
    )
    assert repr(result.result) == "KeyError('no')"
    with pytest.raises(KeyError):
        result.get()
    assert kit.called == [(1,)]


def test_the_other_members_of_a_group_run(kit: Kit) -> None:
    result = group(chain(kit.fail.s(), kit.echo.s()), kit.echo.s(2)).delay()
    assert ([each.state for each in result], kit.called) == (["FAILURE", "SUCCESS"], [(2,)])


@pytest.mark.parametrize("kind", ["task", "chain", "chord", "group"])
def test_a_body_whose_header_fails_calls_its_error_callbacks(kit: Kit, kind: str) -> None:
    body = kit.echo.s().on_error(kit.errback.s("of the body"))
    bodies = {
        "task": body,
        "chain": chain(body, kit.echo.s()),
        "chord": chord([kit.echo.s()], body),
        "group": group([body]),
    }
    result = chord([kit.fail.s(), kit.echo.s(2)], bodies[kind]).delay()
    header = result.parent if kind != "chain" else result.parent.parent
    if kind == "group":
        (result,) = result
        header = None
    else:
        assert [each.state for each in header] == ["FAILURE", "SUCCESS"]
        with pytest.raises(KeyError):  # of the parents, as with a worker
            result.get()
    assert type(result.result) is ChordError
    (_, (name, task, error)) = kit.called
    assert (name, task, type(error)) == ("of the body", "echo", ChordError)
    assert str(error).endswith("raised KeyError('no')")


@pytest.mark.parametrize("error", [Ignore(), Reject("no")])
def test_a_task_of_a_header_without_a_result_fails_the_body(app: Lavoro, kit: Kit, error: Exception) -> None:
    @app.task
    def ends() -> None:
        raise error

    result = chord([ends.s(), kit.echo.s(2)], kit.echo.s()).delay()
    assert (result.state, kit.called) == ("FAILURE", [(2,)])
    assert str(result.result) == f"Dependency {result.parent[0].id} raised {error!r}"


def test_the_options_of_a_chord_are_those_of_its_body(kit: Kit) -> None:
    made = chord([kit.echo.s(1)], kit.echo.s())
    result = made.apply_async(link=kit.echo.si("linked"), task_id="chosen")
    assert (result.id, result.get(), kit.called) == ("chosen", [[[1]]], [(1,), ([[1]],), ("linked",)])
    failing = chord([kit.fail.s()], kit.echo.s())
    failing.apply_async(link_error=kit.errback.s("given"))
    failing.apply(link_error=kit.errback.s("applied"))
    assert [each[0] for each in kit.called[3:]] == ["given", "applied"]
    assert kit.called.clear() is None
    (values,) = chord([kit.fail.s(), kit.echo.s(2)], kit.echo.s()).apply_async(failure_policy="run").get()
    assert (repr(values[0]), values[1]) == ("KeyError('no')", [2])


def test_the_options_of_a_chain_are_those_of_its_steps(kit: Kit) -> None:
    first = kit.echo.s(1)
    result = chain(first, kit.fail.s().on_error(kit.errback.s("own"))).apply_async(
        link_error=kit.errback.s("given"), task_id="chosen"
    )
    assert (result.id, result.parent.id != "chosen") == ("chosen", True)
    assert [each[0] for each in kit.called[1:]] == ["own", "given"]


def test_a_task_is_replaced_and_its_callbacks_are_called_once(kit: Kit) -> None:
    canvas = chord([kit.echo.s(1)], kit.echo.s())
    assert kit.replaced.apply_async((canvas,), link=kit.echo.s("linked")).get() == [[[1]]]
    assert kit.called == [(1,), ([[1]],), ([[[1]]], "linked")]
    kit.called.clear()
    kit.replaced.apply_async((kit.fail.s(),), link_error=kit.errback.s("once"))
    assert [each[:2] for each in kit.called] == [("once", "replaced")]


def test_a_chain_among_the_callbacks_finds_the_tasks_of_the_application() -> None:
    with Lavoro("apart", set_as_current=False, task_always_eager=True) as app:
        kit = Kit(app)
        kit.echo.apply_async((1,), link=chain(kit.echo.s(2), kit.echo.s(3)))
    assert kit.called == [(1,), ([1], 2), ([[1], 2], 3)]

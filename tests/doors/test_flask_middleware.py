"""Middleware in Flask: it shares the application context, and so the session, of the task that it wraps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, current_app, g, has_app_context

from lavoro import Task
from lavoro.ext.flask import FlaskLavoro
from lavoro.middleware import RunCall
from tests.executor.run import finished


@pytest.fixture
def lavoro() -> Iterator[FlaskLavoro]:
    """An extension that no application has been given to yet."""
    lavoro = FlaskLavoro()
    yield lavoro
    lavoro.close()


@pytest.fixture
def ends() -> list[object]:
    """The ends of contexts, each with its error."""
    return []


@pytest.fixture
def site(lavoro: FlaskLavoro, ends: list[object]) -> Flask:
    """A site that writes down when a context ends."""
    app = Flask("site")
    lavoro.init_app(app)
    app.teardown_appcontext(ends.append)
    return app


class Plain(Task[..., Any]):
    """A base class with a call of its own."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


@pytest.mark.parametrize("base", [None, Plain])
def test_a_run_has_one_context_with_its_middleware(
    lavoro: FlaskLavoro, site: Flask, ends: list[object], base: Any
) -> None:
    told: list[Any] = []

    @lavoro.middleware.around_run
    def share(call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        g.visitor = "Ada"
        value = proceed(call)
        told.append((current_app.name, g.answer, len(ends)))
        return value

    @lavoro.task(base=base, bind=True, name="answer")
    def answer(self: Task[..., Any]) -> str:
        g.answer = f"Dear {g.visitor}"
        assert not self.request.called_directly
        return str(g.answer)

    for _ in range(2):
        assert finished(answer).result == '"Dear Ada"'
    assert told == [("site", "Dear Ada", 0), ("site", "Dear Ada", 1)]
    assert ends == [None, None]
    assert not has_app_context()


def test_hooks_share_it_too(lavoro: FlaskLavoro, site: Flask, ends: list[object]) -> None:
    told: list[Any] = []

    @lavoro.task(before=lambda call: setattr(g, "visitor", "Ada"), after=lambda *_: told.append(g.visitor))
    def fail() -> str:
        raise KeyError(g.visitor)

    assert finished(fail).state == "FAILURE"
    assert told == ["Ada"]
    assert [repr(end) for end in ends] == ["KeyError('Ada')"]


def test_other_tasks_that_it_calls_have_the_usual_context(lavoro: FlaskLavoro, site: Flask, ends: list[object]) -> None:
    @lavoro.middleware.around_run
    def share(call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        g.visitor = "Ada"
        return proceed(call)

    @lavoro.task
    def inner() -> str:
        return str(g.visitor)

    @lavoro.task
    def outer() -> list[Any]:
        return [inner(), inner.apply().result, len(ends)]

    assert finished(outer).result == '["Ada","Ada",0]'


def test_an_eager_task_shares_that_of_its_caller(lavoro: FlaskLavoro, site: Flask, ends: list[object]) -> None:
    lavoro.conf.task_always_eager = True

    @lavoro.middleware.around_run
    def share(call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        return [g.visitor, proceed(call)]

    task = lavoro.task(name="task")(lambda: len(ends))
    with site.app_context():
        g.visitor = "Ada"
        assert task.delay().get() == ["Ada", 0]
    assert len(ends) == 1

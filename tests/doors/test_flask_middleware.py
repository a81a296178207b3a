"""Middleware in Flask: it shares the application context, and so the session, of the task that it wraps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, current_app, g, has_app_context
from flask_sqlalchemy import SQLAlchemy

from lavoro import Task, log
from lavoro.ext.flask import FlaskLavoro
from lavoro.middleware import CorrelationId, RunCall, SessionCleanup
from lavoro.testing import worker
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


def test_the_id_of_a_request_is_that_of_its_tasks_and_their_children(migrated_url: str) -> None:
    """In all pools it travels as a header of the call; the worker here runs in threads of this process."""
    seen: dict[str, list[Any]] = {}
    with FlaskLavoro(middleware=[CorrelationId()]) as lavoro:
        app = Flask("site")
        app.config["LAVORO"] = {"broker_url": migrated_url}
        lavoro.init_app(app)

        @lavoro.task(bind=True)
        def handler(self: Task[..., Any], key: str) -> None:
            seen.setdefault(key, []).append(self.request.request_id)
            child.delay(key)

        @lavoro.task(bind=True)
        def child(self: Task[..., Any], key: str) -> str:
            seen[key].append(self.request.request_id)
            return str(self.request.request_id)

        @app.get("/<key>")
        def page(key: str) -> str:
            handler.delay(key)
            handler.delay(key)
            return "sent"

        with worker(lavoro, pool="threads"):
            for key, headers in (("a", {"X-Request-ID": "req-1"}), ("b", {}), ("c", {"X-Request-ID": "x" * 300})):
                assert app.test_client().get(f"/{key}", headers=headers).text == "sent"
            deadline = time.monotonic() + 30
            while sum(map(len, seen.values())) < 12:
                assert time.monotonic() < deadline, seen
                time.sleep(0.01)
    log.FIELDS.clear()
    assert seen["a"] == ["req-1"] * 4
    assert seen["b"] == [seen["b"][0]] * 4
    assert seen["c"] == [seen["c"][0]] * 4
    assert len(seen["c"][0]) == len(seen["b"][0]) == 36
    assert seen["b"][0] != seen["c"][0]


def test_the_session_of_flask_sqlalchemy_is_removed_once_and_with_the_middleware(
    lavoro: FlaskLavoro, migrated_url: str
) -> None:
    """The middleware is not needed for it, and does no harm."""
    db = SQLAlchemy()
    site = Flask("site")
    site.config["SQLALCHEMY_DATABASE_URI"] = migrated_url.replace("postgresql:", "postgresql+psycopg:")
    lavoro.init_app(site)
    db.init_app(site)
    sessions: list[Any] = []

    @lavoro.middleware.around_run
    def see(call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        sessions.append(db.session())
        return proceed(call)

    @lavoro.task
    def use() -> bool:
        db.session.execute(db.text("select 1"))
        return db.session() is sessions[-1]

    for _ in range(2):
        assert finished(use).result == "true"
        lavoro.middleware[:] = [SessionCleanup(db.session), *lavoro.middleware]
    assert sessions[0] is not sessions[1]
    assert not any(session.in_transaction() for session in sessions)
    with site.app_context():
        assert db.engine.pool.checkedout() == 0
        db.engine.dispose()

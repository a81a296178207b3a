"""Fixtures for pytest, whose names begin with `lavoro_`, or with `celery_` as Celery's do.

Pytest loads this for each project that has Lavoro: what is large is imported when a fixture is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

NO_WORKER = os.environ.get("NO_WORKER")


def fixtures(prefix: str) -> dict[str, Any]:
    """Return all fixtures by their names; each asks for the others by the same prefix, so that a test replaces any."""
    made: dict[str, Any] = {}

    def add(name: str, scope: str, function: Callable[..., Any]) -> None:
        made[name] = pytest.fixture(scope=scope, name=name)(function)  # type: ignore[call-overload]

    for name, value, told in _values(prefix):
        add(name, "session", _returning(value, told))
    add(f"{prefix}_session_app", "session", _app_fixture(prefix, session=True))
    add(f"{prefix}_session_worker", "session", _worker_fixture(prefix, session=True))
    add(f"{prefix}_app", "function", _app_fixture(prefix, session=False))
    add(f"{prefix}_worker", "function", _worker_fixture(prefix, session=False))
    return made


def _values(prefix: str) -> Iterator[tuple[str, Any, str]]:
    yield f"{prefix}_config", {}, "The settings of the applications."
    yield f"{prefix}_parameters", {}, "More arguments of the applications."
    yield f"{prefix}_worker_parameters", {}, "More options of the workers, such as `concurrency` and `queues`."
    yield f"{prefix}_worker_pool", "threads" if prefix == "lavoro" else "solo", "The pool of the workers."
    yield f"{prefix}_includes", (), "The names of modules to import before a worker starts."
    yield f"{prefix}_class_tasks", (), "Classes of tasks to register with the application of the session."
    yield f"{prefix}_enable_logging", False, "Whether the log is set up as a worker does."
    yield f"use_{prefix}_app_trap", False, "Whether a test that uses the current application fails."


def _returning(value: Any, told: str) -> Callable[[], Any]:
    def give() -> Any:
        return value() if callable(value) else value

    give.__doc__ = told
    return give


def _app_fixture(prefix: str, *, session: bool) -> Callable[..., Any]:
    def app(request: pytest.FixtureRequest) -> Iterator[Any]:
        get = request.getfixturevalue
        mark = request.node.get_closest_marker(prefix)
        config = {**get(f"{prefix}_config"), **(mark.kwargs if mark else {})}
        trap = get(f"use_{prefix}_app_trap")
        logging, parameters = get(f"{prefix}_enable_logging"), get(f"{prefix}_parameters")
        with _app(config, parameters, logging=logging, trap=trap) as made:
            if session and not trap:
                made.set_default()
                made.set_current()
            yield made

    app.__doc__ = f"An application, for {'all tests' if session else 'one test'}."
    return app


@contextmanager
def _app(config: Mapping[str, Any], parameters: Mapping[str, Any], *, logging: bool, trap: bool) -> Iterator[Any]:
    import_module("lavoro.testing.tasks")  # the ping is a task of each application
    apps = import_module("lavoro.testing.apps")
    made = apps.TestApp(config=config, enable_logging=logging, **parameters)
    with apps.setup_default_app(made, use_trap=trap):
        yield made


def _worker_fixture(prefix: str, *, session: bool) -> Callable[..., Any]:
    def worker(request: pytest.FixtureRequest) -> Iterator[Any]:
        get = request.getfixturevalue
        app = get(f"{prefix}_session_app" if session else f"{prefix}_app")
        if NO_WORKER:
            yield None
            return
        start_worker = import_module("lavoro.testing.pinging").start_worker
        _define_tasks(app, get(f"{prefix}_includes"), get(f"{prefix}_class_tasks") if session else ())
        with start_worker(app, pool=get(f"{prefix}_worker_pool"), **get(f"{prefix}_worker_parameters")) as running:
            yield running

    worker.__doc__ = f"A worker of that application in this process, for {'all tests' if session else 'one test'}."
    return worker


def _define_tasks(app: Any, modules: Sequence[str], classes: Sequence[type]) -> None:
    for module in modules:
        app.loader.import_task_module(module)
    for cls in classes:
        app.register_task(cls)

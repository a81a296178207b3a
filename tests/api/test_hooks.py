"""`on_startup` and `on_shutdown`: which functions there may be, and how they run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lavoro import Lavoro, shared
from lavoro.application import hooks
from lavoro.exceptions import ImproperlyConfigured, LavoroError
from lavoro.ext.flask import FlaskLavoro
from lavoro.runtime import slow


@pytest.fixture
def app() -> Lavoro:
    return Lavoro("hooks", set_as_current=False)


@pytest.fixture
def noted() -> list[str]:
    return []


def run(app: Lavoro) -> None:
    hooks.start(app.startup.of("process"), app.resources)
    hooks.stop(app.shutdown.of("process"), app.resources)


def test_functions_run_in_the_order_of_definition_and_backwards_at_the_end(app: Lavoro, noted: list[str]) -> None:
    for number in (1, 2, 3):
        app.on_startup(lambda number=number: noted.append(f"start {number}"))
        app.on_shutdown()(lambda number=number: noted.append(f"stop {number}"))
    run(app)
    assert noted == ["start 1", "start 2", "start 3", "stop 3", "stop 2", "stop 1"]


def test_the_decorators_return_the_function(app: Lavoro) -> None:
    def function() -> int:
        return 5

    assert (
        app.on_startup(function) is app.on_startup(scope="worker")(function) is app.on_shutdown()(function) is function
    )
    assert function() == 5


def test_the_same_function_runs_once_in_a_scope(app: Lavoro, noted: list[str]) -> None:
    def define() -> None:
        @app.on_startup
        def function() -> None:
            noted.append("start")

        app.on_startup(scope="worker")(function)

    define()
    define()  # as a module that is imported twice
    assert [hook.scope for hook in app.startup.of("worker", "process")] == ["process", "worker"]
    run(app)
    assert noted == ["start"]


def test_shared_functions_run_in_every_application(
    app: Lavoro, noted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in hooks.shared:
        monkeypatch.setattr(hooks.shared[kind], "_own", [])
    app.on_startup(lambda: noted.append("own 1"))
    shared.on_startup(lambda: noted.append("shared"))
    shared.on_shutdown(scope="process")(lambda: noted.append("shared stop"))
    app.on_startup(lambda: noted.append("own 2"))
    run(app)
    run(Lavoro("other", set_as_current=False))
    assert noted == ["own 1", "shared", "own 2", "shared stop", "shared", "shared stop"]


async def coroutine() -> None: ...


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("decorate", "error", "match"),
    [
        (lambda app: app.on_startup(coroutine), ImproperlyConfigured, r"start-up .*coroutine: .* is an async"),
        (lambda app: app.on_shutdown(coroutine), ImproperlyConfigured, r"shutdown .*coroutine: .* is an async"),
        (lambda app: app.on_startup(generator), ImproperlyConfigured, r"generator function, which makes a resource"),
        (lambda app: app.on_startup(5), TypeError, "a start-up function is a callable, not 5"),
        (
            lambda app: app.on_startup(scope="node")(generator),
            ImproperlyConfigured,
            r"generator: the scope of a start-up function is 'fleet' or 'worker' or 'process', not 'node'",
        ),
        (
            lambda app: app.on_shutdown(scope="fleet")(generator),
            ImproperlyConfigured,
            r"no node knows that it is the last one of its fleet: the scope .* is 'process' or 'worker'",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(app: Lavoro, decorate: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        decorate(app)


def test_a_start_that_fails_is_the_last(app: Lavoro, noted: list[str]) -> None:
    @app.on_startup
    def broken() -> None:
        raise KeyError("price")

    app.on_startup(lambda: noted.append("after"))
    wanted = r"^the start-up function tests\.api\.test_hooks\..*broken failed: KeyError: 'price' \(.*\.py, line \d+\)$"
    with pytest.raises(LavoroError, match=wanted):
        run(app)
    assert noted == []


def test_an_exit_is_a_failure(app: Lavoro, noted: list[str], caplog: pytest.LogCaptureFixture) -> None:
    for decorate in (app.on_shutdown, app.on_startup):
        decorate(lambda: noted.append("runs"))

        @decorate
        def leaves() -> None:
            sys.exit("no configuration")

    with pytest.raises(LavoroError, match=r"leaves failed: SystemExit: no configuration \("):
        run(app)
    hooks.stop(app.shutdown.of("process"), app.resources)
    assert noted == ["runs", "runs"]
    assert "leaves failed: SystemExit: no configuration (" in caplog.text


def test_a_shutdown_that_fails_is_logged(app: Lavoro, noted: list[str], caplog: pytest.LogCaptureFixture) -> None:
    app.on_shutdown(lambda: noted.append("first"))

    @app.on_shutdown
    def broken() -> None:
        raise KeyError("price")

    app.on_shutdown(lambda: noted.append("last"))
    run(app)
    assert noted == ["last", "first"]
    (record,) = caplog.records
    assert "broken failed: KeyError: 'price' (" in record.getMessage()
    assert record.exc_info


def test_they_take_resources(app: Lavoro, noted: list[str]) -> None:
    @app.resource
    def client() -> Iterator[str]:
        yield "client"
        noted.append("closed")

    app.on_startup(lambda client: noted.append(f"start {client}"))
    app.on_shutdown(lambda client: noted.append(f"stop {client}"))
    run(app)
    app.close()
    assert noted == ["start client", "stop client", "closed"]


def test_one_that_takes_what_is_no_resource_is_refused_before_the_start(app: Lavoro) -> None:
    @app.on_shutdown(scope="worker")
    def leave(client: object) -> None: ...

    with pytest.raises(
        ImproperlyConfigured, match=r"leave has a parameter 'client', which is no resource; .* are none"
    ):
        app.check_structure()


@pytest.mark.parametrize("kind", ["start-up", "shutdown"])
def test_one_that_hangs_is_named_again_and_again(app: Lavoro, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    told: list[str] = []
    twice = threading.Event()

    def warning(text: str, *values: object) -> None:
        told.append(text % values)
        if len(told) == 2:
            twice.set()

    monkeypatch.setattr(slow, "SLOW", 0.01)
    monkeypatch.setattr(slow, "AGAIN", 0.01)
    monkeypatch.setattr(slow.logger, "warning", warning)

    def stuck() -> None:
        assert twice.wait(30)

    (app.on_startup if kind == "start-up" else app.on_shutdown)(stuck)
    run(app)
    assert "test_hooks" in told[0]
    assert f"the {kind} function " in told[0]
    assert told[0].endswith("stuck has taken 0 s so far")


def test_with_flask_they_run_in_a_context(noted: list[str]) -> None:
    from flask import Flask, current_app, has_app_context

    site = Flask("hooked_site")
    lavoro = FlaskLavoro(site, set_as_current=False)

    @lavoro.resource
    def client() -> Iterator[str]:
        noted.append(f"make {current_app.name}")
        yield "client"
        noted.append(f"close {current_app.name}")

    lavoro.on_startup(lambda client: noted.append(f"start {current_app.name}"))
    run(lavoro)
    assert not has_app_context()
    lavoro.close()
    assert noted == ["make hooked_site", "start hooked_site", "close hooked_site"]

"""Signatures as values: of which application they are, how they are shown, and what cannot be one."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lavoro import Lavoro, chain, chord, group, signature


@pytest.fixture
def app() -> Lavoro:
    """An application that is current in no thread."""
    app = Lavoro("shapes", broker="postgresql://nowhere/x", set_as_current=False)

    @app.task(name="shapes.add")
    def add(x: Any, y: Any = 0) -> Any:
        return x + y

    return app


@pytest.mark.parametrize("header", [chain, group, chord])
@pytest.mark.parametrize("body", [None, chain, group, chord])
def test_application_of_a_chord_is_that_of_the_tasks_inside(app: Lavoro, header: Any, body: Any) -> None:
    add = app.tasks["shapes.add"]
    made = chord([header(add.s(1), add.s(2))], body(add.s(), add.s(1)) if body else None)
    assert made.app is app
    unknown = chord([signature("elsewhere.task")], body(add.s(), add.s(1)) if body else add.s())
    assert unknown.app is app


def test_canvas_is_run_by_its_application_in_each_thread(app: Lavoro) -> None:
    app.conf.task_always_eager = True
    add = app.tasks["shapes.add"]
    values: list[Any] = []

    def run() -> None:
        body = chain(app.task(sum, name="shapes.sum").s(), add.s(1))
        values.append(chord([chain(add.s(1, 1), add.s(1)), add.s(5)], body).apply_async().get())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert values == [9]


def test_module_of_the_first_task_is_shown_once(app: Lavoro) -> None:
    one, other, third = (signature(name, args=(1,), app=app) for name in ("app.x.a", "webapp.x.b", "my-app.x.c"))
    assert repr(group([one, other, third, one])) == "group([app.x.a(1), webapp.x.b(1), my-app.x.c(1), a(1)])"
    assert repr(one | other | one) == "app.x.a(1) | webapp.x.b(1) | a(1)"
    assert repr(signature("add", (2, 2)) | signature("add", (4,))) == "add(2, 2) | add(4)"


def test_chain_takes_signatures_alone(app: Lavoro) -> None:
    add = app.tasks["shapes.add"]
    with pytest.raises(TypeError, match="a chain is made of signatures, not of 3"):
        chain(add.s(1), 3)
    assert chain(dict(add.s(1)), add.s(2)) == chain(add.s(1), add.s(2))

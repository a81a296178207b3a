"""A name stands for one piece of code: the same code may come again, other code is told of with both places."""

from __future__ import annotations

import functools
import importlib
import runpy
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lavoro import Lavoro, Task, shared_task
from lavoro.exceptions import ImproperlyConfigured
from lavoro.runtime import current_app

HERE = f"{__file__}, line"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Lavoro:
    """An application that is current, without the shared tasks of other tests."""
    monkeypatch.setattr(current_app, "_local", threading.local())
    monkeypatch.setattr(current_app, "_default", None)
    monkeypatch.setattr(current_app, "shared", [])
    return Lavoro("shop")


def line(function: Callable[..., Any]) -> str:
    return f"{HERE} {function.__code__.co_firstlineno}"


def make(app: Lavoro, factor: Any) -> Any:
    @app.task(name="scale")
    def scale(x: int) -> Any:
        return x * factor

    return scale


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def twice(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args), function(*args)

    return wrapper


def f(x: int) -> int:
    return x


def g(x: int) -> int:
    return -x


class A:
    def run(self, x: int) -> int:
        return x


class B:
    def run(self, x: int) -> int:
        return x


class Client:
    def __init__(self, host: str) -> None:
        self.host = host


# Other code


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (f, g, (line(f), line(g))),
        (A.run, B.run, (line(A.run), line(B.run))),
        (plain(f), plain(g), (f"around {line(f)}", f"around {line(g)}")),
        (f, twice(f), (line(f), f"{HERE} {twice(f).__code__.co_firstlineno}")),
        (lambda x: x * 2, lambda x: x * 3, ("(<lambda>)", "(<lambda>, other code)")),
        (functools.partial(f, 1), functools.partial(f, 2), (f"{line(f)} with args=a tuple",) * 2),
        (functools.partial(f, 1), functools.partial(g, 1), (line(f), line(g))),
        (A().run, B().run, (line(A.run), line(B.run))),
        (f, A, (line(f), line(A.run))),
    ],
)
def test_other_code_under_a_known_name_is_refused_with_both_places(
    app: Lavoro, one: Any, other: Any, says: tuple[str, str]
) -> None:
    task = app.task(name="a.task")(one)
    with pytest.raises(ImproperlyConfigured, match="two tasks have the name 'a.task': one is at ") as caught:
        app.task(name="a.task")(other)
    first, second = str(caught.value).partition(". Give")[0].split("; the other is at ")
    assert first.endswith(says[0])
    assert second.endswith(says[1])
    assert app.tasks["a.task"] is task


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (2, 3, ("factor=2", "factor=3")),
        ("secret", "other", ("factor=a str", "factor=a str")),
        (2, [2], ("factor=2", "factor=a list")),
        ([1, {"a": 2}], [1, {"a": 3}], ("factor=a list", "factor=a list")),
        (f, g, (f"around {line(f)}", f"around {line(g)}")),
        (A, B, (f"around {line(A.run)}", f"around {line(B.run)}")),
        (Client("one"), Client("other"), ("factor=a Client", "factor=a Client")),
    ],
)
def test_a_factory_that_puts_something_else_into_its_task_is_refused(
    app: Lavoro, one: Any, other: Any, says: tuple[str, str]
) -> None:
    make(app, one)
    with pytest.raises(ImproperlyConfigured) as caught:
        make(app, other)
    first, second = str(caught.value).partition(". Give")[0].split("; the other is at ")
    assert first.endswith(says[0])
    assert second.endswith(says[1])
    assert "secret" not in str(caught.value)


def test_a_default_counts_as_a_variable(app: Lavoro) -> None:
    def make(factor: int) -> Any:
        @app.task(name="scale")
        def scale(x: int, by: int = factor) -> int:
            return x * by

    make(2)
    make(2)
    with pytest.raises(ImproperlyConfigured, match=r"with by=2; the other is at .* with by=3\. Give one"):
        make(3)


def test_other_options_are_refused_too(app: Lavoro) -> None:
    task = app.task(name="a.task", max_retries=2)(f)
    assert app.task(name="a.task", max_retries=2)(f) is task
    with pytest.raises(ImproperlyConfigured, match="with max_retries=2; the other is at .* with max_retries=5"):
        app.task(name="a.task", max_retries=5)(f)
    with pytest.raises(ImproperlyConfigured, match="without queue; the other is at .* with queue=a str"):
        app.task(name="a.task", max_retries=2, queue="x")(f)


def test_shared_tasks_of_one_name(app: Lavoro) -> None:
    shared_task(name="a.task")(f)
    shared_task(name="a.task")(f)
    shared: Any = shared_task(name="a.task")(g)
    for use in (lambda: app.tasks["a.task"], lambda: shared.name):
        with pytest.raises(ImproperlyConfigured, match="two tasks have the name 'a.task'"):
            use()


def test_classes_of_tasks(app: Lavoro) -> None:
    def make(by: int) -> type[Task[..., Any]]:
        class Scale(Task[..., Any]):
            name = "scale"
            factor = by

            def run(self, x: int) -> int:
                return x * self.factor

        return Scale

    class Scale(Task[..., Any]):
        name = "scale"

        def run(self, x: int) -> int:
            return x

    cls = make(2)
    task = app.register_task(cls)
    assert app.register_task(task) is task
    assert app.register_task(cls()) is app.tasks["scale"]
    assert app.register_task(make(2)) is app.tasks["scale"]
    for other in (make(3), Scale, Scale()):
        with pytest.raises(ImproperlyConfigured, match="two tasks have the name 'scale'"):
            app.register_task(other)
    with pytest.raises(ImproperlyConfigured, match="two tasks have the name 'scale'"):
        app.task(name="scale")(f)
    app.tasks.unregister("scale")
    app.task(name="scale")(f)
    with pytest.raises(ImproperlyConfigured, match="two tasks have the name 'scale'"):
        app.register_task(cls)
    with pytest.raises(ImproperlyConfigured, match="two tasks have the name 'scale'"):
        app.tasks.register(task)


# The same code


@pytest.mark.parametrize(
    "value", [2, "x", (1, [2], {"a": {3}}), f, twice(f), A, functools.partial(f, 1), Client("one"), threading.Lock()]
)
def test_a_factory_called_twice_makes_one_task(app: Lavoro, value: Any) -> None:
    assert make(app, value) is make(app, value)


def test_a_task_that_names_itself(app: Lavoro) -> None:
    def make() -> Any:
        @app.task(name="again")
        def again() -> Any:
            return again

        return again

    assert make() is make()


MODULE = """
import functools, threading
from lavoro import Task, shared_task
from m_main_app import app

class Failed(Exception):
    code = 1

class Client:
    def __init__(self, host): self.host = host

def locked(lock, client, errors=(Failed,)):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with lock:
                return function(*args, **kwargs), client
        return wrapper
    return decorate

@app.task(name="m.plain")
def plain(x, key=lambda x: x): return x

@app.task(name="m.wrapped", autoretry_for=(Failed,))
@locked(threading.Lock(), Client("one"))
def wrapped(x): return x

@app.task(name="m.nested")
def nested(x): return [lambda: y for y in x]

@shared_task(name="m.shared", bind=True)
def shared(self, x): return x

@app.register_task
class Written(Task):
    name = "m.written"
    autoretry_for = (Failed,)
    def run(self): return Client("two")

class Partly:
    def __call__(self): return 1
"""


@pytest.fixture
def module(tmp_path: Path, app: Lavoro, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module with tasks of all kinds."""
    holder: Any = ModuleType("m_main_app")
    holder.app = app
    monkeypatch.setitem(sys.modules, "m_main_app", holder)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "m_main.py").write_text(MODULE)
    yield importlib.import_module("m_main")
    del sys.modules["m_main"]


def test_a_module_that_comes_again(app: Lavoro, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(app.tasks)
    assert {"m.plain", "m.wrapped", "m.nested", "m.shared", "m.written"} <= set(known)
    importlib.reload(module)
    runpy.run_module("m_main", run_name="__main__")
    monkeypatch.chdir(Path(str(module.__file__)).parent)
    runpy.run_path("m_main.py")
    assert {name: app.tasks[name] for name in known if name != "m.written"} == {
        name: task for name, task in known.items() if name != "m.written"
    }


def test_a_module_that_has_changed(app: Lavoro, module: ModuleType) -> None:
    file = Path(str(module.__file__))
    file.write_text(MODULE.replace("return x\n", "return -x\n", 1))
    importlib.invalidate_caches()
    with pytest.raises(
        ImproperlyConfigured, match="two tasks have the name 'm.plain': one is at .*m_main.py, line 21 "
    ):
        runpy.run_path(str(file))

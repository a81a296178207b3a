"""The tasks by name, and the application that is meant."""

from __future__ import annotations

import threading
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from lavoro.definition.registry import TaskRegistry
from lavoro.exceptions import NotRegistered
from lavoro.runtime import current_app


def test_tasks_by_name() -> None:
    registry, task = TaskRegistry(), SimpleNamespace(name="a.add", __definition__=None)
    registry.register(task)
    assert registry["a.add"] is task
    assert registry.regular() == {"a.add": task}
    assert type(registry.regular()) is dict
    registry.unregister(task)
    assert registry.get("a.add") is None
    registry.register(task)
    registry.unregister("a.add")
    assert "a.add" not in registry


def test_a_missing_task_says_what_may_be_wrong() -> None:
    registry = TaskRegistry()
    with pytest.raises(NotRegistered, match="task 'a.add' is not registered: is the module that defines it imported"):
        registry["a.add"]
    with pytest.raises(KeyError):
        registry["a.add"]
    with pytest.raises(NotRegistered, match="task 'a.add' is not registered"):
        registry.unregister("a.add")


# The current application


@pytest.fixture(autouse=True)
def nothing_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "_local": threading.local(),
        "_default": None,
        "_make_default": None,
        "_made": None,
        "finders": [],
    }.items():
        monkeypatch.setattr(current_app, name, value)


def in_another_thread() -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(current_app.get()))
    thread.start()
    thread.join()
    return found[0]


def test_none_is_current_until_one_is_made() -> None:
    import_module("lavoro.app")  # else the first look imports it, and it says how one is made
    current_app._make_default = None
    assert current_app.get() is None
    assert current_app.get_existing() is None
    made = object()
    makers = iter([made])
    current_app.when_missing(lambda: next(makers))
    assert current_app.get_existing() is None
    assert current_app.get() is made
    assert current_app.get() is made
    assert in_another_thread() is made
    created = object()
    current_app.set_current(created)
    assert in_another_thread() is created


def test_each_thread_has_its_own_the_others_the_first() -> None:
    first, second = object(), object()
    current_app.set_current(first)
    current_app.set_current(second)
    assert current_app.get() is second
    assert in_another_thread() is first
    current_app.set_default(second)
    assert in_another_thread() is second


def test_forgetting() -> None:
    first, second = object(), object()
    current_app.set_current(first)
    current_app.set_current(second)
    current_app.forget(second)
    assert current_app.get() is first
    current_app.forget(first)
    assert current_app.get() is None


def test_a_finder_is_asked_first() -> None:
    own, found = object(), [None]
    current_app.set_current(own)
    current_app.finders.append(lambda: found[0])
    assert current_app.get() is own
    found[0] = object()  # type: ignore[call-overload]
    assert current_app.get() is found[0]


def test_a_proxy_stands_for_what_it_finds_at_each_use() -> None:
    class Box:
        def __init__(self, content: int) -> None:
            self.content = content

        def __call__(self, more: int) -> int:
            return self.content + more

        def __repr__(self) -> str:
            return f"Box({self.content})"

    found = [Box(1)]
    proxy = current_app.Proxy(lambda: found[0])
    assert (proxy.content, proxy(2), repr(proxy), str(proxy)) == (1, 3, "Box(1)", "Box(1)")
    assert proxy == found[0]
    assert hash(proxy) == hash(found[0])
    assert isinstance(proxy, Box)
    assert "content" in dir(proxy)
    proxy.content = 5
    assert found[0].content == 5
    del proxy.content
    assert not hasattr(found[0], "content")
    found[0] = Box(7)
    assert proxy.content == 7
    assert proxy
    assert not current_app.Proxy(lambda: None)


def test_error_is_an_attribute_as_in_celery() -> None:
    assert TaskRegistry.NotRegistered is NotRegistered

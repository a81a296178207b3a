"""The application of a test as the processes of its worker make it anew: they cannot get the object itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from lavoro.app import Lavoro
from lavoro.config.settings import Settings
from lavoro.exceptions import ImproperlyConfigured


class Replica(NamedTuple):
    """The description of an application by values: the options of a worker that makes it."""

    app: str
    include: tuple[str, ...]
    settings: dict[str, Any]


def replica(app: Lavoro, include: tuple[str, ...] = ()) -> Replica:
    """Describe an application: by its variable where it is one of a module, else by its settings and tasks.

    Tasks that cannot be found by a name that is imported are not part of it. Raises ImproperlyConfigured for a setting
    that JSON cannot carry, and for functions and resources that it would lose.
    """
    modules = sorted({type(task).__module__ for task in app.tasks.values()} - {"__main__"})
    for module in modules:
        for name, value in list(vars(sys.modules.get(module, sys)).items()):
            if value is app:
                return Replica(f"{module}:{name}", include, {})
    if app.has_structure:
        raise ImproperlyConfigured(
            f"the processes of a worker for tests make {app!r} anew, without its start-up and shutdown functions and"
            " its resources: keep it in a variable of a module, or use the pool threads"
        )
    tasks = [path for task in app.tasks.values() if (path := _path_of(type(task)))]
    made = f"{__name__}:make({app.main or ''!r}, {tasks!r}, {list(app.conf.include)!r})"
    given = tuple(dict.fromkeys((*app.conf.include, *include, *(each for each in modules if each in sys.modules))))
    return Replica(made, given, dict(_settings(app.conf)))


def make(name: str, tasks: list[str], include: list[str]) -> Lavoro:
    """Make the application; its settings come with the options of the worker.

    Modules to include are imported before those of the tasks, as in the process of the test.
    """
    app = Lavoro(name, set_as_current=False)
    for module in include:
        import_module(module)
    for path in tasks:
        module, _, qualified = path.partition(":")
        app.register_task(getattr(import_module(module), qualified))
    return app


def _path_of(cls: type) -> str | None:
    """Return the name of a task's class, where it is one that is registered as a whole."""
    found = getattr(sys.modules.get(cls.__module__), cls.__qualname__, None)
    return f"{cls.__module__}:{cls.__qualname__}" if found is cls else None


def _settings(conf: Settings) -> Mapping[str, Any]:
    usual = Settings()
    given = {}
    for name in conf:
        value = conf[name]
        if name not in usual or usual[name] != value:
            given[name] = _plain(name, value)
    given.pop("include", None)
    return given


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(name, each) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(name, each) for key, each in value.items()}
    raise ImproperlyConfigured(
        f"the processes of a worker for tests cannot get the setting {name} = {value!r}: name the application by the"
        " module that makes it, or use the pool threads"
    )

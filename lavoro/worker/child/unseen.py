"""Warnings of values that the import of the application left in its thread, where other threads or tasks need them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from lavoro.worker.config import WorkerConfig


def of_the_import(app: Any, config: WorkerConfig) -> Iterator[str]:
    """Yield a warning for each value that tasks do not see, or that tasks which run at once share."""
    if config.pool in ("prefork", "solo"):
        return  # tasks run in the main thread, as the import did, one at a time
    for place, names in _thread_locals(app):
        yield (
            f"{place} is a threading.local, and {', '.join(names)} of it was set while the application was imported:"
            f" with the pool {config.pool} tasks run in other threads, which do not see that value;"
            " use a plain variable or a contextvars.ContextVar, or start the worker with -P prefork"
        )
    if config.slots > 1 and (name := _pushed_context()):
        yield (
            f"the application context of {name} was pushed while it was imported: the {config.slots} tasks that run at"
            " once in each process share it, its g and its database session; use FlaskLavoro or"
            " `with app.app_context():` in each task, or start the worker with -P prefork"
        )


def _thread_locals(app: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the place of each ``threading.local`` with values that a new thread does not have, with their names."""
    for module in _modules_of(app):
        holders = [(module.__name__, module)]
        holders += [
            (f"{module.__name__}.{name}", value)  # type: ignore[misc]
            for name, value in list(vars(module).items())
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        for place, holder in holders:
            for name, value in list(vars(holder).items()):
                if issubclass(type(value), threading.local) and (names := _only_here(value)):
                    yield f"{place}.{name}", names


def _modules_of(app: Any) -> list[ModuleType]:
    """Return the modules of the packages that define the tasks: those of libraries keep what they need themselves."""
    packages = {type(task).__module__.partition(".")[0] for task in app.tasks.values()} - {"lavoro"}
    return [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] in packages]


def _only_here(local: Any) -> list[str]:
    there: set[str] = set()

    def read() -> None:
        with contextlib.suppress(Exception):  # a subclass makes its values anew in each thread
            there.update(vars(local))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    return sorted(set(vars(local)) - there)


def _pushed_context() -> str | None:
    """Return the name of the Flask application whose context is active, None where there is none."""
    flask = sys.modules.get("flask")
    return flask.current_app.name if flask is not None and flask.has_app_context() else None

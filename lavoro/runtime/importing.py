"""Imports the modules that define tasks, by their names; lets imports run without collections."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


def import_named(name: str, setting: str) -> ModuleType:
    """Return the module that a setting names; raises ``ModuleNotFoundError`` with the setting where there is none."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        told = setting if setting == "imports" else f"{setting} (or the option -I)"
        raise ModuleNotFoundError(
            f"there is no module {name!r}, which the setting {told} names", name=error.name
        ) from error


def import_related(package: str, related_name: str | None) -> None:
    """Import a package's module of that name if there is one; errors inside of it are raised.

    A name that is no module may be a class in one, as Django lists applications: its package is taken.
    """
    try:
        import_module(package)
        if related_name is None:
            return
    except ModuleNotFoundError as error:
        outer = package.rpartition(".")[0]
        if related_name is None or error.name != package or not outer:
            raise
        package = outer
    name = f"{package}.{related_name}"
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise


@contextmanager
def collecting_nothing() -> Iterator[None]:
    """Import modules in the block: they stay, and each search of them for garbage would make the import longer."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()

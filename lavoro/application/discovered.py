"""Finds the modules of an application's packages by names such as ``tasks`` and ``startup``, and imports them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from lavoro.exceptions import ImproperlyConfigured
from lavoro.text.failing import failure

NAMES = ("scheduled", "shutdown", "startup", "tasks")
"""The names of the modules, or packages, that are imported, in this order."""


def import_below(package: str) -> list[ModuleType]:
    """Import the modules of these names in a package and in all packages below it, sorted by their full names.

    A package without any of them is not imported itself. Raises ``ImproperlyConfigured`` for a package that there is
    not, and for an error inside of a module, with the file and the line.
    """
    names = sorted(_names_below(package, _path_of(package)), key=lambda name: name.split("."))
    return [_imported(name, package) for name in names]


def _path_of(package: str) -> list[str]:
    try:
        found = import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise _told(package, error, package) from error
        raise ImproperlyConfigured(
            f"there is no package {package!r} to discover (app.discover(), the setting lavoro_discover)"
        ) from None
    except Exception as error:
        raise _told(package, error, package) from error
    if not hasattr(found, "__path__"):
        outer = package.rpartition(".")[0]
        hint = f": give the package that it is in, {outer!r}" if outer else ""
        raise ImproperlyConfigured(f"{package!r} is a module, and only a package can be discovered{hint}")
    return list(found.__path__)


def _names_below(package: str, path: list[str]) -> Iterator[str]:
    """Yield the names, from the folders alone: nothing is imported."""
    for found in iter_modules(path):
        name = f"{package}.{found.name}"
        if found.name in NAMES:
            yield name
        elif found.ispkg:
            yield from _names_below(name, [f"{folder}/{found.name}" for folder in path])


def _imported(name: str, package: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        raise _told(name, error, package) from error


def _told(name: str, error: Exception, package: str) -> ImproperlyConfigured:
    """Return the error of a module in one sentence, with the last line of the package that led to it."""
    folders = tuple(f"{folder}/" for folder in getattr(sys.modules.get(package), "__path__", ()))
    return ImproperlyConfigured(f"{name} cannot be imported: {failure(error, folders)}")

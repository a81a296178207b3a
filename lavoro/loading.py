"""Finding the application that ``-A`` names."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from lavoro.app import Lavoro
from lavoro.errors import ImproperlyConfigured


def find_app(name: str) -> Lavoro:
    """Import ``module`` or ``module:attribute`` and return the application in it.

    Without an attribute: ``app``, ``lavoro`` or ``celery``, then those of the submodule ``celery`` or ``lavoro_app``
    of a package, then the first application among the module's variables. A Flask application stands for the one
    registered with it. Raises ``ImproperlyConfigured``; errors inside the module pass through.
    """
    module_name, _, attribute = name.partition(":")
    module = _import(module_name)
    if attribute:
        return _as_app(_resolve(module, attribute), name)
    for candidate in ("app", "lavoro", "celery"):
        found = getattr(module, candidate, None)
        if _is_app(found):
            return _as_app(found, name)
    if hasattr(module, "__path__") and (inner := _submodule(module_name)) is not None:
        return inner
    for value in list(vars(module).values()):
        if _is_app(value):
            return _as_app(value, name)
    raise ImproperlyConfigured(f"module {module_name!r} has no Lavoro application; name it: -A {module_name}:variable")


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        parent, _, attribute = name.rpartition(".")
        if parent and (module := sys.modules.get(parent)) is not None and hasattr(module, attribute):
            holder = ModuleType(name)  # -A package.module.variable
            holder.app = getattr(module, attribute)  # type: ignore[attr-defined]
            return holder
        raise ImproperlyConfigured(
            f"there is no module {name!r} to load the application from (option -A, searched from {sys.path[0] or '.'})"
        ) from None


def _resolve(module: ModuleType, path: str) -> Any:
    value: Any = module
    for part in path.split("."):
        if not hasattr(value, part):
            raise ImproperlyConfigured(f"module {module.__name__!r} has no {path!r}")
        value = getattr(value, part)
    return value


def _submodule(package: str) -> Lavoro | None:
    for name in ("celery", "lavoro_app"):
        try:
            return find_app(f"{package}.{name}")
        except ImproperlyConfigured:
            continue
    return None


def _is_app(value: Any) -> bool:
    return isinstance(value, Lavoro) or _of_flask(value) is not None


def _of_flask(value: Any) -> Any:
    extensions = getattr(value, "extensions", None)
    if not isinstance(extensions, dict):
        return None
    return extensions.get("lavoro") or extensions.get("celery")


def _as_app(value: Any, name: str) -> Lavoro:
    app = value if isinstance(value, Lavoro) else _of_flask(value)
    if isinstance(app, Lavoro):
        return app
    raise ImproperlyConfigured(f"{name!r} is {type(value).__name__}, not a Lavoro application")

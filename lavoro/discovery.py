"""Finds the application that ``-A`` names."""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from lavoro.app import Lavoro
from lavoro.config import spelling
from lavoro.exceptions import ImproperlyConfigured
from lavoro.runtime.current_app import Proxy

NAMES = ("app", "application", "lavoro", "celery")
FACTORIES = ("create_app", "make_app")
CONFIG = "LAVORO_CONFIG"
"""The variable that names a module of settings: the option ``--config`` sets it, for all processes of a worker."""


def find_app(name: str) -> Lavoro:
    """Return the application that a name stands for, as ``_find`` says, with the settings of ``--config``."""
    app = _find(name)
    if module := os.environ.get(CONFIG):
        try:
            app.config_from_object(module, force=True)
        except ImportError as error:
            raise ImproperlyConfigured(f"--config: {module!r} cannot be imported: {error}") from None
    return app


def _find(name: str) -> Lavoro:
    """Import ``module``, ``module:attribute`` or ``module:factory("argument")`` and return the application in it.

    A module may also be named by its file. Without an attribute: ``app``, ``application``, ``lavoro`` or ``celery``,
    then those of the submodule ``celery`` or ``lavoro_app`` of a package, then the first application among the module's
    variables, then what a function ``create_app`` or ``make_app`` returns. A Flask application stands for the one
    registered with it. Raises ``ImproperlyConfigured``; errors inside the module pass through.
    """
    module_name, _, expression = name.partition(":")
    module = _import(_module_at(module_name) if _is_file(module_name) else module_name)
    if expression:
        return _as_app(_evaluate(module, expression), name)
    for candidate in NAMES:
        found = _behind(getattr(module, candidate, None))
        if _is_app(found):
            return _as_app(found, name)
    if hasattr(module, "__path__") and (inner := _submodule(module.__name__)) is not None:
        return inner
    for value in list(vars(module).values()):
        if _is_app(value):
            return _as_app(value, name)
    return _made_by_factory(module, name)


def ambiguity(name: str, app: Lavoro) -> str | None:
    """Say which other applications a module has, and how one is chosen; None where the choice is clear."""
    module = None if ":" in name else sys.modules.get(_module_at(name) if _is_file(name) else name)
    found: dict[int, str] = {}
    variables = dict(vars(module)) if module is not None else {}
    for variable in [*(usual for usual in NAMES if usual in variables), *variables]:
        if _is_app(value := variables[variable]):
            found.setdefault(_identity(value), variable)
    taken = found.pop(_identity(app), None)
    if taken is None or not found:
        return None
    others = list(found.values())
    return f"{name} has more than one application: {taken} is taken; choose with -A {name}:{others[0]}" + (
        f" (or {', '.join(others[1:])})" if others[1:] else ""
    )


def _identity(value: Any) -> int:
    """Tell applications apart: an extension, and the Flask application that it serves, are one."""
    app = _registered(value)
    if hasattr(app, "flask_app"):
        return id(app.flask_app if app is value else value)
    return id(app)


def _made_by_factory(module: ModuleType, name: str) -> Lavoro:
    for candidate in FACTORIES:
        factory = getattr(module, candidate, None)
        if inspect.isfunction(factory):
            return _as_app(_call(factory, f"{name}:{candidate}"), f"{name}:{candidate}()")
    if any(_is_waiting(_registered(value)) for value in vars(module).values()):
        raise ImproperlyConfigured(
            f"the application in module {module.__name__!r} waits for its init_app():"
            " name the module with the function create_app, or with what it has made"
        )
    raise ImproperlyConfigured(f"module {module.__name__!r} has no Lavoro application; name it: -A {name}:variable")


def _is_file(name: str) -> bool:
    return name.endswith(".py") or os.sep in name


def _module_at(path: str) -> str:
    """Make the module in a file importable and return its name; packages around it are part of the name."""
    place = Path(path).resolve()
    place = place.parent if place.name == "__init__.py" else place.with_suffix("") if place.suffix == ".py" else place
    root = place.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return ".".join(place.relative_to(root).parts)


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
            f"there is no module {name!r} to load the application from (option -A, searched from"
            f" {sys.path[0] or '.'}): check the name, and run the command in the folder that has the module"
        ) from None


def _evaluate(module: ModuleType, expression: str) -> Any:
    """Look a name up, or call a function: ``create_app``, ``create_app()``, ``create_app("live", debug=True)``."""
    where = f"{module.__name__}:{expression}"
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        raise ImproperlyConfigured(f"{expression!r} is neither a name nor the call of a function") from None
    if isinstance(tree, ast.Call):
        args, kwargs = _literals(tree)
        return _call(_resolve(module, ast.unparse(tree.func)), where, *args, **kwargs)
    value = _resolve(module, expression.strip())
    return _call(value, where) if inspect.isfunction(value) else value


def _literals(call: ast.Call) -> tuple[list[Any], dict[str, Any]]:
    try:
        args = [ast.literal_eval(argument) for argument in call.args]
        return args, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError:
        raise ImproperlyConfigured(f"the arguments in {ast.unparse(call)} must be literals") from None


def _call(factory: Callable[..., Any], where: str, /, *args: Any, **kwargs: Any) -> Any:
    try:
        inspect.signature(factory).bind(*args, **kwargs)
    except TypeError as error:
        name = where.partition("(")[0]
        raise ImproperlyConfigured(f'{where} cannot be called like this ({error}): -A "{name}(...)"') from None
    return factory(*args, **kwargs)


def _resolve(module: ModuleType, path: str) -> Any:
    value: Any = module
    for part in path.split("."):
        if not hasattr(value, part):
            usual = filter(partial(hasattr, module), NAMES)
            meant = spelling.nearest(part, frozenset(dir(value))) or next(usual, None)
            hint = f": did you mean {meant!r}?" if meant else "; name a variable or function of it: -A module:app"
            raise ImproperlyConfigured(f"module {module.__name__!r} has no {path!r}{hint}")
        value = getattr(value, part)
    return value


def _submodule(package: str) -> Lavoro | None:
    for name in ("celery", "lavoro_app"):
        try:
            return _find(f"{package}.{name}")
        except ImproperlyConfigured:
            continue
    return None


def _is_app(value: Any) -> bool:
    found = _registered(value)
    return isinstance(found, Lavoro) and not _is_waiting(found)


def _is_waiting(value: Any) -> bool:
    """Tell whether it is an extension that no application of the framework has been given to yet."""
    return isinstance(value, Lavoro) and getattr(value, "flask_app", value) is None


def _registered(value: Any) -> Any:
    """Return what is registered with a Flask application; anything else stands for itself."""
    if issubclass(type(value), Proxy):  # lavoro.current_app: to ask it makes an application where there is none
        return None
    # Statically, for flask.request and the like fail when they are asked for an attribute outside of a request.
    extensions = inspect.getattr_static(value, "extensions", None)
    if not isinstance(extensions, dict):
        return value
    return extensions.get("lavoro") or extensions.get("celery")


def _behind(value: Any) -> Any:
    """Return the object that a proxy stands for; a proxy that stands for nothing yet is returned itself."""
    if not hasattr(type(value), "_get_current_object"):
        return value
    try:
        return value._get_current_object()
    except (RuntimeError, LookupError):  # flask.current_app outside of a request, and its like
        return value


def _as_app(value: Any, name: str) -> Lavoro:
    value = _behind(value)
    app = _registered(value)
    if not isinstance(app, Lavoro) or _is_waiting(app):
        raise ImproperlyConfigured(f"{name!r} is {_described(value, app)}")
    if app is not value and hasattr(app, "flask_app"):
        app.flask_app = value  # one extension may serve several applications: this is the one that was asked for
    return app


def _described(value: Any, app: Any) -> str:
    if _is_waiting(app):
        return "waiting for its init_app(): name the function that makes the Flask application"
    if app is None:
        return f"{type(value).__name__} without Lavoro: call lavoro.init_app(app) where it is made"
    return f"{type(app).__name__}, not a Lavoro application"

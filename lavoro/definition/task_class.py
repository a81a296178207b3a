"""Makes the class of a task from a callable and its options."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

from lavoro.config.defaults import FLAG, MAPPING
from lavoro.definition.arguments import Arguments, annotations_of, signature_of
from lavoro.definition.hooks import HOOKS, checked_option
from lavoro.definition.models import Models
from lavoro.exceptions import ImproperlyConfigured
from lavoro.execution.coroutines import refuse_unawaited


def check_callable(function: Any) -> None:
    """Raise TypeError for an object that is not callable."""
    if not callable(function):
        raise TypeError(f"a task is made from a callable, not from {function!r:.100}; its name is given as name=...")


def check_no_options(task: Any, options: Mapping[str, Any]) -> None:
    """Raise ImproperlyConfigured if options are given to a task that has been made."""
    given = ", ".join(f"{name}=..." for name, value in options.items() if value not in (None, False))
    if given:
        raise ImproperlyConfigured(
            f"{task.name!r} is a task already, and `@app.task({given})` cannot change it: write `@app.periodic` above"
            " `@app.task`"
        )


def name_parts(function: Any) -> tuple[str, str]:
    """Return the name of a callable and its module; raises TypeError for an object that has no name."""
    name, module = getattr(function, "__name__", None), getattr(function, "__module__", None)
    if name is None or module is None:
        raise TypeError(f"{type(function).__name__} objects have no name: give the task one, name=...")
    return name, module


def task_class(
    name: str, function: Callable[..., Any], app: Any, options: Mapping[str, Any], *, base: type, bind: bool
) -> type:  # fmt: skip
    """Return a subclass of ``base`` whose ``run`` is a function, with the name and the signature of that.

    ``inspect.signature`` of the task is that of a call; ``__wrapped__`` is the function as it was decorated, with the
    task as its first argument if that is bound.
    """
    refuse_unawaited(name, function)
    named, models = _named(function), _models(name, function, app, options)
    body = function if models is None else models.function
    attributes = {
        **{option: value for option, value in options.items() if option not in _PYDANTIC},
        **{hook: checked_option(name, hook, options[hook]) for hook in HOOKS if options.get(hook) is not None},
        "name": name,
        "__takes_task__": bind,
        "run": _bound(body) if bind else staticmethod(body),
        "__models__": models,
        "__doc__": named.__doc__,
        "__module__": named.__module__,
        "__wrapped__": _bound(function) if bind else staticmethod(function),
        "__signature__": signature_of(function, skip_first=bind, follow_wrapped=True),
        "__arguments__": Arguments(name, function, skip_first=bind) if app.strict_typing else None,
    }
    return type(getattr(named, "__name__", name), (base,), attributes)


def shown_as(function: Any) -> dict[str, Any]:
    """Return the attributes that a task object has from its function; a class uses these names itself."""
    named = getattr(function, "__qualname__", None)
    return {"__annotations__": annotations_of(function), **({"__qualname__": named} if named else {})}


_PYDANTIC = {"pydantic": FLAG, "pydantic_strict": FLAG, "pydantic_context": MAPPING, "pydantic_dump_kwargs": MAPPING}


def _models(name: str, function: Callable[..., Any], app: Any, options: Mapping[str, Any]) -> Models | None:
    given = {option: options[option] for option in _PYDANTIC if options.get(option) is not None}
    for option, value in given.items():
        if not _PYDANTIC[option].accepts(value):
            raise ImproperlyConfigured(f"task {name!r}: {option} must be {_PYDANTIC[option].text}, not {value!r:.100}")
    if not given.pop("pydantic", False):
        return None
    context = {**given.get("pydantic_context", {}), "celery_app": app, "celery_task_name": name}
    return Models(
        function,
        validation={"strict": given.get("pydantic_strict", False), "context": context},
        dumping={"mode": "json", **given.get("pydantic_dump_kwargs", {})},
    )


def _named(function: Any) -> Any:
    """Return the object with the name, module and docstring: the function in a partial, a callable object's class."""
    if isinstance(function, functools.partial):
        return _named(function.func)
    return function if hasattr(function, "__name__") else type(function)


def _bound(body: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that takes the task first: Python binds functions alone, no other callables."""
    if isinstance(body, types.FunctionType):
        return body

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return body(self, *args, **kwargs)

    return run

"""Tasks whose arguments and results are pydantic models: validated where they run, sent as plain data.

The options and their effect are Celery's: ``pydantic``, ``pydantic_strict``, ``pydantic_context`` and
``pydantic_dump_kwargs``. Only arguments and results that are annotated with a model, or a model or None, are touched.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lavoro.definition.arguments import positional_names, reduced, signature_of
from lavoro.exceptions import ImproperlyConfigured


class Models:
    """The models in a function's annotations; ``function`` validates, calls it, and dumps the result.

    ``validation`` are arguments of pydantic's ``model_validate``, ``dumping`` those of ``model_dump``.
    """

    def __init__(
        self, function: Callable[..., Any], *, validation: Mapping[str, Any], dumping: Mapping[str, Any]
    ) -> None:  # fmt: skip
        self._base = _base_model()
        self._signature = _signature(function)
        hints = {name: _part(hint) for name, hint in _hints(function).items() if name in self._annotated()}
        self._models = {name: model for name, (model, _) in hints.items() if self._is_model(model)}
        """The models of arguments by name, and that of the result as ``return``."""
        self._optional = {name for name, (_, optional) in hints.items() if optional}
        self._validation, self._dumping = validation, dumping
        self._call = self._signature
        """The signature of a call: without resources."""
        self.function = self._wrapped(function)

    def _annotated(self) -> set[str]:
        """Return the names that stand for one value each."""
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {"return", *(name for name, p in self._signature.parameters.items() if p.kind not in variable)}

    def _is_model(self, hint: Any) -> bool:
        return inspect.isclass(hint) and typing.get_origin(hint) is None and issubclass(hint, self._base)

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def validating(*args: Any, **kwargs: Any) -> Any:
            call = self._signature.bind(*args, **kwargs)
            for name, value in call.arguments.items():
                if name in self._models and not (value is None and name in self._optional):
                    call.arguments[name] = self._models[name].model_validate(value, **self._validation)
            result = function(*call.args, **call.kwargs)
            model = self._models.get("return")
            return result.model_dump(**self._dumping) if model and isinstance(result, model) else result

        return validating

    def dumped(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, bound: bool
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return a caller's arguments with plain data for each model that the task can restore to an equal one."""
        if not any(isinstance(value, self._base) for value in (*args, *kwargs.values())):
            return args, kwargs
        try:
            call = self._call.bind(*([None] if bound else []), *args, **kwargs)
        except TypeError:  # the check of arguments has raised it, or is switched off
            return args, kwargs
        names = positional_names(self._call)[1 if bound else 0 :]
        plain = [self._plain(name, value) for name, value in zip(names, args, strict=False)]
        return [*plain, *args[len(plain) :]], {
            name: self._plain(name, value) if name in call.arguments else value for name, value in kwargs.items()
        }

    def leave_out(self, names: frozenset[str]) -> None:
        """Take in that these parameters are resources, which no caller gives."""
        self._call = reduced(self._signature, names)

    def _plain(self, name: str, value: Any) -> Any:
        model = self._models.get(name)
        if model is None or not isinstance(value, self._base) or hasattr(type(value), "__json__"):
            return value
        try:
            plain = value.model_dump(**self._dumping)
            return plain if model.model_validate(plain, **self._validation) == value else value
        except Exception:  # some validators work on a worker alone; then the serializer decides
            return value


def _part(hint: Any) -> tuple[Any, bool]:
    """Return the type of an annotation, and whether None is allowed instead."""
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ()
    if len(parts) != 2 or type(None) not in parts:
        return hint, False
    return next(part for part in parts if part is not type(None)), True


def _base_model() -> Any:
    try:
        return importlib.import_module("pydantic").BaseModel
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured("pydantic=True needs pydantic: pip install 'lavoro[pydantic]'") from error


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the function's signature; for a decorator that takes anything, that of the decorated function."""
    own = signature_of(function, skip_first=False)
    if own is None or all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in own.parameters.values()):
        return inspect.signature(function)
    return own


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations; those written as text stay text if one of their names cannot be found."""
    try:
        return typing.get_type_hints(function)
    except (NameError, AttributeError, TypeError):
        with contextlib.suppress(NameError):
            return dict(getattr(function, "__annotations__", {}))
        return {}

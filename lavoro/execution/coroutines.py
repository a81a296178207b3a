"""Refuses coroutines and generators as tasks, because a call of their function runs nothing."""

from __future__ import annotations

import inspect
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from lavoro.exceptions import ImproperlyConfigured

ASYNC_ADVICE = "no worker awaits it: write a plain function that calls asyncio.run()"
GENERATOR_ADVICE = "no worker goes through it: write a function that returns a list"
_KINDS = (
    (inspect.iscoroutinefunction, "is an async function", ASYNC_ADVICE),
    (inspect.isasyncgenfunction, "is an async generator function", ASYNC_ADVICE),
    (inspect.isgeneratorfunction, "is a generator function", GENERATOR_ADVICE),
)
_VALUES: dict[type, tuple[str, str]] = {
    CoroutineType: ("a coroutine", ASYNC_ADVICE),
    AsyncGeneratorType: ("an async generator", ASYNC_ADVICE),
    GeneratorType: ("a generator", GENERATOR_ADVICE),
}
UNAWAITED = frozenset(_VALUES)
"""The types of values that stand for a function that has not run."""


def refuse_unawaited(name: str, function: Any, *, kind: str = "task") -> None:
    """Raise ImproperlyConfigured for a function, method, partial or callable object whose call would run nothing."""
    called = function
    while (inner := getattr(called, "func", None)) is not None and callable(inner):  # functools.partial
        called = inner
    if callable(called) and not inspect.isroutine(called) and not inspect.isclass(called):
        called = type(called).__call__
    for is_one, what, advice in _KINDS:
        if is_one(called):
            raise ImproperlyConfigured(f"{kind} {name}: {_described(function)} {what}, and {advice}")


def _described(function: Any) -> str:
    while not hasattr(function, "__qualname__") and hasattr(function, "func"):
        function = function.func
    owner = function if hasattr(function, "__qualname__") else type(function)
    return f"{owner.__module__}.{owner.__qualname__}"


def unawaited_error(name: str, value: Any) -> TypeError:
    """Return the error of a task that has returned a value of such a type, and close the value."""
    what, advice = _VALUES[type(value)]
    if not isinstance(value, AsyncGeneratorType):
        value.close()  # else Python warns later that it was never awaited
    return TypeError(f"task {name} returned {what}, and {advice}")

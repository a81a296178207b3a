"""Celery's rules for automatic retries of failed tasks."""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lavoro.exceptions import Ignore, Reject, Retry

_NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, _NAMED)

Arguments = tuple[Sequence[Any] | None, Mapping[str, Any] | None]


def backoff(
    factor: int,
    retries: int,
    maximum: float = 600,
    full_jitter: bool = False,
    pick: Callable[[int], int] | None = None,
) -> int:
    """Return the countdown in seconds before retry number ``retries`` (from 0).

    Celery's formula (``get_exponential_backoff_interval``): ``min(maximum, factor * 2 ** retries)``; with full jitter
    a random whole number from 0 up to that, both included. ``pick`` is ``random.randrange``, looked up at each call, so
    that tests can replace it there.
    """
    # Beyond 2 ** 64 every maximum is exceeded; the exponent must not grow into a number of a million digits.
    countdown = int(min(maximum, factor * 2 ** min(retries, 64)))
    if full_jitter:
        countdown = (pick or random.randrange)(countdown + 1)
    return max(0, countdown)


def autoretry_options(task: Any, retries: int, *, limit: float | None = None) -> dict[str, Any]:
    """Return the arguments of ``Task.retry`` after an exception of ``autoretry_for``.

    Reads the task's ``retry_backoff``, ``retry_backoff_max``, ``retry_jitter`` and ``retry_kwargs``; the latter is
    copied, never changed, because threads share it. ``limit`` is the ``max_retries`` that this run gave ``retry``: it
    wins over both the task's and that of ``retry_kwargs``; so does ``override_max_retries``, an attribute of the task.
    """
    options = dict(getattr(task, "retry_kwargs", None) or {})
    factor = getattr(task, "retry_backoff", False)
    if factor:
        options["countdown"] = backoff(
            int(max(1.0, float(factor))),
            retries,
            maximum=getattr(task, "retry_backoff_max", 600),
            full_jitter=getattr(task, "retry_jitter", True),
        )
    limit = getattr(task, "override_max_retries", None) if limit is None else limit
    if limit is not None:
        options["max_retries"] = limit
    return options


def retrying(task: Any) -> Callable[..., Any]:
    """Wrap the task's ``run`` so that the exceptions of ``autoretry_for`` lead to a retry."""

    @functools.wraps(task.run)
    def run_or_retry(*args: Any, **kwargs: Any) -> Any:
        try:
            return task._orig_run(*args, **kwargs)  # looked up at each run: tests replace it
        except BaseException as error:
            retry_after(task, error)
            raise

    return run_or_retry


def retry_after(task: Any, error: BaseException) -> None:
    """Raise the retry of a run that has raised an exception of ``autoretry_for``; return for other ones."""
    if isinstance(error, (Ignore, Retry, Reject, task.dont_autoretry_for)) or not isinstance(error, task.autoretry_for):
        return
    request = task.request
    limit = vars(request).get("retry_limit", request.options.get("retry_limit"))
    raise task.retry(exc=error, **autoretry_options(task, request.retries, limit=limit)) from error


def merged_arguments(function: Callable[..., Any], former: Arguments, given: Arguments) -> Arguments:
    """Return the arguments of the next try, where ``retry`` was given only positional ones or only keywords.

    Those of the former call that mean another parameter stay, in the way Celery 5.7 merges them.
    """
    args, kwargs = given
    if not ((args is not None and kwargs is None and former[1]) or (kwargs is not None and args is None and former[0])):
        return given
    try:
        signature = inspect.signature(function)
        if args is not None:
            return args, _without_positional(signature, len(args), former[1] or {})
        return _with_keywords(signature, former[0] or (), kwargs or {})
    except (TypeError, ValueError):  # the call itself raises the error
        return given


def _without_positional(signature: inspect.Signature, count: int, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    positional = [parameter for parameter in signature.parameters.values() if parameter.kind in _POSITIONAL]
    replaced = {parameter.name for parameter in positional[:count] if parameter.kind is _NAMED}
    return {name: value for name, value in kwargs.items() if name not in replaced}


def _with_keywords(signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    bound = signature.bind_partial(*args)
    left = dict(kwargs)
    for name in kwargs:
        if name in bound.arguments and signature.parameters[name].kind is _NAMED:
            bound.arguments[name] = left.pop(name)
    return bound.args, {**bound.kwargs, **left}

"""Checks a call against the function's signature, so that a wrong call never becomes a task."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Keywords = tuple[frozenset[str], frozenset[str]]
"""The names of the keywords that a call must give, and of those that it may give."""

_LATE: dict[str, Any] = {}
_AS_TEXT: dict[str, Any] = {}
"""Leave annotations unevaluated: in Python 3.14 a name that only type checkers know would raise NameError."""
if sys.version_info >= (3, 14):
    import annotationlib

    _LATE["annotation_format"] = annotationlib.Format.FORWARDREF
    _AS_TEXT["format"] = annotationlib.Format.STRING

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function, as texts where one of them cannot be evaluated."""
    try:
        return inspect.get_annotations(function)
    except NameError:
        return inspect.get_annotations(function, **_AS_TEXT)


class Arguments:
    """Checks calls against a function's signature: fast for the right ones, precise for the wrong ones.

    ``skip_first`` leaves out the ``self`` of a bound task, ``without`` the parameters that are resources.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], *, skip_first: bool, without: frozenset[str] = frozenset()
    ) -> None:
        self.name, self._without = name, without
        own = signature_of(function, skip_first=skip_first)
        self._signature = own and reduced(own, without)
        self._keywords: list[Keywords] = []
        """By the number of positional arguments; empty if that number does not decide it."""
        self.names: tuple[str, ...] = ()
        """The names of the parameters that take positional arguments, in order."""
        if self._signature is None:
            return
        parameters = list(self._signature.parameters.values())
        names = _names(self._signature, function, skip_first=skip_first)
        self.names = tuple(name for name in names if name not in without) if without else names
        if {p.kind for p in parameters} == {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            self._signature = None  # a check of such calls takes 5 us each and refuses none
        elif all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters):
            self._keywords = _keywords_by_count(parameters)

    @functools.cached_property
    def defaults(self) -> dict[str, Any]:
        """The defaults of the parameters that have one."""
        parameters = self._signature.parameters.values() if self._signature is not None else ()
        return {each.name: each.default for each in parameters if each.default is not each.empty}

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise ``TypeError``, as the function itself would, unless it accepts the arguments."""
        if self._signature is None or self._fits(len(args), kwargs):
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            given = sorted(self._without.intersection(kwargs))
            hint = f"; the worker gives {given[0]!r}, which is a resource" if given else ""
            raise TypeError(f"{self.name}(): {error}{hint}") from None

    def _fits(self, count: int, kwargs: Mapping[str, Any]) -> bool:
        """Tell at little cost whether a call is right; False means that ``inspect`` has to check it."""
        if count >= len(self._keywords):
            return False
        required, allowed = self._keywords[count]
        return required <= kwargs.keys() <= allowed if kwargs else not required


def check_forms(args: object, kwargs: object) -> None:
    """Raise ``TypeError``, with Celery's words, for arguments that are no sequence and no mapping."""
    if not isinstance(args, (list, tuple)):
        raise TypeError(f"task args must be a list or tuple, not {type(args).__name__}")
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"task keyword arguments must be a mapping, not {type(kwargs).__name__}")


def signature_of(
    function: Callable[..., Any], *, skip_first: bool, follow_wrapped: bool = False
) -> inspect.Signature | None:
    """Return the signature of a call, without the ``self`` of a bound task; None for a builtin without one.

    Without ``follow_wrapped`` it is the function's own signature, not that of ``functools.wraps``: a decorator may add
    and remove arguments.
    """
    try:
        signature = inspect.signature(function, follow_wrapped=follow_wrapped, **_LATE)
    except (TypeError, ValueError):
        return None
    parameters = list(signature.parameters.values())
    if skip_first and parameters and parameters[0].kind in _POSITIONAL:
        return signature.replace(parameters=parameters[1:])
    return signature


def reduced(signature: inspect.Signature, without: frozenset[str]) -> inspect.Signature:
    """Return a signature without the parameters of these names."""
    if not without:
        return signature
    return signature.replace(parameters=[p for p in signature.parameters.values() if p.name not in without])


def positional_names(signature: inspect.Signature) -> list[str]:
    """Return the names of the parameters that take positional arguments, in order."""
    return [parameter.name for parameter in signature.parameters.values() if parameter.kind in _POSITIONAL]


def _names(signature: inspect.Signature, function: Callable[..., Any], *, skip_first: bool) -> tuple[str, ...]:
    """Return the names of positional arguments; for a decorator with ``*args``, those of the decorated function."""
    names = positional_names(signature)
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in signature.parameters.values()):
        inner = signature_of(function, skip_first=skip_first, follow_wrapped=True)
        names += [name for name in positional_names(inner) if name not in names] if inner is not None else []
    return tuple(names)


def _keywords_by_count(parameters: list[inspect.Parameter]) -> list[Keywords]:
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    found = []
    for count in range(len(positional) + 1):
        rest = parameters[count:]
        required = frozenset(p.name for p in rest if p.default is p.empty)
        found.append((required, frozenset(p.name for p in rest)))
    return found

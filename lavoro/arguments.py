"""What a function accepts, told at the call, so that a wrong call never becomes a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Keywords = tuple[frozenset[str], frozenset[str]]
"""The names of the keywords that a call must give, and of those that it may give."""


class Arguments:
    """Checks calls against a function's signature: fast for the right ones, precise for the wrong ones.

    ``skip_first`` leaves out the ``self`` of a bound task.
    """

    def __init__(self, name: str, function: Callable[..., Any], *, skip_first: bool) -> None:
        self.name = name
        self._signature: inspect.Signature | None = None
        self._keywords: list[Keywords] = []
        """By the number of positional arguments; empty where that does not decide it."""
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # a builtin without a signature accepts what it likes
            return
        parameters = list(signature.parameters.values())[1 if skip_first else 0 :]
        self._signature = signature.replace(parameters=parameters)
        if all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters):
            self._keywords = _keywords_by_count(parameters)

    @property
    def names(self) -> list[str]:
        """The names of the parameters that take positional arguments, in order."""
        parameters = self._signature.parameters.values() if self._signature is not None else ()
        return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise ``TypeError``, as the function itself would, unless it accepts the arguments."""
        if self._signature is None or self._fits(len(args), kwargs):
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None

    def _fits(self, count: int, kwargs: Mapping[str, Any]) -> bool:
        """Tell at little cost whether a call is right; False means that it must be looked at closely."""
        if count >= len(self._keywords):
            return False
        required, allowed = self._keywords[count]
        return required <= kwargs.keys() <= allowed if kwargs else not required


def _keywords_by_count(parameters: list[inspect.Parameter]) -> list[Keywords]:
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    found = []
    for count in range(len(positional) + 1):
        rest = parameters[count:]
        required = frozenset(p.name for p in rest if p.default is p.empty)
        found.append((required, frozenset(p.name for p in rest)))
    return found

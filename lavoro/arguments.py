"""What a function accepts, told at the call, so that a wrong call never becomes a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Arguments:
    """Checks calls against a function's signature: fast for the right ones, precise for the wrong ones.

    ``skip_first`` leaves out the ``self`` of a bound task.
    """

    def __init__(self, name: str, function: Callable[..., Any], *, skip_first: bool) -> None:
        self.name = name
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # a builtin without a signature accepts what it likes
            self._signature: inspect.Signature | None = None
            return
        parameters = list(signature.parameters.values())[1 if skip_first else 0 :]
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._signature = signature.replace(parameters=parameters)
        self._fewest = sum(p.default is p.empty for p in positional)
        self._most = 10**9 if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)
        self._needs_keywords = any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters)

    def check(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise ``TypeError``, as the function itself would, unless it accepts the arguments."""
        if self._signature is None:
            return
        if not kwargs and not self._needs_keywords and self._fewest <= len(args) <= self._most:
            return
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None

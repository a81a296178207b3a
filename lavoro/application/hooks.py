"""The functions of an application that run at the start and at the end of a worker: ``on_startup``, ``on_shutdown``."""

from __future__ import annotations

import inspect
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from lavoro.definition.comparison import Definition, difference
from lavoro.definition.resources import ENDING, Resources
from lavoro.exceptions import ImproperlyConfigured, LavoroError
from lavoro.execution.coroutines import refuse_unawaited
from lavoro.runtime import forking
from lavoro.runtime.slow import named_when_slow
from lavoro.text.failing import failure, shown

logger = logging.getLogger("lavoro.worker")

Scope = Literal["process", "worker", "fleet"]
SCOPES = {"start-up": ("fleet", "worker", "process"), "shutdown": ("process", "worker")}
"""By the kind of a function, where it may run, in the order of a worker's life."""

_numbers = itertools.count()


class Hook(NamedTuple):
    """One function."""

    function: Callable[..., Any]
    scope: str
    number: int
    """It grows with each definition."""

    @property
    def name(self) -> str:
        """The full name of the function."""
        return shown(self.function)


class Hooks:
    """The functions of one kind, ``start-up`` or ``shutdown``, of one application or of all (``shared``)."""

    def __init__(self, kind: str, shared: Hooks | None = None) -> None:
        self.kind, self._shared = kind, shared
        self._own: list[Hook] = []

    def add(self, function: Callable[..., Any], scope: str) -> None:
        """Add a function; the same one in the same scope is added once, however often its module is imported."""
        if scope not in SCOPES[self.kind]:
            raise ImproperlyConfigured(f"{shown(function)}: {self._refusal(scope)}")
        if not callable(function):
            raise TypeError(f"a {self.kind} function is a callable, not {function!r:.100}")
        if inspect.isgeneratorfunction(function):
            raise ImproperlyConfigured(
                f"{shown(function)} is a generator function, which makes a resource: @app.resource, not a {self.kind}"
                " function"
            )
        refuse_unawaited(shown(function), function, kind=f"{self.kind} function")
        given = Definition(function, {})
        if not any(
            each.scope == scope and difference(Definition(each.function, {}), given) is None for each in self._own
        ):
            self._own.append(Hook(function, scope, next(_numbers)))

    def _refusal(self, scope: str) -> str:
        allowed = " or ".join(map(repr, SCOPES[self.kind]))
        if scope == "fleet":
            return f"no node knows that it is the last one of its fleet: the scope of a shutdown function is {allowed}"
        return f"the scope of a {self.kind} function is {allowed}, not {scope!r}"

    @property
    def own(self) -> bool:
        """Whether there are any beside those of all applications."""
        return bool(self._own)

    def of(self, *scopes: str) -> list[Hook]:
        """Return the functions of these scopes in the order of their definition."""
        found = [*self._own, *(self._shared.of(*scopes) if self._shared is not None else ())]
        return sorted((each for each in found if each.scope in scopes), key=lambda each: each.number)


shared = {kind: Hooks(kind) for kind in SCOPES}
"""The functions of all applications, by kind."""


def added(to: Hooks, function: Any, scope: str) -> Any:
    """Add a function and return it; without one, return a decorator that does."""
    if function is None:
        return lambda function: added(to, function, scope)
    to.add(function, scope)
    return function


def start(hooks: Iterable[Hook], resources: Resources) -> None:
    """Run start-up functions; raises LavoroError that names the one that fails, and runs none after it."""
    for hook in hooks:
        try:
            _run(hook, "start-up", resources)
        except ENDING as error:
            raise LavoroError(f"the start-up function {hook.name} failed: {failure(error)}") from error


def stop(hooks: Iterable[Hook], resources: Resources) -> None:
    """Run shutdown functions, the last one first; an error is logged, and the others run."""
    for hook in sorted(hooks, key=lambda each: -each.number):
        try:
            _run(hook, "shutdown", resources)
        except ENDING as error:
            logger.exception("the shutdown function %s failed: %s", hook.name, failure(error))


def _run(hook: Hook, kind: str, resources: Resources) -> None:
    """Run one; a process that it forks ends with it."""
    depth = forking.depth
    try:
        with named_when_slow(f"the {kind} function {hook.name}"):
            resources.call(hook.function)
    except BaseException as error:
        forking.leave_new_fork(depth, error)
        raise
    forking.leave_new_fork(depth)

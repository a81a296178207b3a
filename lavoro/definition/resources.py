"""Resources: objects that a process makes once, hands to its tasks, and closes at its end."""

from __future__ import annotations

import atexit
import contextlib
import inspect
import logging
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, NamedTuple, TypeVar

from lavoro.definition.arguments import Arguments, reduced, signature_of
from lavoro.definition.comparison import Definition, difference
from lavoro.definition.handing import handed, handing, made_type, required, undefined
from lavoro.exceptions import ImproperlyConfigured, LavoroError
from lavoro.runtime.forking import ForkedLock, in_each_fork
from lavoro.runtime.slow import named_when_slow
from lavoro.text.failing import failure, shown

logger = logging.getLogger("lavoro.worker")

T = TypeVar("T")
ENDING = (Exception, SystemExit)
"""The errors of the application's code that end a step; ``sys.exit()`` must not end a process that others watch."""
Around = Callable[[], AbstractContextManager[Any]]
"""Makes the context in which code of the application runs outside of a task."""


class Live(NamedTuple):
    """The object that a process has made."""

    value: Any
    generator: Generator[Any, None, None]


class Resource(Generic[T]):
    """Something that a generator function makes and closes; ``@app.resource`` makes it of the function.

    The function itself is in ``__wrapped__``.
    """

    def __init__(self, name: str, function: Callable[..., Iterator[T]], resources: Resources) -> None:
        self.name, self.__wrapped__, self._resources = name, function, resources
        self._type: type | None = None
        self._lock = ForkedLock()
        self._live: Live | None = None
        in_each_fork(self._forget)

    @property
    def type(self) -> type | None:
        """The class of the object, as far as the function is annotated, and the class is defined by now."""
        self._type = self._type or made_type(self.__wrapped__)
        return self._type

    def get(self) -> T:
        """Return this process's object; the first call makes it."""
        if (overrides := self._resources.overrides) and self.name in overrides:
            return overrides[self.name]  # type: ignore[no-any-return]
        if (live := self._live) is None:
            with self._lock.held:
                live = self._live = self._live or self._resources.make(self)
        return live.value  # type: ignore[no-any-return]

    def close(self) -> None:
        """Run the rest of the function, if this process has made the object."""
        live, self._live = self._live, None
        if live is None:
            return
        try:
            next(live.generator)
        except StopIteration:
            return
        live.generator.close()
        raise RuntimeError("it yields twice")

    def _forget(self) -> None:
        """In a forked process: the parent's object is not closed here, and this process makes its own."""
        if self._live is not None:
            _of_parents.append(self._live)
            self._live = None

    def __repr__(self) -> str:
        return f"<resource {self.name}>"


_of_parents: list[Live] = []
"""Objects of parent processes, kept: to free a generator would run its end."""


class Resources:
    """The resources of one application; ``around`` makes the context in which they are made and closed."""

    def __init__(self, around: Around) -> None:
        self._around = around
        self._known: dict[str, Resource[Any]] = {}
        self._made: list[Resource[Any]] = []
        self.overrides: dict[str, Any] = {}
        """Objects that tests have put in the place of others, by name."""
        self._lock, self._users = ForkedLock(), 0
        self._closes = False
        """Whether the end of the process closes them; a worker does it before."""
        in_each_fork(self._forget)

    def _forget(self) -> None:
        self._made.clear()

    def __bool__(self) -> bool:
        """Whether any is defined."""
        return bool(self._known)

    # Definition

    def define(self, function: Callable[..., Iterator[T]], name: str | None) -> Resource[T]:
        """Make a resource; the same function under the same name is the same resource."""
        if not inspect.isgeneratorfunction(function):
            raise TypeError(f"a resource is made by a generator function (with one yield), not by {function!r:.100}")
        name = name or function.__name__
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = Resource(name, function, self)
        elif (apart := difference(_definition(known.__wrapped__), _definition(function))) is not None:
            raise ImproperlyConfigured(
                f"two resources have the name {name!r}: one is at {apart[0]}; the other is at {apart[1]}."
                " Give one of them another name (name=...)"
            )
        return known

    def attach(self, task: Any) -> None:
        """Let a task get the resources among its parameters, which are no longer part of its calls."""
        code = _code_of(task) if self._known else None
        found = handed(code.function, self._known, skip_first=code.skip_first) if code is not None else None
        former = task.__handed__
        if code is None or found is None or (former is not None and found.names == former.names):
            return
        task.__handed__ = found
        if former is None:
            entry = "_orig_run" if hasattr(task, "_orig_run") else "run"  # within the retries of autoretry_for
            setattr(task, entry, handing(getattr(task, entry), lambda: task.__handed__))
        signature = signature_of(code.function, skip_first=code.skip_first, follow_wrapped=True)
        if signature is not None:
            task.__signature__ = task.run.__signature__ = reduced(signature, found.names)
        if task.__arguments__ is not None:
            task.__arguments__ = Arguments(task.name, code.function, skip_first=code.skip_first, without=found.names)
        if task.__models__ is not None:
            task.__models__.leave_out(found.names)

    def check(self, tasks: Any, functions: Any) -> None:
        """Raise ImproperlyConfigured for a parameter that should be a resource, and is none, and for a circle."""
        for task in tasks:
            self.attach(task)
        for resource in self._known.values():
            self._order_of(resource, ())
        for function in (*functions, *(resource.__wrapped__ for resource in self._known.values())):
            found = handed(function, self._known, skip_first=False)
            names = found.names if found is not None else frozenset()
            if lacking := [name for name in required(function) if name not in names]:
                raise ImproperlyConfigured(f"{shown(function)} has a parameter {lacking[0]!r}, {self._no_resource}")
        for task in tasks:
            code = _code_of(task)
            if code is not None and (lacking := undefined(code.function, self._known, skip_first=code.skip_first)):
                raise ImproperlyConfigured(f"the task {task.name} has a parameter {lacking[0]!r}, {self._no_resource}")

    @property
    def _no_resource(self) -> str:
        return f"which is no resource; the resources are {', '.join(sorted(self._known)) or 'none'} (@app.resource)"

    def _order_of(self, resource: Resource[Any], above: tuple[str, ...]) -> None:
        """Raise ImproperlyConfigured if a resource uses itself, by way of others."""
        if resource.name in above:
            circle = [*above[above.index(resource.name) :], resource.name]
            raise ImproperlyConfigured(f"resources use each other in a circle: {' -> '.join(circle)}")
        found = handed(resource.__wrapped__, self._known, skip_first=False)
        for place in found.places if found is not None else ():
            self._order_of(place.resource, (*above, resource.name))

    # Life

    def call(self, function: Callable[..., Any]) -> Any:
        """Call a function of the application with the resources that it takes."""
        found = handed(function, self._known, skip_first=False)
        args, kwargs = found.joined((), {}) if found is not None else ((), {})
        with self._around():
            return function(*args, **kwargs)

    def make(self, resource: Resource[Any]) -> Live:
        """Make the object of a resource, after those that it uses; raises LavoroError that names it."""
        self._order_of(resource, ())
        try:
            with named_when_slow(f"making the resource {resource.name!r}"):
                generator = self.call(resource.__wrapped__)
                with self._around():
                    value = next(generator)
        except LavoroError:
            raise
        except StopIteration:
            place = _definition(resource.__wrapped__).place
            raise LavoroError(f"the resource {resource.name!r} yields nothing ({place})") from None
        except ENDING as error:
            raise LavoroError(f"the resource {resource.name!r} cannot be made: {failure(error)}") from error
        if not self._closes:
            atexit.register(_close, weakref.ref(self))
            self._closes = True
        self._made.append(resource)
        return Live(value, generator)

    def enter(self) -> None:
        """Take in that one more worker of this process uses them."""
        with self._lock.held:
            self._users += 1

    def leave(self) -> None:
        """Close them, unless another worker of this process uses them."""
        with self._lock.held:
            self._users -= 1
            last = self._users == 0
        if last:
            self.close()

    @property
    def opened(self) -> bool:
        """Whether this process has made any."""
        return bool(self._made)

    def make_all(self, tasks: Any) -> None:
        """Make those that tasks take, in the order of their definition."""
        taken = {place.resource for task in tasks if task.__handed__ is not None for place in task.__handed__.places}
        for resource in self._known.values():
            if resource in taken:
                resource.get()

    def close(self) -> None:
        """Close all that this process has made, the last one first; an error is logged, and the others are closed."""
        while self._made:
            resource = self._made.pop()
            try:
                with named_when_slow(f"closing the resource {resource.name!r}"), self._around():
                    resource.close()
            except ENDING as error:
                logger.exception("the resource %r cannot be closed: %s", resource.name, failure(error))

    @contextlib.contextmanager
    def override(self, resource: Resource[T] | str, value: T) -> Iterator[T]:
        """Put an object in the place of a resource while the block runs, in all threads of this process."""
        name = resource if isinstance(resource, str) else resource.name
        if name not in self._known:
            raise ImproperlyConfigured(
                f"there is no resource {name!r} to override: the resources are"
                f" {', '.join(sorted(self._known)) or 'none'}"
            )
        former = self.overrides
        self.overrides = {**former, name: value}
        try:
            yield value
        finally:
            self.overrides = {other: kept for other, kept in self.overrides.items() if other != name}
            if name in former:
                self.overrides = {**self.overrides, name: former[name]}


class Code(NamedTuple):
    """The function of a task, and whether its first parameter is the task."""

    function: Callable[..., Any]
    skip_first: bool


def _code_of(task: Any) -> Code | None:
    """Return the function that a task runs; None for Lavoro's own tasks."""
    if task.name.startswith("celery."):
        return None
    definition = task.__definition__
    if definition is not None and not isinstance(definition.code, type):
        return Code(definition.code, task.__takes_task__)
    run = inspect.getattr_static(type(task), "run")
    return Code(getattr(run, "__func__", run), not isinstance(run, staticmethod))


def _definition(function: Callable[..., Any]) -> Definition:
    return Definition(function, {})


def _close(resources: weakref.ref[Resources]) -> None:
    if (found := resources()) is not None:
        found.close()

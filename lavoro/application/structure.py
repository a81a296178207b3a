"""The part of an application around its tasks: modules to discover, functions of start and end, resources."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar, overload

from lavoro.application import hooks
from lavoro.application.hooks import Hooks, Scope
from lavoro.application.task_modules import TaskModules
from lavoro.definition.resources import Resource, Resources
from lavoro.inspector import Inspector
from lavoro.limits import Limits

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Structure:
    """Base of the application."""

    conf: Any
    tasks: Any
    _tasks: Any
    _once: Callable[[str, Callable[[], Any]], Any]
    _task_modules: TaskModules

    def discover(self, *packages: str) -> None:
        """Import, when the worker starts, the modules of these packages that have names of their own.

        In each package, and in all packages below it, these are ``scheduled``, ``shutdown``, ``startup`` and ``tasks``,
        as far as they exist. They are imported in the order of their full names. An error inside of one is raised as
        ``ImproperlyConfigured``, with the file and the line::

            app.discover("shop.domain")
        """
        self._task_modules.discover_below(packages)

    def packages_to_discover(self) -> list[str]:
        """Return the packages that the setting ``lavoro_discover`` names; for subclasses."""
        named = self.conf["lavoro_discover"] or ()
        return [named] if isinstance(named, str) else list(named)

    def in_context(self) -> AbstractContextManager[Any]:
        """Return the context in which resources are made and start-up functions run; for subclasses."""
        return contextlib.nullcontext()

    @property
    def inspector(self) -> Inspector:
        """The admin API: it finds, shows and changes tasks."""
        return self._once("inspector", lambda: Inspector(self))  # type: ignore[no-any-return]

    @property
    def limits(self) -> Limits:
        """The limits of keys: what they count and hold, and changes of their terms."""
        return self._once("limits", lambda: Limits(self))  # type: ignore[no-any-return]

    # Start and end

    @property
    def startup(self) -> Hooks:
        """The functions that run when a worker starts."""
        return self._once("startup", lambda: Hooks("start-up", hooks.shared["start-up"]))  # type: ignore[no-any-return]

    @property
    def shutdown(self) -> Hooks:
        """The functions that run when a worker stops."""
        return self._once("shutdown", lambda: Hooks("shutdown", hooks.shared["shutdown"]))  # type: ignore[no-any-return]

    @overload
    def on_startup(self, function: F, /) -> F: ...
    @overload
    def on_startup(self, function: None = None, /, *, scope: Scope = "process") -> Callable[[F], F]: ...
    def on_startup(self, function: Any = None, /, *, scope: Scope = "process") -> Any:
        """Run a function when a worker starts, before its first task: a decorator with and without parentheses.

        ``scope`` says how often: in each ``process``, once for each ``worker``, or once for all workers of a release
        (``fleet``, setting ``lavoro_release``). The fleet's functions run first, then those of the worker, then those
        of the process, each in the order of definition. It may take resources, as a task does. An error stops the
        worker with exit code 1::

            @app.on_startup
            def load_model() -> None: ...
        """
        return hooks.added(self.startup, function, scope)

    @overload
    def on_shutdown(self, function: F, /) -> F: ...
    @overload
    def on_shutdown(
        self, function: None = None, /, *, scope: Literal["process", "worker"] = "process"
    ) -> Callable[[F], F]: ...
    def on_shutdown(self, function: Any = None, /, *, scope: str = "process") -> Any:
        """Run a function when a worker stops, after the last task: of each ``process``, or of the ``worker``.

        The functions run in the reverse order of definition, before the resources are closed. An error is logged, and
        the others run::

            @app.on_shutdown(scope="worker")
            def tell() -> None: ...
        """
        return hooks.added(self.shutdown, function, scope)

    # Resources

    @property
    def resources(self) -> Resources:
        """The resources of the application."""
        return self._once("resources", lambda: Resources(lambda: self.in_context()))  # type: ignore[no-any-return]

    @overload
    def resource(self, function: Callable[..., Iterator[T]], /) -> Resource[T]: ...
    @overload
    def resource(
        self, function: None = None, /, *, name: str | None = None
    ) -> Callable[[Callable[..., Iterator[T]]], Resource[T]]: ...
    def resource(self, function: Any = None, /, *, name: str | None = None) -> Any:
        """Make a resource of a generator function: an object that each process makes once and closes at its end.

        A task gets it as the parameter of its name, or as one that is annotated with the class that the function
        yields. The parameter is no part of a call. A resource may use others in the same way::

            @app.resource
            def mailer() -> Iterator[Mailer]:
                with Mailer("smtp.example.org") as made:
                    yield made

            @app.task
            def welcome(address: str, mailer: Mailer = given) -> None: ...

            welcome.delay("ada@example.org")
        """
        if function is None:
            return lambda function: self.resource(function, name=name)
        made = self.resources.define(function, name)
        for task in list(self._tasks.values()):
            self.resources.attach(task)
        return made

    def override(self, resource: Resource[T] | str, value: T) -> AbstractContextManager[T]:
        """Put an object in the place of a resource while a block runs, for tests: in all threads of this process.

        The resource itself is not made::

            with app.override(mailer, FakeMailer()) as fake:
                welcome("ada@example.org")
        """
        return self.resources.override(resource, value)

    @property
    def has_structure(self) -> bool:
        """Whether it has functions or resources of its own."""
        return self.startup.own or self.shutdown.own or bool(self.resources)

    def check_structure(self) -> None:
        """Raise ImproperlyConfigured for a resource that a task or a function asks for in vain."""
        functions = [*self.startup.of(*hooks.SCOPES["start-up"]), *self.shutdown.of(*hooks.SCOPES["shutdown"])]
        self.resources.check(self.tasks.values(), [each.function for each in functions])

"""Shared tasks, and shared functions of start and end: decorated where no application is known, they belong to all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from lavoro.application import hooks
from lavoro.application.hooks import Scope
from lavoro.execution.coroutines import refuse_unawaited
from lavoro.runtime import current_app
from lavoro.task import Task

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


@overload
def shared_task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(
    function: None = None, /, *, bind: Literal[True], **options: Any
) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
@overload
def shared_task(
    function: None = None, /, *, bind: Literal[False] = False, **options: Any
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def shared_task(function: Any = None, /, **options: Any) -> Any:
    """Make a task for every application: the decorator for libraries and blueprints, which know none.

    Options are those of ``Lavoro.task``. What it returns stands for the task of the application that is current when
    it is used::

        @shared_task(queue="mail")
        def send_welcome(address: str) -> None: ...
    """
    if function is None:
        return lambda function: SharedTask(function, options)
    return SharedTask(function, options)


@overload
def on_startup(function: F, /) -> F: ...
@overload
def on_startup(function: None = None, /, *, scope: Scope = "process") -> Callable[[F], F]: ...
def on_startup(function: Any = None, /, *, scope: Scope = "process") -> Any:
    """Run a function when a worker of any application starts; see ``Lavoro.on_startup``."""
    return hooks.added(hooks.shared["start-up"], function, scope)


@overload
def on_shutdown(function: F, /) -> F: ...
@overload
def on_shutdown(function: None = None, /, *, scope: Literal["process", "worker"] = "process") -> Callable[[F], F]: ...
def on_shutdown(function: Any = None, /, *, scope: str = "process") -> Any:
    """Run a function when a worker of any application stops; see ``Lavoro.on_shutdown``."""
    return hooks.added(hooks.shared["shutdown"], function, scope)


class SharedTask(current_app.Proxy):
    """Stands for the current application's copy of a shared task."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        if isinstance(function, SharedTask):
            raise TypeError("@shared_task was applied more than once to the same function: remove one of them")
        refuse_unawaited(str(options.get("name") or getattr(function, "__name__", "")), function)
        own = function if isinstance(function, Task) else None

        def made_for(app: Any) -> Any:
            if own is None or own.__definition__ is None:
                return app.task(**options)(function)
            return (
                own
                if own.app is app
                else app.task(**{"name": own.name, **own.__definition__.options, **options})(own.__definition__.code)
            )

        super().__init__(lambda: current_app.get().shared_copy(made_for))
        current_app.shared.append(made_for)
        for name in ("__doc__", "__name__", "__qualname__", "__module__"):
            object.__setattr__(self, name, getattr(function, name, None))
        if not options.get("bind"):  # else it is that of the task, which is its first argument
            object.__setattr__(self, "__wrapped__", function)

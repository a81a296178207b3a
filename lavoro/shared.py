"""Shared tasks: decorated where no application is known, they belong to every one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from lavoro.execution.coroutines import refuse_unawaited
from lavoro.runtime import current_app
from lavoro.task import Task

P = ParamSpec("P")
R = TypeVar("R")


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

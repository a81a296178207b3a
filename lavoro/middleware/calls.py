"""The base class of middleware, and the values that it gets: one run of a task, and one call of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lavoro.execution.context import Context


class RunCall:
    """One run of a task.

    ``args``, a tuple, and ``kwargs``, a dict of this run's own, may be changed: the task gets them. The request keeps
    the arguments of the message, with which a retry begins. ``request`` is ``self.request`` of the task.
    """

    __slots__ = ("args", "enter", "kwargs", "request", "task")

    def __init__(
        self, task: Any, request: Context, args: tuple[Any, ...], kwargs: dict[str, Any], enter: Callable[..., Any]
    ) -> None:
        self.task = task
        self.request = request
        self.args = args
        self.kwargs = kwargs
        self.enter = enter
        """Calls the task's function, with its arguments."""

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<run of {self.name}[{self.request.id}]>"


class SendCall:
    """One call of a task, before its message is made.

    ``args``, ``kwargs``, ``options`` and ``headers`` may be changed. The options are those of ``apply_async``; the
    headers, one of them, travel with the task and are attributes of its request.
    """

    __slots__ = ("_headers", "args", "deliver", "kwargs", "name", "options")

    def __init__(
        self, name: str, args: Any, kwargs: Mapping[str, Any], options: dict[str, Any], deliver: Callable[..., Any]
    ) -> None:
        self.name = name
        self.args = tuple(args) if isinstance(args, list) else args
        self.kwargs = dict(kwargs)
        self.options = options
        self.deliver = deliver
        """Sends the task, with its arguments and options."""
        self._headers: dict[str, Any] | None = None

    @property
    def headers(self) -> dict[str, Any]:
        """The headers of the call: a dict of its own, that may be changed in place."""
        given: Any = self.options.get("headers")
        if given is None or given is not self._headers:
            given = self.options["headers"] = self._headers = dict(given or {})
        headers: dict[str, Any] = given
        return headers

    def __repr__(self) -> str:
        return f"<call of {self.name}>"


class Middleware:
    """Wraps the runs of tasks, their calls, or both: a subclass writes one of the two methods, or both.

    Code before ``proceed`` runs before the task or the call, code after it afterwards. ``proceed`` returns the value of
    the task, or its result object; it raises what these raise. Return its value, another one, or raise an error::

        class Tenant(Middleware):
            def send(self, call: SendCall, proceed: Callable[[SendCall], Any]) -> Any:
                call.headers["tenant"] = current_tenant()
                return proceed(call)

            def run(self, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
                with tenant(call.request.get("tenant")):
                    return proceed(call)

        app.middleware.add(Tenant())
    """

    def run(self, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        """Wrap one run of a task, in the process that runs it. Without ``proceed`` the task does not run."""
        return proceed(call)

    def send(self, call: SendCall, proceed: Callable[[SendCall], Any]) -> Any:
        """Wrap one call, in the process that makes it. Without ``proceed`` nothing is sent."""
        return proceed(call)

"""What a running task knows of itself: ``self.request``."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from typing import Any

from lavoro.message import Job

_OPTION_NAMES = {"group": "group_id", "callbacks": "link", "errbacks": "link_error"}


class Context:
    """The request of one task run, with Celery's fields.

    Custom headers are attributes too, and are collected in ``headers``; unknown names are None, as in Celery. What the
    job says is looked up when it is asked for: most tasks never ask.
    """

    __slots__ = ("__dict__", "args", "job", "kwargs", "node", "options", "outer")

    def __init__(self, options: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        self.job: Job | None = None
        self.args: Any = None
        self.kwargs: Any = None
        self.options: dict[str, Any] = dict(options or {})
        self.node: Any = None
        self.outer: Context | None = None
        self.update(**fields)

    @classmethod
    def of(
        cls, job: Job, args: Any, kwargs: Any, options: dict[str, Any], *, node: Any, outer: Context | None
    ) -> Context:
        """Build the request of a claimed task; ``node`` is the executor's."""
        self = cls.__new__(cls)
        self.job = job
        self.args = args
        self.kwargs = kwargs
        self.options = options
        self.node = node
        self.outer = outer
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _FROM_JOB and self.job is not None:
            value = _FROM_JOB[name](self)
        elif name in _DEFAULTS:
            value = _DEFAULTS[name]
        else:
            options = self.options
            known = _OPTION_NAMES.get(name, name)
            return options[known] if known in options else (options.get("headers") or {}).get(name)
        self.__dict__[name] = value
        return value

    @property
    def headers(self) -> dict[str, Any] | None:
        """The custom headers given to ``apply_async``."""
        return self.options.get("headers")

    @property
    def properties(self) -> dict[str, Any]:
        """Options of ``apply_async`` that Lavoro does not know."""
        return {"correlation_id": self.id, "priority": self.priority, **(self.options.get("properties") or {})}

    @property
    def correlation_id(self) -> str | None:
        """The task's id."""
        found: str | None = self.options.get("correlation_id") or self.id
        return found

    @property
    def root_id(self) -> str | None:
        """The id of the task that began this family of tasks; its own when it was called by none."""
        root: str | None = self.options.get("root_id") or self.id
        return root

    @property
    def parent_id(self) -> str | None:
        """The id of the task that sent this one."""
        return self.options.get("parent_id")

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        """Hard and soft time limit in seconds, in this order (as Celery sends them)."""
        return self.options.get("time_limit"), self.options.get("soft_time_limit")

    @property
    def delivery_info(self) -> dict[str, Any]:
        """Where the task came from, in the words of AMQP."""
        return {
            "exchange": "",
            "routing_key": self.queue,
            "priority": self.priority,
            "redelivered": self.attempt > self.retries + 1,
        }

    @property
    def children(self) -> list[Any]:
        """The results of the tasks sent by this one."""
        return self.__dict__.setdefault("sent", [])  # type: ignore[no-any-return]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field or a header."""
        value = getattr(self, key)
        return default if value is None else value

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set fields."""
        for name, value in dict(*args, **kwargs).items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        return f"<Context: {self.task}[{self.id}]>"


_FROM_JOB: dict[str, Callable[[Any], Any]] = {
    "id": lambda self: self.options.get("task_id") or str(self.job.id),
    "task": lambda self: self.job.name,
    "retries": lambda self: self.job.retries,
    "attempt": lambda self: self.job.attempt,
    "queue": lambda self: self.job.queue,
    "priority": lambda self: self.job.priority,
    "expires": lambda self: self.job.expires,
    "eta": lambda self: self.job.due,
    "called_directly": lambda self: False,
    "hostname": lambda self: self.node.hostname,
    "is_eager": lambda self: self.node.eager,
    "report": lambda self: self.node.report,
}
_DEFAULTS: dict[str, Any] = {
    "id": None, "task": None, "retries": 0, "attempt": 0, "called_directly": True, "is_eager": False, "utc": True,
    "lang": "py",
}  # fmt: skip


current: contextvars.ContextVar[Context | None] = contextvars.ContextVar("lavoro_request", default=None)
"""The request of the innermost task that is running here."""


report_by_id: Callable[[str, str, Any], bool] | None = None
"""In a worker: stores a state for a task by its id, and tells whether this process holds that task."""


def request_of(name: str) -> Context | None:
    """Return the request of the innermost run of the task of that name, None outside."""
    request = current.get()
    while request is not None and request.task != name:
        request = request.outer
    return request

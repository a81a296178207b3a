"""What a running task knows of itself: ``self.request``."""

from __future__ import annotations

import contextvars
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from lavoro.message import Job

_OPTION_NAMES = {"group": "group_id", "callbacks": "link", "errbacks": "link_error", "timelimit": None}


class Context:
    """The request of one task run, with Celery's fields.

    Custom headers are attributes too, and are collected in ``headers``; unknown names are None, as in Celery.
    """

    id: str | None = None
    task: str | None = None
    args: Any = None
    kwargs: Any = None
    retries = 0
    attempt = 0
    hostname: str | None = None
    is_eager = False
    called_directly = True
    queue: str | None = None
    priority: int | None = None
    expires: dt.datetime | None = None
    eta: dt.datetime | None = None
    utc = True
    lang = "py"
    origin: str | None = None
    job: Job | None = None
    outer: Context | None = None
    retry_pending: Any = None
    report: Callable[[Job, str, Any], None] | None = None

    def __init__(self, options: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        self.options: dict[str, Any] = dict(options or {})
        self.__dict__.update(fields)

    @classmethod
    def of(cls, job: Job, args: Any, kwargs: Any, options: dict[str, Any], hostname: str) -> Context:
        """Build the request of a claimed task."""
        self = cls.__new__(cls)
        self.__dict__.update(
            id=options.get("task_id") or str(job.id),
            task=job.name,
            args=args,
            kwargs=kwargs,
            retries=job.retries,
            attempt=job.attempt,
            hostname=hostname,
            called_directly=False,
            queue=job.queue,
            priority=job.priority,
            expires=job.expires,
            eta=job.due,
            job=job,
            options=options,
        )
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        options = self.__dict__.get("options") or {}
        known = _OPTION_NAMES.get(name) or name
        if known in options:
            return options[known]
        return (options.get("headers") or {}).get(name)

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
        return self.options.get("correlation_id") or self.id

    @property
    def root_id(self) -> str | None:
        """The id of the task that began this family of tasks; its own when it was called by none."""
        return self.options.get("root_id") or self.id

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
        self.__dict__.update(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Context: {self.task}[{self.id}]>"


current: contextvars.ContextVar[Context | None] = contextvars.ContextVar("lavoro_request", default=None)
"""The request of the innermost task that is running here."""


def request_of(name: str) -> Context | None:
    """Return the request of the innermost run of the task of that name, None outside."""
    request = current.get()
    while request is not None and request.task != name:
        request = request.outer
    return request

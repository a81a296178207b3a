"""The request of a running task: ``self.request``."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from datetime import datetime
from typing import Any

from lavoro.protocol.message import Job
from lavoro.text.printable import described


class Context:
    """The request of one task run, with Celery's fields; each can be set.

    Custom headers are attributes too, and are collected in ``headers``; unknown names raise AttributeError. Fields
    of the job are read when they are first used: most tasks never use them.
    """

    __slots__ = ("__dict__", "args", "declared", "job", "kwargs", "options", "outer", "owner", "run_settings")

    def __init__(self, *args: Any, **given: Any) -> None:
        self._detach()
        self.owner: str | None = None
        """The name of the task whose request this is."""
        self.outer: Context | None = None
        self.update(*args, **given)
        fields = vars(self)
        if fields.get("headers") is None:
            fields["headers"] = {name: value for name, value in fields.items() if name not in _KNOWN} or None

    @classmethod
    def of(
        cls, job: Job, args: Any, kwargs: Any, options: dict[str, Any], *, settings: Any, outer: Context | None,
        declared: Any = None,
    ) -> Context:  # fmt: skip
        """Build the request of a claimed task; ``settings`` are the worker's, ``declared`` the task object if known."""
        self = cls.__new__(cls)
        self.job = job
        self.args = args
        self.kwargs = kwargs
        self.options = options
        self.run_settings = settings
        self.outer = outer
        self.owner = job.name
        self.declared = declared
        return self

    @classmethod
    def made_up(cls, owner: str, outer: Context | None, base: Context | None, *args: Any, **fields: Any) -> Context:
        """Build a request without a job: of a direct call, or for tests.

        It has the fields of ``base`` too, the request that was current before, unless that is one of a job.
        """
        if base is not None and base.job is None:
            fields = {"args": base.args, "kwargs": base.kwargs, **vars(base), **fields}
        self = cls(*args, **fields)
        self.owner, self.outer = owner, outer
        vars(self).setdefault("task", owner)
        return self

    def _detach(self) -> None:
        self.job: Job | None = None
        self.args: Any = None
        self.kwargs: Any = None
        self.options: dict[str, Any] = {}
        self.run_settings: Any = None
        self.declared: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _FROM_JOB and self.job is not None:
            value = _FROM_JOB[name](self)
        elif name in _DEFAULTS:
            value = _DEFAULTS[name]
        elif name == "children":
            value = []
        else:
            value = self._header(name)
        self.__dict__[name] = value
        return value

    def _header(self, name: str) -> Any:
        headers = self.options.get("headers") or {}
        if name not in headers:
            raise AttributeError(f"the request of a task has no field and no header {name!r}")
        return headers[name]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field or a header, the default for an unknown name."""
        return getattr(self, key, default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set fields; ``timelimit`` sets ``time_limit`` and ``soft_time_limit`` too."""
        fields = dict(*args, **kwargs)
        for name, value in fields.items():
            setattr(self, name, value)
        if "timelimit" in fields:
            limits = fields["timelimit"]
            pair = isinstance(limits, (list, tuple)) and len(limits) >= 2
            self.__dict__.update(zip(("time_limit", "soft_time_limit"), limits if pair else (None, None), strict=False))

    def clear(self) -> None:
        """Forget all fields: each has its default again."""
        self.__dict__.clear()
        self._detach()

    def as_execution_options(self) -> dict[str, Any]:
        """Return the options with which ``apply_async`` makes a call like this one."""
        hard, soft = self.timelimit or (None, None)
        names, stamps = self.stamped_headers, self.stamps or {}
        return {
            **{option: getattr(self, field) for option, field in _EXECUTION.items()},
            "time_limit": hard,
            "soft_time_limit": soft,
            "headers": dict(self.headers or {}),
            **({"stamped_headers": names, **{name: stamps[name] for name in names if name in stamps}} if names else {}),
        }

    def __repr__(self) -> str:
        return f"<Context: {self.task}[{self.id}]>"


def _limit(self: Context, name: str) -> float | None:
    """Return a limit of the call, else that of the task or the setting."""
    limit: float | None = self.options.get(name) or getattr(self.declared, name, None)
    return limit


def _ignores(self: Context) -> bool:
    ignore = self.options.get("ignore_result")
    return bool(getattr(self.declared, "ignore_result", False) if ignore is None else ignore)


def _shown(self: Context, name: str) -> str:
    """Return the repr of the arguments that the call gave, else one made here; both are made at once, and kept."""
    if given := self.options.get(name):
        return str(given)
    args = tuple(self.args or ())
    known = self.declared
    both = (described(args), described(self.kwargs)) if known is None else known.__shown__(args, self.kwargs)
    for other, text in zip(("argsrepr", "kwargsrepr"), both, strict=True):
        vars(self).setdefault(other, self.options.get(other) or text)
    return str(vars(self)[name])


def _expires(self: Context) -> str | None:
    expires = self.job.expires if self.job is not None else None
    return expires.isoformat() if expires is not None else None


def _properties(self: Context) -> dict[str, Any]:
    reply_to = {"reply_to": self.reply_to} if self.reply_to else {}
    own = self.options.get("properties") or {}
    return {"correlation_id": self.correlation_id, "priority": self.priority, **reply_to, **own}


def _delivery_info(self: Context) -> dict[str, Any]:
    """Return the exchange and routing key of the task, as AMQP calls them."""
    return {
        "exchange": "",
        "routing_key": self.queue,
        "priority": self.priority,
        "redelivered": self.attempt > self.retries + 1,
    }


def _tick(self: Context, name: str) -> Any:
    """Return what the ticker of the schedule told; None and False for calls of no schedule."""
    return (self.options.get("tick") or {}).get(name)


def _nominal_time(self: Context) -> datetime | None:
    at = _tick(self, "at")
    return None if at is None else datetime.fromisoformat(at)


def _option(name: str) -> Callable[[Any], Any]:
    return lambda self: self.options.get(name)


_FROM_JOB: dict[str, Callable[[Any], Any]] = {
    "id": lambda self: self.options.get("task_id") or str(self.job.id),
    "task": lambda self: self.job.name,
    "retries": lambda self: self.job.retries,
    "attempt": lambda self: self.job.attempt,
    "queue": lambda self: self.job.queue,
    "priority": lambda self: self.job.priority,
    "eta": _option("eta"),
    "expires": lambda self: self.options.get("expires") or _expires(self),
    "called_directly": lambda self: False,
    "hostname": lambda self: self.run_settings.hostname,
    "is_eager": lambda self: self.run_settings.eager,
    "report": lambda self: self.run_settings.report,
    "headers": _option("headers"),
    "properties": _properties,
    "delivery_info": _delivery_info,
    "correlation_id": lambda self: self.options.get("correlation_id") or self.id,
    "root_id": lambda self: self.options.get("root_id") or self.id,
    "parent_id": _option("parent_id"),
    "time_limit": lambda self: _limit(self, "time_limit"),
    "soft_time_limit": lambda self: _limit(self, "soft_time_limit"),
    "timelimit": lambda self: [_limit(self, "time_limit"), _limit(self, "soft_time_limit")],
    "ignore_result": _ignores,
    "argsrepr": lambda self: _shown(self, "argsrepr"),
    "kwargsrepr": lambda self: _shown(self, "kwargsrepr"),
    "group": _option("group_id"),
    "callbacks": _option("link"),
    "errbacks": _option("link_error"),
    "replaced_task_nesting": lambda self: self.options.get("replaced_task_nesting") or 0,
    "schedule": lambda self: _tick(self, "schedule"),
    "nominal_time": _nominal_time,
    "late": lambda self: bool(_tick(self, "late")),
    "stamps": lambda self: self.options.get("stamps") or {},
    **{
        name: _option(name)
        for name in ("chain", "chord", "group_index", "stamped_headers", "origin", "reply_to", "shadow")
    },
}
_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys((
        "callbacks", "chain", "chord", "correlation_id", "delivery_info", "errbacks", "eta", "expires",
        "group", "group_index", "headers", "hostname", "id", "logfile", "loglevel", "origin", "parent_id", "priority",
        "properties", "queue", "reply_to", "report", "root_id", "shadow", "soft_time_limit", "stamped_headers",
        "schedule", "nominal_time", "stamps", "task", "taskset", "time_limit", "timelimit", "utc",
    )),
    "attempt": 0, "called_directly": True, "ignore_result": False, "is_eager": False, "late": False, "lang": "py",
    "replaced_task_nesting": 0, "retries": 0,
}  # fmt: skip
_KNOWN = frozenset({*_FROM_JOB, *_DEFAULTS, *Context.__slots__, "children", "compression"})
_EXECUTION = {
    "task_id": "id", "root_id": "root_id", "parent_id": "parent_id", "group_id": "group", "group_index": "group_index",
    "shadow": "shadow", "chord": "chord", "chain": "chain", "link": "callbacks", "link_error": "errbacks",
    "expires": "expires", "retries": "retries", "reply_to": "reply_to",
    "replaced_task_nesting": "replaced_task_nesting", "origin": "origin",
}  # fmt: skip
"""Options of a call, and the fields that they become."""


current: contextvars.ContextVar[Context | None] = contextvars.ContextVar("lavoro_request", default=None)
"""The request of the innermost task that is running here."""


report_by_id: Callable[[str, str, Any], bool] | None = None
"""In a worker: stores a state for a task by its id, and tells whether that task is in flight in this process."""


def request_of(name: str) -> Context | None:
    """Return the request of the innermost run of the task of that name, None outside."""
    request = current.get()
    while request is not None and request.owner != name:
        request = request.outer
    return request


def drop_request(name: str) -> None:
    """Drop the innermost request of the task of that name."""
    request, inner = current.get(), None
    while request is not None and request.owner != name:
        request, inner = request.outer, request
    if request is None:
        return
    if inner is None:
        current.set(request.outer)
    else:
        inner.outer = request.outer

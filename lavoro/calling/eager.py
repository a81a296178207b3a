"""Eager mode: runs a task in the calling process, as a worker would run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from lavoro import signals, states
from lavoro.calling.message_builder import calling_task, message_builder
from lavoro.calling.publish_signals import hostname
from lavoro.exceptions import Ignore, Reject, Retry
from lavoro.execution.decode import Call
from lavoro.execution.executor import Run, handle_end
from lavoro.execution.report import tell_postrun
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.failure import ExceptionInfo
from lavoro.protocol.message import Job, Message
from lavoro.protocol.outcome import Finished, Outcome, Requeued
from lavoro.result import EagerResult, denied_join_result
from lavoro.store import results

Limit = Callable[[float, BaseException], AbstractContextManager[Any]]


def run_eagerly(
    app: Any, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any], *,
    throw: bool | None = None,
) -> EagerResult[Any]:  # fmt: skip
    """Run a task now, with request, handlers and signals; its retries follow at once.

    ``throw`` (default: setting ``task_eager_propagates``) raises the exception of the task, a ``Retry`` too.
    """
    return _run(app, task, (args, dict(kwargs)), options, throw)


def run_here(
    app: Any, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *,
    limit: Limit,
) -> EagerResult[Any]:  # fmt: skip
    """Run a task to its end as a worker does: within its limits, and without any exception of it or its handlers.

    ``limit`` raises an error inside its block after so many seconds.
    """
    with denied_join_result():
        return _run(app, task, (args, dict(kwargs)), {}, False, limit=limit)


def send_eagerly(
    app: Any, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> EagerResult[Any]:
    """Run a task in place of sending it: with the arguments that a worker would get, and ``get`` forbidden inside."""
    options = {**task.__call_options__(), **options}
    call = None if app.conf["lavoro_eager_serialize"] else (args, dict(kwargs))
    with denied_join_result():
        return _run(app, task, call, options, None, sent=(args, kwargs))


def fail_eagerly(
    app: Any, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any],
    error: BaseException,
) -> EagerResult[Any]:  # fmt: skip
    """End a task that cannot begin: call its handlers and error callbacks, as a worker does."""
    routed = app.site.builders.routed(task, task.name, args, kwargs, options)
    message = message_builder(app.conf, task, task.name, routed, calling_task()).build(args, kwargs)
    handle_end(task, _job_of(message), _settings(app.conf, task.__follow__), error)
    return EagerResult(message.id, error, states.FAILURE, None, task.name, app)


class Way(NamedTuple):
    """The values that all tries of an eager call share."""

    settings: RunSettings
    fields: Mapping[str, Any]
    """Fields of the request whose values are others than in a worker."""
    throw: bool
    """Whether the task's exception is raised in the caller."""


class EagerRun(Run):
    """One start in the calling process: exceptions of handlers are raised in the caller."""

    __slots__ = ("way",)

    def __init__(self, task: Any, job: Job, way: Way, call: Call | None) -> None:
        super().__init__(task, job, way.settings, call)
        self.way = way

    def outcome(self) -> Outcome:
        """Run, in a copy of the context; raise an exception that is meant for the caller."""
        try:
            return super().outcome()
        except _Handled as handled:
            error = handled.error
        raise error

    def prepare(self) -> None:
        """Read the job, and make the request."""
        super().prepare()
        self.request.update(self.way.fields)
        if self.request.get("timelimit") == [None, None]:
            self.request.update(timelimit=None)

    def enter(self) -> Any:
        """Call the task."""
        value = super().enter()
        if isinstance(value, Retry) and value.task_id == self.request.id:
            self.way = self.way._replace(throw=False)  # retry(throw=False) was returned: it is the next try
            raise value
        return value

    def ended(self, error: BaseException) -> Outcome:
        """Return the outcome of an exception; raise one that is meant for the caller."""
        if isinstance(error, _Handled):
            raise error
        if not isinstance(error, Exception) or (self.way.throw and not isinstance(error, (Ignore, Reject))):
            if signals.task_postrun:
                tell_postrun(self, None, None)
            raise error
        return super().ended(error)

    def handle(self, name: str, about: tuple[Any, ...], *einfo: ExceptionInfo | None) -> None:
        """Call one of the task's handlers."""
        if name in self.task.__binding__.handlers:
            try:
                getattr(self.task, name)(*about, self.request.id, self.call.args, self.call.kwargs, *einfo)
            except Exception as error:
                raise _Handled(error) from error

    def retries(self) -> bool:
        """Return whether the task asked to be tried again; a ``Retry`` that it made itself is its end, as in Celery."""
        return isinstance(self.raised, Retry) and self.raised.task_id == self.request.id


class ContainedRun(EagerRun):
    """One start of ``run_here``; only Ctrl-C ends more than the task."""

    __slots__ = ()

    def ended(self, error: BaseException) -> Outcome:
        """Return the outcome of an exception."""
        if isinstance(error, KeyboardInterrupt):
            raise error
        return Run.ended(self, error)

    def handle(self, name: str, about: tuple[Any, ...], *einfo: ExceptionInfo | None) -> None:
        """Call one of the task's handlers; its exceptions are logged."""
        Run.handle(self, name, about, *einfo)


class _Handled(BaseException):
    """Carries the exception of a handler past the task's own outcome."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _run(
    app: Any, task: Any, call: tuple[Any, Any] | None, options: Mapping[str, Any], throw: bool | None, *,
    sent: tuple[Any, Any] = ((), {}), limit: Limit | None = None,
) -> EagerResult[Any]:  # fmt: skip
    """Run the task until it asks for no other try; with a ``limit``, as ``run_here``."""
    routed = app.site.builders.routed(task, task.name, *(call or sent), options)
    message = message_builder(app.conf, task, task.name, routed, calling_task()).build(*(((), {}) if call else sent))
    job = _job_of(message)
    throw = app.conf["task_eager_propagates"] if throw is None else throw
    settings, start = _settings(app.conf, task.__follow__), EagerRun
    if limit is not None:
        settings, start = settings._replace(limit=limit, limits_hard=True), ContainedRun
    way = Way(settings, _fields(options), throw)
    while True:
        run = start(task, job, way, Call(job, *call, job.read_options()) if call else None)
        ended = run.outcome()
        if not run.retries():
            break
        assert isinstance(ended, Requeued)
        assert isinstance(run.raised, Retry)
        job, (args, kwargs) = _retried(job, ended), run.raised.changes["call"]
        call = tuple(args), dict(kwargs)
    value, traceback = run.value, None
    if run.raised is not None:
        value, traceback = run.error or run.raised, ExceptionInfo(run.raised).traceback
    state = states.REJECTED if isinstance(run.raised, Reject) else ended.state or states.PENDING
    if task.store_eager_result and state in states.READY_STATES and isinstance(ended, Finished) and ended.result:
        results.store_finished(app.database, ended)
    return EagerResult(options.get("task_id") or message.id, value, state, traceback, task.name, app)


def _settings(conf: Any, follow: Any) -> RunSettings:
    return RunSettings(
        hostname(), follow=follow, accept=frozenset(conf.accept_content), max_result_size=conf.lavoro_max_result_size,
        max_error_size=conf.lavoro_max_error_size, eager=True,
    )  # fmt: skip


def _fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the request that differ from those in a worker: no message was sent."""
    delivery = {name: options.get(name) for name in ("exchange", "routing_key", "priority")}
    return {
        "eta": None, "expires": None, "delivery_info": {"is_eager": True, **delivery},
        "loglevel": options.get("loglevel") or 0, "logfile": options.get("logfile"),
    }  # fmt: skip


def _job_of(message: Message) -> Job:
    return Job(
        id=message.id, name=message.name, args=message.args, kwargs=message.kwargs, options=message.options,
        payload=message.payload, queue=message.queue, priority=message.priority, attempt=message.retries + 1,
        retries=message.retries, crashes=0, due=message.eta,  # type: ignore[arg-type]  # None: it was not sent
        expires=message.expires, expired=False, revoked=False,
    )  # fmt: skip


def _retried(job: Job, back: Requeued) -> Job:
    return job._replace(
        retries=job.retries + 1, attempt=job.attempt + 1, options=back.options or job.options,
        queue=back.queue or job.queue, priority=job.priority if back.priority is None else back.priority,
    )  # fmt: skip

"""Eager mode: a task runs in the calling process, the way a worker would run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lavoro import outcome, states
from lavoro.compose import calling_task, template
from lavoro.errors import Reject
from lavoro.executor import Node, Run
from lavoro.message import Job, Message
from lavoro.result import EagerResult, raisable


def run_eagerly(
    app: Any, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any], *,
    throw: bool | None = None, through_serializer: bool,
) -> EagerResult[Any]:  # fmt: skip
    """Run a task now, with request, handlers and signals; its retries follow at once.

    ``through_serializer`` gives it the arguments that a worker would get. ``throw`` (default: setting
    ``task_eager_propagates``) raises what the task raised.
    """
    routed = app.publisher.routed(task, task.name, args, kwargs, options)
    message = template(app.conf, task, task.name, routed, calling_task()).message(args, kwargs)
    run, ended = _run(app, task, _job_of(message), None if through_serializer else (list(args), dict(kwargs)))
    _let_through(run.error)
    throw = app.conf["task_eager_propagates"] if throw is None else throw
    if throw and run.error is not None and not isinstance(run.error, Reject):
        raise raisable(run.error, str(message.id))
    is_kept = isinstance(ended, outcome.Finished) and not isinstance(run.error, Reject)
    state = ended.state if is_kept and ended.state is not None else states.REJECTED
    value = run.value if run.error is None else run.error
    return EagerResult(options.get("task_id") or message.id, value, state, ended.traceback, task.name, app)


def _run(app: Any, task: Any, job: Job, call: tuple[Any, Any] | None) -> tuple[Run, outcome.Outcome]:
    """Run the job until it asks for no other try."""
    conf = app.conf
    node = Node(
        "eager", accept=frozenset(conf.accept_content), max_result_size=conf.lavoro_max_result_size,
        max_error_size=conf.lavoro_max_error_size, eager=True,
    )  # fmt: skip
    while True:
        run = Run(task, job, node, call)
        ended = run.outcome()
        if not isinstance(ended, outcome.GivenBack) or ended.state != states.RETRY:
            return run, ended
        job = _retried(job, ended)
        call = call if ended.args is None and ended.payload is None else None


def _let_through(error: BaseException | None) -> None:
    """A worker survives whatever a task raises; here Ctrl-C or a timeout of the caller's own must not be swallowed."""
    if error is not None and not isinstance(error, (Exception, SystemExit)):
        raise error


def _job_of(message: Message) -> Job:
    return Job(
        id=message.id, name=message.name, args=message.args, kwargs=message.kwargs, options=message.options,
        payload=message.payload, queue=message.queue, priority=message.priority, attempt=message.retries + 1,
        retries=message.retries, crashes=0, due=message.eta,  # type: ignore[arg-type]  # None: it was not sent
        expires=message.expires, expired=False, revoked=False,
    )  # fmt: skip


def _retried(job: Job, back: outcome.GivenBack) -> Job:
    job = job._replace(retries=job.retries + 1, attempt=job.attempt + 1, options=back.options or job.options)
    if back.args is None and back.payload is None:
        return job
    return job._replace(args=back.args, kwargs=back.kwargs, payload=back.payload)

"""Reads a claimed job: it becomes a call, or an outcome if it cannot be read."""

from __future__ import annotations

import logging
from typing import Any

from lavoro import serialization, signals, task_log
from lavoro.exceptions import InvalidTaskError
from lavoro.execution.context import Context, current
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol import outcome
from lavoro.protocol.failure import ExceptionInfo, printable
from lavoro.protocol.message import VERSION, Job
from lavoro.protocol.outcome import Outcome
from lavoro.text.printable import cut, told

logger = logging.getLogger("lavoro.task")

REASON = 1000
"""Most characters of the reason for which a task is requeued."""


class Newer(Exception):
    """The message needs a newer release."""


class Call:
    """A job that has been read: the arguments and options that its run has."""

    __slots__ = ("args", "job", "kwargs", "options", "signed")

    def __init__(self, job: Job, args: Any, kwargs: Any, options: dict[str, Any], signed: bool = False) -> None:
        self.job = job
        """The job without its signature."""
        self.args = args
        self.kwargs = kwargs
        self.options = options
        self.signed = signed

    def request(self, task: Any, settings: RunSettings) -> Context:
        """Make the request of a run."""
        return Context.of(
            self.job, self.args, self.kwargs, self.options, settings=settings, outer=current.get(), declared=task
        )

    def request_at_receipt(self, task: Any, settings: RunSettings) -> Context:
        """Make a request for the receivers before the run; the run does not see their changes of the arguments."""
        return Context.of(
            self.job, list(self.args), dict(self.kwargs), self.options, settings=settings, outer=None, declared=task
        )


def decode(job: Job, settings: RunSettings) -> Call:
    """Read a job; raises ``Newer``, or the error that makes it unreadable."""
    read = job if settings.keyring is None else settings.keyring.verified(job)
    options: dict[str, Any] = {}
    if read.options is not None:
        options = read.read_options()
        if (version := options.get("v", VERSION)) > VERSION:
            raise Newer(f"made by a later release: worker {settings.hostname} knows version {VERSION}, not {version}")
    if read.payload is None:
        args = serialization.loads(read.args) if read.args is not None else []
        kwargs = serialization.loads(read.kwargs) if read.kwargs is not None else {}
    else:
        content_type = options.get("content_type", "application/json")
        args, kwargs = serialization.decode(read.payload, content_type, settings.accept)
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, dict):
        found = f"{type(args).__name__} and {type(kwargs).__name__}"
        raise InvalidTaskError(f"args must be a list and kwargs an object, not {found}")
    return Call(read, args, kwargs, options, read is not job)


def outcome_of(job: Job, settings: RunSettings, error: Exception) -> Outcome:
    """Return the outcome of a job that ``decode`` has refused: it waits for a later release, or fails."""
    if isinstance(error, Newer):
        logger.error("task %s[%s] is left for another worker: %s", job.name, job.task_id, error)
        return outcome.postponed(job, reason(error), *settings.unknown_task_delay)
    task_log.tell_unreadable(job.name, job.task_id, error)
    if signals.task_rejected:
        signals.task_rejected.send(settings.consumer, message=job, exc=error)
    text = serialization.dumps_exception(error, settings.max_error_size)
    return outcome.failed(job, text, ExceptionInfo(error, settings.max_error_size).traceback)


def reason(said: object) -> str:
    """Return the reason for which a task is requeued, as it is stored."""
    return printable(cut(told(said), REASON))

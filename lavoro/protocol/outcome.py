"""The outcome of one start of a task, as a value: running makes it, the store writes it."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from lavoro import states
from lavoro.protocol.message import Job, Message
from lavoro.protocol.place import Follow


class Finished(NamedTuple):
    """The task is over."""

    job: Job
    state: str
    result: str | None = None
    """JSON text."""
    payload: bytes | None = None
    """The result in another serializer; ``result`` then names its content type."""
    traceback: str | None = None
    runtime: float | None = None
    children: str | None = None
    """JSON array of the ids of the tasks it sent."""
    follow: Follow | None = None
    """The messages that are stored with it; None for a task that nothing follows."""


class Requeued(NamedTuple):
    """The task waits again; columns whose field is None stay as they are."""

    job: Job
    state: str | None = None
    """How this start ended, to be recorded; None when the task had not begun: then the start is not counted."""
    retries: int | None = None
    eta: dt.datetime | None = None
    countdown: float | None = None
    queue: str | None = None
    args: str | None = None
    kwargs: str | None = None
    options: str | None = None
    payload: bytes | None = None
    reason: str | None = None
    error: str | None = None
    traceback: str | None = None
    longest: float | None = None
    """With it the countdown grows with the task's age, up to so many seconds."""
    priority: int | None = None
    expires: dt.datetime | None = None
    expires_in: float | None = None
    """Seconds from when it is stored."""


Outcome = Finished | Requeued


def weight(outcome: Outcome) -> int:
    """About how many bytes it takes to store an outcome, beyond what each takes."""
    if type(outcome) is Finished:
        _, _, result, payload, traceback, _, children, follow = outcome
        size = len(result or "") + len(payload or b"") + len(traceback or "") + len(children or "")
        return size if follow is None else size + sum(map(_weight_of_message, follow.messages))
    return sum(len(value) for value in outcome if isinstance(value, (str, bytes)))


def _weight_of_message(message: Message) -> int:
    return sum(len(value) for value in message if isinstance(value, (str, bytes)))


def succeeded(
    job: Job, result: str | None, runtime: float, *, payload: bytes | None = None, children: str | None = None,
    follow: Follow | None = None,
) -> Finished:  # fmt: skip
    """The task returned a value."""
    return Finished(job, states.SUCCESS, result, payload, None, runtime, children, follow)


def failed(job: Job, error: str, traceback: str | None, runtime: float | None = None) -> Finished:
    """The task raised; ``error`` is the exception as JSON."""
    return Finished(job, states.FAILURE, error, None, traceback, runtime)


def ignored(job: Job, runtime: float) -> Finished:
    """The task raised ``Ignore``."""
    return Finished(job, states.IGNORED, None, None, None, runtime)


def revoked(job: Job, error: str, runtime: float | None = None) -> Finished:
    """The task was revoked or has expired."""
    return Finished(job, states.REVOKED, error, None, None, runtime)


def retrying(job: Job, **changes: object) -> Requeued:
    """The task asked to be tried again, or its autoretry did."""
    return Requeued(job, states.RETRY, job.retries + 1, **changes)  # type: ignore[arg-type]


def requeued(job: Job, reason: str) -> Requeued:
    """The task raised ``Reject(requeue=True)``."""
    return Requeued(job, states.REJECTED, reason=reason, countdown=0.0)


def released(job: Job) -> Requeued:
    """The task was claimed and not started, or interrupted by the worker's stop."""
    return Requeued(job)


def postponed(job: Job, reason: str, delay: float, longest: float) -> Requeued:
    """This worker cannot run the task: it waits for another one, each time about twice as long, with the reason."""
    return Requeued(job, reason=reason, countdown=delay, longest=longest)

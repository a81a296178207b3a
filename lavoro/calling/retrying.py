"""``Task.retry``: a run ends, and what its next try has different is worked out."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from lavoro.calling.message_builder import start_time
from lavoro.calling.options import check_call
from lavoro.calling.resending import changes_of_retry
from lavoro.exceptions import Retry
from lavoro.execution.context import Context
from lavoro.execution.retry import merged_arguments
from lavoro.protocol.durations import seconds


class Asked(NamedTuple):
    """The parameters of ``retry`` beside arguments and options."""

    exc: BaseException | None
    eta: dt.datetime | None
    countdown: float | None
    max_retries: int | None


def retry(
    task: Any, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, asked: Asked, options: dict[str, Any]
) -> Retry:
    """Return the next try of the run that this is; raise the run's own error where there is to be none."""
    request, most = task.request, asked.max_retries
    if request.called_directly:
        raise_with_context(asked.exc or Retry("Task can be retried", None))
    check_call("max_retries", most)
    if most is not None:
        vars(request)["retry_limit"] = most  # autoretry_for keeps this limit too, in later runs as well
    limit = task.max_retries if most is None else most
    args, kwargs = merged_arguments(task.run, (request.args, request.kwargs), (args, kwargs))
    if limit is not None and request.retries >= limit:
        raise_with_context(asked.exc or _out_of_retries(task, request, args, kwargs))
    made = Retry(exc=asked.exc or sys.exc_info()[1], when=_when(task, asked), is_eager=request.is_eager)
    made.task_id = request.id
    if task.__models__ is not None and (args is not None or kwargs is not None):
        args, kwargs = (request.args if args is None else args), (request.kwargs if kwargs is None else kwargs)
        args, kwargs = task.__plain__(args, kwargs, options)
    made.changes = changes_of_retry(task, request, made, args, kwargs, options)
    if most is not None:
        made.changes["options"]["retry_limit"] = most
    return made


def raise_with_context(error: BaseException) -> NoReturn:
    """Raise an error because of the one that is being handled, or that one itself again."""
    handled = sys.exc_info()[1]
    if handled is None or handled is error:
        raise error
    raise error from handled


def _when(task: Any, asked: Asked) -> Any:
    """Return the time of the next try, or the seconds until then."""
    given: Any = task.default_retry_delay if asked.countdown is None else asked.countdown
    in_seconds = seconds("countdown", given)  # refuses what means nothing, even where an ETA wins
    if asked.eta is not None:
        return start_time(asked.eta, task.app.conf)
    return given if isinstance(given, (int, float)) else in_seconds


def _out_of_retries(
    task: Any, request: Context, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None
) -> BaseException:
    args = request.args if args is None else args
    kwargs = request.kwargs if kwargs is None else kwargs
    args, kwargs = tuple(args or ()), kwargs or {}
    argsrepr, kwargsrepr = task.__shown__(args, kwargs)
    said = request.options  # the caller's own words hide what no log is to show
    words = f"args:{said.get('argsrepr') or argsrepr} kwargs:{said.get('kwargsrepr') or kwargsrepr}"
    error: BaseException = task.MaxRetriesExceededError(
        f"Can't retry {task.name}[{request.id}] {words}", task_args=args, task_kwargs=kwargs
    )
    return error

"""Runs claimed tasks in the slots of a pool, and has their outcomes stored."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from lavoro import serialization, signals, task_log
from lavoro.execution.decode import Call, decode
from lavoro.execution.executor import Cancelled, execute
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol import outcome
from lavoro.protocol.failure import release
from lavoro.protocol.message import Job
from lavoro.protocol.outcome import Outcome
from lavoro.text.printable import described
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.recycling import RecyclePolicy
from lavoro.worker.quota import Quota
from lavoro.worker.scoreboard import Scoreboard

logger = logging.getLogger("lavoro.worker")

HARD_LIMIT_GRACE = 1.0
"""Seconds after a hard limit at which the supervisor ends the process, where the pool can end the task alone."""


class TaskRunner:
    """Runs one task at a time in each slot; knows which tasks are cancelled.

    ``settings`` and ``recycle`` are set before the pool starts: those parts need the runner's pool.
    """

    settings: RunSettings
    recycle: Callable[[str], object]
    """Called once, with the reason, when this process has to make room for a fresh one."""

    def __init__(
        self, tasks: Mapping[str, Any], scoreboard: Scoreboard, finisher: Finisher, policy: RecyclePolicy,
        quota: Quota | None = None,
    ) -> None:  # fmt: skip
        self._tasks, self._scoreboard, self._finisher, self._policy = tasks, scoreboard, finisher, policy
        self._quota = quota
        self._recycled = False
        self._cancelled: set[str] = set()
        self._interrupted: set[str] = set()

    def run(self, job: Job, slot: int, call: Call | None) -> None:
        """Run a task and have its outcome stored; ``call``: as ``receive`` has read it."""
        if self._recycled:  # a claim that was under way has brought more
            self._finisher.put(outcome.released(job))
            return
        task = self._tasks.get(job.name)
        if task is None:
            self._finisher.put(self._unknown(job))
            return
        if self._quota is not None and not self._quota.take():
            self._finisher.put(outcome.released(job))
            return
        revoked = bool(self._cancelled) and str(job.id) in self._cancelled
        id = job.id.bytes
        self._scoreboard.begin(slot, id, self._deadline(task, job))
        try:
            result = execute(task, job._replace(revoked=True) if revoked else job, self.settings, call)
        except BaseException as error:  # an interruption that came after the task had returned
            result = _interrupted(job, error)
        finally:
            self._scoreboard.end(slot, id)
        if result.job is not job:  # it was marked as revoked; in-flight is the claimed one
            result = result._replace(job=job)
        self._finisher.put(result)
        if self._policy.limited and (reason := self._policy.count()) is not None:
            self._recycled = True
            self.recycle(reason)
        if self._cancelled:
            self._cancelled.discard(str(job.id))
            self._interrupted.discard(str(job.id))

    def cancel(self, job: Job, *, interrupt: bool) -> bool:
        """Mark a task as cancelled, so that it does not begin; return whether to interrupt it, True only once."""
        id = str(job.id)
        self._cancelled.add(id)
        if not interrupt or id in self._interrupted:
            return False
        self._interrupted.add(id)
        return True

    def receive(self, jobs: list[Job]) -> list[Call | None] | None:
        """Log and signal that tasks were received; return them as they were read for that, so the run need not."""
        if signals.task_received or task_log.receipts.isEnabledFor(logging.INFO):
            return [self._tell_received(job) for job in jobs]
        return None

    def _tell_received(self, job: Job) -> Call | None:
        if (task := self._tasks.get(job.name)) is None:
            return None
        try:
            call = decode(job, self.settings)
        except Exception:
            return None  # it fails when it is run
        with contextlib.suppress(Exception):  # the repr of an argument may raise
            request = call.request_at_receipt(task, self.settings)
            task_log.tell_received(request)
            request.update(name=job.name, task_id=job.task_id, task_name=job.name)
            signals.task_received.send(self.settings.consumer, request=request)
        return call

    def _deadline(self, task: Any, job: Job) -> float:
        """Return the time at which the supervisor ends this process for this task."""
        hard = task.time_limit
        if job.options is not None and '"time_limit"' in job.options:
            hard = limit_of(job) or hard
        if not hard:
            return math.inf
        return time.monotonic() + float(hard) + (HARD_LIMIT_GRACE if self.settings.limits_hard else 0.0)

    def _unknown(self, job: Job) -> Outcome:
        """Requeue a task of an unknown name, with a delay that doubles: a worker of another release may know it."""
        logger.error(
            "received unregistered task %s[%s]; requeued: another worker may know it, and this one if it imports"
            " the task's module (option -I, settings include and imports)",
            job.name, job.task_id,
        )  # fmt: skip
        settings = self.settings
        if signals.task_unknown:
            signals.task_unknown.send(
                settings.consumer, name=job.name, id=job.task_id, message=job, exc=KeyError(job.name)
            )
        reason = f"worker {settings.hostname} knows no task {described(job.name, 500)}"
        return outcome.postponed(job, reason, *settings.unknown_task_delay)


def _interrupted(job: Job, error: BaseException) -> Outcome:
    release(error)
    text = serialization.dumps_exception(error)
    return outcome.revoked(job, text) if isinstance(error, Cancelled) else outcome.failed(job, text, None)


def limit_of(job: Job) -> float | None:
    """Return the call's own hard limit; None if it has none, or a wrong one, which its run reports."""
    with contextlib.suppress(ValueError, TypeError, KeyError, OverflowError):
        limit = float(job.read_options()["time_limit"])
        return limit if limit > 0 else None
    return None

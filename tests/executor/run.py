"""Runs tasks without a worker, short enough to be read in a test."""

from __future__ import annotations

import datetime as dt
from typing import Any

from lavoro import serialization
from lavoro.execution.executor import execute
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job
from lavoro.protocol.outcome import Finished, Requeued

UTC = dt.timezone.utc
ETA = dt.datetime(2030, 1, 1, tzinfo=UTC)
NODE = RunSettings("node@test")


def job_of(task: Any, *args: Any, **changes: Any) -> Job:
    plain = Job(
        id=uuid7(), name=task.name, args=serialization.dumps(args), kwargs=None, options=None, payload=None,
        queue="celery", priority=0, attempt=1, retries=0, crashes=0, due=ETA, expires=None, expired=False,
        revoked=False,
    )  # fmt: skip
    return plain._replace(**changes)


def finished(task: Any, *args: Any, node: RunSettings = NODE, **changes: Any) -> Finished:
    outcome = execute(task, job_of(task, *args, **changes), node)
    assert isinstance(outcome, Finished)
    return outcome


def given_back(task: Any, *args: Any, **changes: Any) -> Requeued:
    outcome = execute(task, job_of(task, *args, **changes), NODE)
    assert isinstance(outcome, Requeued)
    return outcome


def error_of(outcome: Finished | Requeued) -> BaseException:
    text = outcome.result if isinstance(outcome, Finished) else outcome.error
    assert text is not None
    return serialization.loads_exception(serialization.loads(text))

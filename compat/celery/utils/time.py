"""Celery's module of times."""

from celery._answer import answer

__getattr__, __dir__ = answer(
    "lavoro.execution.retry", "lavoro.schedules.times", renamed={"get_exponential_backoff_interval": "backoff"}
)

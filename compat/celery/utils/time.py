"""Celery's module of times."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.retry", renamed={"get_exponential_backoff_interval": "backoff"})

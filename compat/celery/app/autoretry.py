"""Celery's module of automatic retries."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.execution.retry")

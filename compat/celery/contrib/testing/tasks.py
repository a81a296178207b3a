"""Celery's module of the task that answers a ping."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.testing.tasks")

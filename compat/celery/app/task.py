"""Celery's module of the task class and the request."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.task", "lavoro.execution.context", renamed={"BaseTask": "Task"})

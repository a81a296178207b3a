"""Celery's module of the worker's logging."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.log")

"""Celery's module of a helper for tests with a worker."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.testing.manager")

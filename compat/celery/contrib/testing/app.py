"""Celery's module of applications for tests."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.testing.apps")

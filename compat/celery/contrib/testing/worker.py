"""Celery's module of workers for tests."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.testing.pinging", renamed={"TestWorkController": "TestWorker"})

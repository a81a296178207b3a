"""Celery's module of the names of nodes."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.worker.config")

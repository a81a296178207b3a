"""Celery's module of the registry of tasks."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.definition.registry")

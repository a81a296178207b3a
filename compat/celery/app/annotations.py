"""Celery's module of annotations of tasks."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.definition.annotations")

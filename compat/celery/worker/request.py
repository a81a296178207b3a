"""Celery's module of a claimed task."""

from celery._answer import answer

__getattr__, __dir__ = answer()

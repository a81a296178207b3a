"""Celery's package of loaders."""

from celery._answer import answer

__getattr__, __dir__ = answer()

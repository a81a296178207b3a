"""Celery's package of the worker."""

from celery._answer import answer

__getattr__, __dir__ = answer()

"""Celery's package of the worker's consumer."""

from celery._answer import answer

__getattr__, __dir__ = answer()

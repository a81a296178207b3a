"""Celery's module of the result backend Redis."""

from celery._answer import answer

__getattr__, __dir__ = answer()

"""Celery's package of result backends."""

from celery._answer import answer

__getattr__, __dir__ = answer()

"""Celery's package of additions."""

from celery._answer import answer

__getattr__, __dir__ = answer()

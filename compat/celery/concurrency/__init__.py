"""Celery's package of pools."""

from celery._answer import answer

__getattr__, __dir__ = answer()

"""Celery's plugin for pytest."""

from celery._answer import answer

__getattr__, __dir__ = answer()

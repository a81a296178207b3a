"""Celery's module of locals of threads."""

from celery._answer import answer

__getattr__, __dir__ = answer()

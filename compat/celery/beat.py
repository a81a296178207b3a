"""Celery's module of the scheduler."""

from celery._answer import answer

__getattr__, __dir__ = answer()

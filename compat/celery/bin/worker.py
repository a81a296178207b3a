"""Celery's module of the worker's command."""

from celery._answer import answer

__getattr__, __dir__ = answer()

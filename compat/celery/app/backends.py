"""Celery's module that finds result backends."""

from celery._answer import answer

__getattr__, __dir__ = answer()

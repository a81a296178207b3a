"""Celery's module that runs tasks."""

from celery._answer import answer

__getattr__, __dir__ = answer()

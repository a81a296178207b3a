"""Celery's module of tasks that end when they are asked to."""

from celery._answer import answer

__getattr__, __dir__ = answer()

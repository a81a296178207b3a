"""Celery's package of programs."""

from celery._answer import answer

__getattr__, __dir__ = answer()

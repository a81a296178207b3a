"""Celery's module of the loader's class."""

from celery._answer import answer

__getattr__, __dir__ = answer()

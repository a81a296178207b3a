"""Celery's module of the result backends' classes."""

from celery._answer import answer

__getattr__, __dir__ = answer()

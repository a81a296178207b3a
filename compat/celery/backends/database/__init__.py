"""Celery's module of the result backend SQLAlchemy."""

from celery._answer import answer

__getattr__, __dir__ = answer()

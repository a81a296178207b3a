"""Celery's module of routes."""

from celery._answer import answer

__getattr__, __dir__ = answer()

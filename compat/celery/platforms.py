"""Celery's module of what differs between systems."""

from celery._answer import answer

__getattr__, __dir__ = answer()

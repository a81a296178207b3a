"""Celery's module of messages and queues."""

from celery._answer import answer

__getattr__, __dir__ = answer()

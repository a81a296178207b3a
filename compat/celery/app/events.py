"""Celery's module of the application's events."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.events.api")

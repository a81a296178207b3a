"""Celery's module of an event."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.events.event")

"""Celery's package of events."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.events", "lavoro.events.event")

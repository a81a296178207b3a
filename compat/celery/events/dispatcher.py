"""Celery's module of the dispatcher of events."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.events.dispatcher")

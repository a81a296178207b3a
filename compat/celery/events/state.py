"""Celery's module of the state that events tell."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.events.state", "lavoro.events.known")

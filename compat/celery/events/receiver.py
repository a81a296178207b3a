"""Celery's module of the receiver of events."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.events.receiver")

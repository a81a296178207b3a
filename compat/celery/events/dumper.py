"""Celery's module that writes events."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.events.dumper")

"""Celery's module of the command of events."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.cli.events")

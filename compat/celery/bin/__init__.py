"""Celery's package of the command line."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.cli")

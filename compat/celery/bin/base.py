"""Celery's module of the command line's classes."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.cli.options", "lavoro.cli.added")

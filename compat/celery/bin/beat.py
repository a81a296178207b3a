"""Celery's module of the command of schedules."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.cli.beat")

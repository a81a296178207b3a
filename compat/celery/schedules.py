"""Celery's module of schedules."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.schedules")

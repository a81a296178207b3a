"""Celery's module of loggers."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.log", renamed={"mlevel": "level_of"})

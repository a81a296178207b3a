"""Celery's module of the application class."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.public", renamed={"App": "Celery"})

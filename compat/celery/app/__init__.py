"""Celery's package of the application."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.public", "lavoro.runtime.current_app")

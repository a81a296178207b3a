"""Celery's module of the settings' defaults."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.config.defaults")

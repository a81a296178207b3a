"""Celery's module of the settings, the report and the finder of applications."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.config.settings", "lavoro.discovery")

"""Celery's module of cameras."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.events.snapshot")

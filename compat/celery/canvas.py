"""Celery's module of signatures and workflows."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.canvas")

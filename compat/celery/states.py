"""Celery's module of states."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.states")

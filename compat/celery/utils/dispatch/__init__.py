"""Celery's module of the class of signals."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.signals")

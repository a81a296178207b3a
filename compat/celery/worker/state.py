"""Celery's module of the state of a worker."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.control.state")

"""Celery's module of the commands that a worker takes."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.control.panel", "lavoro.control.standard")

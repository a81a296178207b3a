"""Celery's module of helpers for exceptions."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.serialization.errors")

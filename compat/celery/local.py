"""Celery's module of proxies."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.runtime.current_app")

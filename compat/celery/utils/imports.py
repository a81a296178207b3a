"""Celery's module of helpers for imports."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.config.settings", renamed={"symbol_by_name": "symbol"})

"""Celery's module of errors."""

from celery._answer import answer

__getattr__, __dir__ = answer(
    "lavoro.exceptions",
    renamed={"CeleryError": "LavoroError", "CeleryWarning": "LavoroWarning", "RetryTaskError": "Retry"},
)

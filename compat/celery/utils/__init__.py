"""Celery's package of helpers."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.public", renamed={"gen_unique_id": "uuid"})

"""Celery's module of results."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.result", "lavoro.protocol.lineage", renamed={"ResultBase": "Lineage"})

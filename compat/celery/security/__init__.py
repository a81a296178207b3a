"""Celery's module of signed messages."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.protocol.signing")

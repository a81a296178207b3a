"""Celery's module of helpers for functions and lists."""

from celery._answer import answer

__getattr__, __dir__ = answer()

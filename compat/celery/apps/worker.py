"""Celery's module of the program that runs a worker."""

from celery._answer import answer

__getattr__, __dir__ = answer()

"""Celery's module of remote control."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.control", "lavoro.control.inspect")

"""Celery's module of the program that runs schedules."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.beat.program")

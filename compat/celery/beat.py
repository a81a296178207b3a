"""Celery's module of the scheduler."""

from celery._answer import answer

__getattr__, __dir__ = answer(
    "lavoro.beat.service", "lavoro.beat.scheduler", "lavoro.beat.schedule_entry", "lavoro.schedules.entry"
)

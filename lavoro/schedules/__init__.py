"""Schedules as values: each computes its next time, and tells Celery's code whether a run is due.

Times without a zone are UTC. The fields of a crontab are read in its own zone, or else in the application's.
"""

from lavoro.schedules.base import BaseSchedule, schedstate
from lavoro.schedules.clocked import clocked
from lavoro.schedules.crontab import crontab
from lavoro.schedules.crontab_fields import ParseException, crontab_parser
from lavoro.schedules.fluent import every
from lavoro.schedules.interval import schedule
from lavoro.schedules.phrases import maybe_schedule
from lavoro.schedules.solar import solar

__all__ = [
    "BaseSchedule",
    "ParseException",
    "clocked",
    "crontab",
    "crontab_parser",
    "every",
    "maybe_schedule",
    "schedstate",
    "schedule",
    "solar",
]

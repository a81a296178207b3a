"""Periodic tasks: entries in the database, and the ticker that sends their tasks; scheduler classes as Celery's.

The names are imported at their first use: an application that only sends tasks needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lavoro.beat.schedule_entry import ScheduleEntry
    from lavoro.beat.scheduler import PersistentScheduler, Scheduler, SchedulingError
    from lavoro.beat.service import EmbeddedService, Service
    from lavoro.schedules.entry import BeatLazyFunc

__all__ = [
    "BeatLazyFunc",
    "EmbeddedService",
    "PersistentScheduler",
    "ScheduleEntry",
    "Scheduler",
    "SchedulingError",
    "Service",
]

_MODULES = {
    "BeatLazyFunc": "lavoro.schedules.entry",
    "EmbeddedService": "lavoro.beat.service",
    "PersistentScheduler": "lavoro.beat.scheduler",
    "ScheduleEntry": "lavoro.beat.schedule_entry",
    "Scheduler": "lavoro.beat.scheduler",
    "SchedulingError": "lavoro.beat.scheduler",
    "Service": "lavoro.beat.service",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'lavoro.beat' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)

"""When they run; the worker finds this module by its name."""

from __future__ import annotations

from lavoro.schedules import crontab

from .tasks import clean_up, write_digest

schedule = {
    "digest": {"task": write_digest.name, "schedule": crontab(minute="*/5"), "kwargs": {"minutes": 5}},
    "clean-up": {"task": clean_up.name, "schedule": crontab(hour=3, minute=30), "missed": "once"},
}

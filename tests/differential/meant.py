"""The differences that are meant; each has a sentence here, and its row in the guide for those who come from Celery."""

from __future__ import annotations

from tests.differential.compare import Meant

_DEFAULTS = "defaults of settings"
MEANT: tuple[Meant, ...] = (
    Meant("conf", "worker_pool", "'prefork'", "'gevent'", "Most tasks of web applications wait for others.", _DEFAULTS),
    Meant("conf", "task_acks_late", "False", "True", "No task is lost with its worker.", _DEFAULTS),
    Meant("conf", "beat_scheduler", "'celery.beat:PersistentScheduler'", "None", "There is no such class.", _DEFAULTS),
    Meant("conf", "database_engine_options", "*", "{}", "Lavoro tests its connections itself.", _DEFAULTS),
)

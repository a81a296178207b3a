"""The settings of the whole application, of which those that begin with CELERY_ are for tasks."""

import re
from datetime import timedelta

from lavoro.schedules import crontab

DEBUG = False
DATABASES = {"default": {"NAME": "library"}}
TIME_ZONE = "Europe/Rome"

CELERY_BROKER_URL = "redis://localhost:6379/0"
CELERY_RESULT_BACKEND = "redis://localhost:6379/0"
CELERY_TIMEZONE = TIME_ZONE
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_TIME_LIMIT = 5 * 60
CELERY_TASK_SOFT_TIME_LIMIT = 60
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_EXPIRES = timedelta(days=1)
CELERY_ACCEPT_CONTENT = ["json", "shelf"]
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_TASK_SEND_SENT_EVENT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_TASK_ANNOTATIONS = {"library.loans.tasks.remind": {"max_retries": 1}, "*": {"shelf": "left"}}
CELERY_BEAT_SCHEDULER = "library.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {
    "remind": {"task": "library.loans.tasks.remind", "schedule": crontab(hour=7, minute=30, day_of_week="mon")},
    "often": {"task": "library.loans.tasks.remind", "schedule": timedelta(minutes=5), "options": {"queue": "slow"}},
}


def route_for_task(name, args, kwargs, options, task=None, **kw):
    """Send what is about rare books to a queue of its own."""
    return {"queue": "rare"} if kwargs and kwargs.get("rare") else None


CELERY_TASK_ROUTES = (
    route_for_task,
    {"library.loans.*": {"queue": "loans", "priority": 5}, re.compile(r"library\..*\.jobs\..*"): {"queue": "jobs"}},
)

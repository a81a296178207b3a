"""Settings of an application that began with Celery 3."""

from datetime import timedelta

from lavoro.schedules import crontab

DEBUG = True
INSTALLED_APPS = ["bakery.oven", "bakery.till"]

CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_RESULT_BACKEND = "rpc://"
CELERY_TASK_RESULT_EXPIRES = timedelta(hours=12)
CELERY_TIMEZONE = "Europe/Lisbon"
CELERY_DEFAULT_QUEUE = "bakery"
CELERY_ROUTES = {"bakery.oven.tasks.*": {"queue": "oven"}}
CELERY_TRACK_STARTED = True
CELERYD_TASK_SOFT_TIME_LIMIT = 60
CELERYBEAT_SCHEDULE = {
    "clean": {"task": "bakery.oven.tasks.clean", "schedule": crontab(minute=0, hour="*/6")},
    "count": {"task": "bakery.till.tasks.count", "schedule": timedelta(minutes=10), "args": ("till 1",)},
}

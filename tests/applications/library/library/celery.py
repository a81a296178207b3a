"""The tasks' application, configured from a module with names of one namespace."""

import os

from lavoro import Celery
from lavoro.signals import after_setup_logger, setup_logging, task_unknown

app = Celery("library")
app.config_from_object("library.settings", namespace="CELERY")
app.autodiscover_tasks(lambda: ["library.loans", "library.catalogue"])
app.autodiscover_tasks(["library.catalogue", "library.nothing"], related_name="jobs")

app.conf["beat_schedule"]["hourly"] = {"task": "library.loans.tasks.remind", "schedule": 3600.0}


@app.on_after_finalize.connect
def say(sender, **kwargs):
    """Tell how many tasks there are."""
    sender.known = sorted(name for name in sender.tasks if name.startswith("library."))


@after_setup_logger.connect
def add_context(logger, **kwargs):
    """Add to each line of the log which process wrote it."""
    for handler in logger.handlers:
        handler.addFilter(lambda record: setattr(record, "shelf", os.getpid()) or True)


@task_unknown.connect
def tell(name=None, **kwargs):
    """Tell of a task that nobody knows."""
    print(f"unknown task {name}")


@app.task(bind=True, ignore_result=True)
def debug_task(self):
    """Print the request."""
    print(f"Request: {self.request!r}"[:60])


__all__ = ["app", "setup_logging"]

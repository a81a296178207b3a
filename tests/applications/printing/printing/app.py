"""The application: a class of its own, a base class for its tasks, and its log."""

from __future__ import annotations

import logging

import celery.signals
from celery import Celery
from celery.app import app_or_default
from celery.app.log import TaskFormatter
from celery.app.task import Context, Task
from celery.utils.log import get_logger

logger = get_logger(__name__)


class Counted(Task):
    """Base of the tasks: counts its runs, and tells what becomes of each."""

    abstract = True
    runs = 0

    def before_start(self, task_id, args, kwargs):
        """Count the run."""
        self.runs += 1

    def on_success(self, retval, task_id, args, kwargs):
        """Tell the value."""
        logger.info("%s is done: %r", self.name, retval)

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        """Tell the error."""
        logger.info("%s has failed: %r, %s", self.name, exc, einfo.type.__name__)

    def page(self):
        """Return a header of the request, which is a Context."""
        assert isinstance(self.request, Context)
        return self.request.get("page", "none")


class Service(Celery):
    """An application whose tasks have short names."""

    task_cls = Counted

    def gen_task_name(self, name, module):
        """Leave the package out."""
        return f"{module.rpartition('.')[2]}.{name}"


def route(name, args, kwargs, options, task=None, **_):
    """Send what is urgent to a queue of its own."""
    return {"queue": "urgent"} if kwargs and kwargs.get("urgent") else None


app = Service("printing", include=["printing.tasks", "printing.parts"])
app.conf.update(
    task_default_queue="print",
    task_routes=(route, {"tasks.cut": "knives"}),
    task_annotations={"tasks.fold": {"times": 3}},
    result_extended=True,
)
app.set_default()
assert app_or_default() is app


@celery.signals.after_setup_task_logger.connect
def name_tasks(logger, **_):
    """Let records of tasks begin with the name of the task."""
    for handler in logger.handlers:
        handler.setFormatter(TaskFormatter("%(task_name)s says %(message)s", use_color=False))


@celery.signals.task_prerun.connect
def begins(sender, task_id, task, args, kwargs, **_):
    """Tell the beginning."""
    logging.getLogger("celery.task").debug("%s begins", sender.name)

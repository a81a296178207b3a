"""Prints of tasks, the level they have in the log, and settings of the log's formats."""

import logging
import sys

from celery import Celery, signals
from celery.utils.log import get_task_logger
from record import say

WORKER = ["-c", "1"]
app = Celery("prints")
app.conf.worker_redirect_stdouts_level = "ERROR"
app.conf.worker_task_log_format = "TASK %(levelname)s %(task_name)s %(message)s"
app.conf.worker_log_format = "LOG %(levelname)s %(message)s"


class Recorder(logging.Handler):
    def emit(self, record):
        text = record.getMessage()
        if "from a task" in text:
            say(f"{text.strip()}.record", (record.name, record.levelname))


@signals.after_setup_logger.connect
def plain(logger=None, format=None, **kwargs):
    logger.addHandler(Recorder())
    say("format", format)
    say("root formats", sorted({getattr(one.formatter, "_fmt", None) for one in logger.handlers if one.formatter}))


@signals.after_setup_task_logger.connect
def of_tasks(logger=None, format=None, **kwargs):
    say("task format", format)
    say("task formats", sorted({getattr(one.formatter, "_fmt", None) for one in logger.handlers if one.formatter}))
    say("propagate", bool(logger.propagate))
    logger.addHandler(Recorder())


@app.task
def work():
    print("printed from a task")
    print("two lines\nfrom a task")
    sys.stderr.write("written from a task\n")
    sys.stdout.flush()
    get_task_logger("prints.own").error("logged from a task")
    say("isatty", (sys.stdout.isatty(), sys.stderr.isatty()))
    return type(sys.stdout).__name__ != "TextIOWrapper"


def main():
    say("replaced", work.delay().get(timeout=30))

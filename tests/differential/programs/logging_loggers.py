"""Loggers of tasks, the formatter, and what the set-up of the log does in a worker."""

import logging
import sys

from celery import Celery, signals
from celery.app.log import TaskFormatter
from celery.utils.log import get_logger, get_task_logger
from record import attempt, say

app = Celery("logging_loggers")
logger = get_task_logger("my.module")


class Recorder(logging.Handler):
    def emit(self, record):
        if (
            record.name.startswith(("my.", "celery.redirected", "celery.task", "plain"))
            or "print" in record.getMessage()
        ):
            text = record.getMessage()
            say(f"record.{text}.logger", record.name)
            say(f"record.{text}.level", record.levelname)
            text_of = TaskFormatter("%(task_name)s[%(task_id)s]: %(message)s", use_color=False).format(record)
            say(f"record.{text}.formatted", text_of)


@signals.after_setup_logger.connect
def root(logger=None, loglevel=None, logfile=None, format=None, colorize=None, **kwargs):
    say("after_setup_logger", (logger.name, loglevel, logfile, colorize, sorted(kwargs)))
    say("format", format)
    logger.addHandler(Recorder())


@signals.after_setup_task_logger.connect
def task_logger(logger=None, loglevel=None, logfile=None, format=None, colorize=None, **kwargs):
    say("after_setup_task_logger", (logger.name, loglevel, logfile, colorize, sorted(kwargs)))
    say("task format", format)
    logger.addHandler(Recorder())


@app.task(bind=True)
def work(self):
    logger.info("info of task")
    logger.warning("warning of task")
    logger.debug("debug of task")
    print("a print of task")
    print("an error print of task", file=sys.stderr)
    logging.getLogger("plain").warning("plain logger")
    get_logger("my.other").info("get_logger in task")
    say("propagate", (logger.propagate, bool(logging.getLogger("celery.task").propagate)))
    say(
        "levels", (logging.getLogger().level, logging.getLogger("celery").level, logging.getLogger("celery.task").level)
    )
    attempt("get_logger of task", lambda: self.get_logger().name)


def part_worker():
    work.apply_async(task_id="one").get(timeout=30)


def part_names():
    say("name", logger.name)
    say("parent", (logger.parent.name, logger.parent.parent.name))
    say("plain", get_task_logger("plain").parent.name)
    attempt("own name", get_task_logger, "celery.task")
    attempt("bad name", get_task_logger, "celery")
    attempt("worse name", get_task_logger, "celery.task.x")
    say("get_logger", (get_logger("a.b").name, get_logger("celery").name))


def part_formatter():
    record = logging.LogRecord("n", logging.INFO, "file", 1, "hello %s", ("you",), None)
    attempt("outside", TaskFormatter("%(task_name)s %(task_id)s %(message)s").format, record)
    attempt("datefmt", lambda: len(TaskFormatter("%(asctime)s", datefmt="%Y").format(record)))
    attempt("positional", lambda: TaskFormatter("%(message)s", False).format(record))
    attempt("default format", lambda: TaskFormatter().format(record))
    attempt("color", lambda: TaskFormatter("%(message)s", use_color=True).format(record))
    attempt("error color", lambda: [TaskFormatter("%(levelname)s", use_color=True).colors.keys()])


def part_constants():
    import celery.app.trace as trace

    for name in "LOG_RECEIVED LOG_SUCCESS LOG_FAILURE LOG_INTERNAL_ERROR LOG_IGNORED LOG_REJECTED LOG_RETRY".split():
        attempt(name, lambda name=name: getattr(trace, name).strip())


def part_app_log():
    attempt("app.log", lambda: type(app.log).__name__)
    attempt("get_default_logger", lambda: app.log.get_default_logger().name)
    attempt("setup_task_loggers", lambda: app.log.setup_task_loggers(loglevel="INFO") is not None)
    attempt("already_setup", lambda: app.log.already_setup)

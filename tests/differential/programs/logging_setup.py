"""A receiver of `setup_logging`: the application's own log; settings of formats and of prints."""

import logging
import sys

from celery import Celery, signals
from record import say

WORKER = ["-c", "1"]
app = Celery("logging_setup")
app.conf.worker_hijack_root_logger = False
app.conf.worker_redirect_stdouts = False


@signals.setup_logging.connect
def own(loglevel=None, logfile=None, format=None, colorize=None, **kwargs):
    say("setup_logging", (loglevel, logfile, colorize, sorted(kwargs)))
    say("setup_logging.format", format)


@signals.after_setup_logger.connect
def after(**kwargs):
    say("after_setup_logger", "called")


@signals.after_setup_task_logger.connect
def after_task(**kwargs):
    say("after_setup_task_logger", "called")


@app.task
def work():
    say("handlers", len(logging.getLogger().handlers))
    say("root level", logging.getLogger().level)
    handlers = logging.getLogger("celery").handlers
    say("celery handlers", [one for one in handlers if not isinstance(one, logging.NullHandler)])
    say("stdout", type(sys.stdout).__name__)


def main():
    work.delay().get(timeout=30)

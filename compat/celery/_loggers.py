"""Gives Lavoro's loggers Celery's names: a level, filter or handler that is given to one is given to the other."""

import logging

from lavoro.log import ABOUT_TASKS

NAMES = {
    "celery": "lavoro",
    "celery.app.trace": "lavoro.task",
    "celery.beat": "lavoro.beat",
    "celery.task": "lavoro.user",
    "celery.worker": "lavoro.worker",
    "celery.worker.strategy": "lavoro.worker.received",
    "celery.redirected": "lavoro.redirected",
}


def rename() -> None:
    """Let ``logging`` answer with Lavoro's logger for each of Celery's; records have Celery's names."""
    for name, ours in NAMES.items():
        logger = logging.root.manager.loggerDict[name] = logging.getLogger(ours)
        logger.name = name
        if ours in ABOUT_TASKS:
            ABOUT_TASKS.add(name)

"""Tasks of the oven."""

from __future__ import absolute_import, unicode_literals  # noqa: UP010

import time

from lavoro import get_task_logger, shared_task
from lavoro.exceptions import Ignore, MaxRetriesExceededError, SoftTimeLimitExceeded

logger = get_task_logger(__name__)


class TooHot(Exception):
    """The oven is too hot."""


@shared_task
def mix(flour, water):
    """Make a dough."""
    logger.info("mixes %s and %s", flour, water)
    return flour + water


@shared_task(bind=True, max_retries=2, default_retry_delay=0)
def bake(self, dough, degrees=220):
    """Bake a dough, a little cooler at each try."""
    try:
        if degrees - 10 * self.request.retries > 210:
            raise TooHot(degrees)
    except TooHot as error:
        raise self.retry(exc=error) from error
    return {"bread": dough, "tries": self.request.retries}


@shared_task(bind=True, max_retries=1)
def glaze(self):
    """Never end well, and say so."""
    try:
        self.retry(countdown=0)
    except MaxRetriesExceededError:
        logger.warning("no glaze after %s tries", self.request.retries + 1)
        return "plain"


@shared_task(soft_time_limit=0.2)
def proof(seconds):
    """Wait for the dough, but not too long."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "too long"
    return "risen"


@shared_task(bind=True)
def taste(self, bread):
    """Keep a state of its own."""
    self.update_state(state="TASTED", meta={"bread": bread})
    raise Ignore()


@shared_task(ignore_result=True)
def clean():
    """Clean the oven."""
    logger.info("cleans")

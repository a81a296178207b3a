"""Tasks of the till."""

from __future__ import absolute_import, unicode_literals  # noqa: UP010

from lavoro import get_task_logger, shared_task

logger = get_task_logger(__name__)
PRICES = {"bread": 3, "roll": 1}


@shared_task(autoretry_for=(ConnectionError,), retry_kwargs={"max_retries": 3, "countdown": 0}, bind=True)
def sell(self, name, number=1):
    """Sell something, when the till answers."""
    if self.request.retries < 2:
        raise ConnectionError("till 1 is busy")
    return PRICES[name] * number


@shared_task(throws=(KeyError,))
def count(till):
    """Count the money of a till."""
    return {"till 1": 42}[till]


@shared_task
def write(receipt, where="drawer"):
    """Write what another task has returned."""
    logger.info("%s to the %s", receipt, where)
    return f"{receipt} in the {where}"

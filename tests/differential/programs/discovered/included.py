"""Named by the argument include."""

from celery import shared_task


@shared_task
def four():
    return "four"

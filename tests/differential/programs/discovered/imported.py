"""Named by the setting imports."""

from celery import shared_task


@shared_task
def three():
    return "three"

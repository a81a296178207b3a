"""Found as the module of tasks of a package."""

from celery import shared_task


@shared_task
def one():
    return "one"

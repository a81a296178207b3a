"""The task that tells a test that a worker runs tasks."""

from lavoro import shared_task


@shared_task(name="celery.ping")
def ping() -> str:
    """Answer."""
    return "pong"

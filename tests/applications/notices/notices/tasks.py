"""What the service does in its worker."""

from flask import current_app, g

from lavoro import signals
from lavoro.exceptions import MaxRetriesExceededError
from notices import notices_celery


class Technical(Exception):
    """The other side has failed."""


@signals.worker_process_init.connect
def begin(sender=None, **kwargs):
    """Say that a process begins."""
    print("process begins")


@signals.task_prerun.connect
@signals.task_postrun.connect
@signals.task_success.connect
@signals.task_retry.connect
@signals.task_failure.connect
def tell(signal=None, sender=None, **kwargs):
    """Say which signal came, and for which task."""
    print(f"signal {signal.name} {sender.name}")


@notices_celery.task(bind=True, name="deliver_mail", max_retries=2, default_retry_delay=300)
def deliver_mail(self, address):
    """Send a message; where the other side fails try again from the queue of retries."""
    try:
        if "down" in address:
            raise Technical(f"{address} is down")
        if "slow" in address and self.request.retries == 0:
            raise Technical(f"{address} is slow")
    except Technical as error:
        try:
            self.retry(queue="test-retry-tasks", exc=None, countdown=0 if self.request.retries == 0 else 0.1)
        except MaxRetriesExceededError:
            # Tell the team by a task of another queue.
            notices_celery.send_task("tell_team", [str(error)], queue="test-notify-internal-tasks")
            raise
    return {
        "address": address, "request": g.request_id, "app": current_app.name, "tries": self.request.retries,
        "queue": self.queue_name, "group": self.request.properties.get("MessageGroupId"),
        "header": (self.request.headers or {}).get("notices_request_id"),
    }  # fmt: skip


@notices_celery.task(name="deliver_text", throws=(ValueError,))
def deliver_text(number):
    """Send a text message."""
    if not number.isdigit():
        raise ValueError(f"{number} is no number")
    return number


@notices_celery.task(bind=True, name="tell_team")
def tell_team(self, message):
    """Tell of a message that cannot be sent."""
    print(f"team: {message}")
    return self.queue_name

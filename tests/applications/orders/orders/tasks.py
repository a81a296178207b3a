"""The shop's shared tasks."""

from flask import current_app, has_request_context

from lavoro import get_task_logger, shared_task
from lavoro.exceptions import SoftTimeLimitExceeded

logger = get_task_logger(__name__)


@shared_task(ignore_result=False)
def price(amounts):
    """Add up an order."""
    return f"{sum(amounts)} {current_app.config['CURRENCY']}"


@shared_task()
def forget():
    """Return something that nobody asks for."""
    logger.info("sent from %s, in a request: %s", current_app.name, has_request_context())
    return "nobody asks"


@shared_task(bind=True, ignore_result=False)
def pack(self, parcels):
    """Tell how far it is."""
    for parcel in range(parcels):
        self.update_state(state="PROGRESS", meta={"current": parcel + 1, "total": parcels})
    return {"current": parcels, "total": parcels, "tries": self.request.retries, "id": self.request.id}


@shared_task(bind=True, ignore_result=False, max_retries=3, default_retry_delay=0)
def charge(self, card, fails):
    """Fail some times, and try again."""
    try:
        if self.request.retries < fails:
            raise ConnectionError(f"{card}: try {self.request.retries}")
    except ConnectionError as error:
        raise self.retry(exc=error) from error
    return self.request.retries


@shared_task(ignore_result=False, soft_time_limit=0.3, time_limit=60)
def export():
    """Take too long, and clean up."""
    import time

    try:
        while True:
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        return "cleaned up"


@shared_task(ignore_result=False, autoretry_for=(OSError,), retry_kwargs={"max_retries": 1, "countdown": 0})
def ship(parcel):
    """Fail for good."""
    raise OSError(f"no way for {parcel}")

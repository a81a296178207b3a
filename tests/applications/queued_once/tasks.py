"""Tasks of which each call waits once at most, by the package celery-once."""

import os

from celery import Celery
from celery_once import QueueOnce

app = Celery("tasks", broker="redis://localhost", backend="redis://localhost")
app.conf.ONCE = {
    "backend": "celery_once.backends.File",
    "settings": {"location": os.environ["LOCKS"], "default_timeout": 3600},
}


@app.task(base=QueueOnce)
def report(year):
    """Make a report."""
    return f"report of {year}"


@app.task(base=QueueOnce, once={"graceful": True, "keys": ["year"]})
def send(year, to):
    """Send a report to one reader a year."""
    return f"{year} to {to}"


@app.task(bind=True, base=QueueOnce, max_retries=2, default_retry_delay=0)
def collect(self, fails):
    """Fail some times: a retry is no second call."""
    if self.request.retries < fails:
        raise self.retry(exc=OSError("not yet"))
    return self.request.retries

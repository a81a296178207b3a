"""Records that a worker logs of tasks: their loggers, levels, texts and data."""

import logging

from celery import Celery, signals
from celery.exceptions import Ignore, Reject
from celery.utils.log import get_task_logger
from record import attempt, say, shown

app = Celery("logging_worker")
GET = {"timeout": 30}
logger = get_task_logger(__name__)


class Recorder(logging.Handler):
    def emit(self, record):
        text = record.getMessage()
        if "logging_worker." in text or "other name" in text:
            task_id = (getattr(record, "data", None) or {}).get("id") or "none"
            event = text.partition("] ")[2].partition(" ")[0] if "[" in text else "other"
            key = f"{task_id}.{event}"
            say(f"{key}.logger", record.name)
            say(f"{key}.level", record.levelname)
            say(f"{key}.text", text.splitlines()[0])
            say(f"{key}.exc_info", record.exc_info and type(record.exc_info).__name__)
            data = dict(getattr(record, "data", None) or {})
            for name in sorted(data):
                value = type(data[name]).__name__ if name in ("runtime", "traceback", "hostname") else shown(data[name])
                say(f"{key}.data.{name}", value)


@signals.after_setup_logger.connect
def add(logger=None, **kwargs):
    logger.addHandler(Recorder())


@app.task(bind=True)
def work(self, how="return", **kwargs):
    logger.info("in the task")
    if how == "fail":
        raise ValueError("bad")
    if how == "retry" and not self.request.retries:
        raise self.retry(countdown=0, exc=KeyError("again"))
    if how == "ignore":
        raise Ignore
    if how == "reject":
        raise Reject("why")
    if how == "long":
        return "x" * 2000
    return how


@app.task(throws=(KeyError,))
def expected():
    raise KeyError("expected")


def main():
    for how in ("return", "fail", "retry", "ignore", "reject", "long"):
        result = work.apply_async((how,), {"more": 1}, task_id=how)
        if how != "ignore":
            attempt(f"{how}.get", result.get, propagate=False, **GET)
    attempt("expected.get", expected.apply_async(task_id="expected").get, propagate=False, **GET)
    attempt("expired.get", work.apply_async(task_id="expired", expires=-5).get, propagate=False, **GET)
    work.apply_async(task_id="shadowed", shadow="other name").get(**GET)
    work.apply_async(task_id="last").get(**GET)

"""The lines about tasks: loggers, levels, messages, the data of records, texts that were replaced, formatters."""

import logging

from celery import Celery
from celery.app import trace
from celery.app.log import TaskFormatter
from celery.exceptions import Ignore, Reject
from celery.utils.log import ColorFormatter, get_task_logger
from record import normal, say

WORKER = ["-c", "1", "-l", "info"]
POOLS = ("default", "solo", "threads")
app = Celery("log_lines", task_acks_late=True)
logger = get_task_logger(__name__)


class Recorder(logging.Handler):
    """Records what a logger gets, under a key for each kind of line."""

    def emit(self, record):
        if not hasattr(record, "data"):
            return
        data = record.data
        key = f"{self.name} {data['name'].partition('.')[2]}"
        say(f"{key} message", f"{record.levelname} {record.getMessage()}".replace(data["id"], "<id>"))
        shown = {name: value for name, value in data.items() if name not in ("hostname", "traceback")}
        say(f"{key} data", {**shown, "id": "<id>", "runtime": type(data.get("runtime")).__name__})
        say(f"{key} names", sorted(data))
        say(f"{key} args are the data", record.args is data or dict(record.args) == data)
        say(f"{key} exc_info", record.exc_info and record.exc_info[0])
        say(f"{key} traceback", normal(str(data.get("traceback"))).splitlines()[:1])


for name in ("celery.worker.strategy", "celery.app.trace"):
    recorder = Recorder()
    recorder.name = name
    logging.getLogger(name).addHandler(recorder)


@app.task
def succeed(x, key=None):
    return x + 1


@app.task(shadow_name=lambda *args: "tasks.alias")
def shadowed():
    return None


@app.task
def fail():
    raise ValueError("no")


@app.task(throws=(KeyError,))
def expected():
    raise KeyError("known")


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def again(self):
    if self.request.retries == 0:
        raise self.retry(exc=OSError("busy"))


@app.task
def ignored():
    raise Ignore


@app.task
def rejected():
    raise Reject("no", requeue=False)


def formatted(formatter, level):
    record = logging.LogRecord("x", level, __file__, 1, "hello %s", ("you",), None)
    record.created = 0
    return repr(formatter.format(record))


def main():
    succeed.delay(1, key="k").get(timeout=30)
    shadowed.apply_async(shadow="other.name").get(timeout=30)
    for task in (fail, expected, again):
        task.delay().get(timeout=30, propagate=False)
    ignored.delay()
    rejected.delay()
    last = succeed.delay(2, key="last")
    last.get(timeout=30)
    texts = ("LOG_RECEIVED", "LOG_FAILURE", "LOG_INTERNAL_ERROR", "LOG_IGNORED", "LOG_REJECTED", "LOG_RETRY")
    say("texts", [getattr(trace, text) for text in texts])
    say("task formatter", formatted(TaskFormatter("%(task_name)s %(task_id)s %(message)s"), logging.WARNING))
    say("without colour", formatted(TaskFormatter("%(task_name)s %(message)s", use_color=False), logging.ERROR))
    say("positions", formatted(TaskFormatter("%(asctime)s %(message)s", False, "%Y"), logging.INFO))
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        say("colours", formatted(ColorFormatter("%(message)s"), level))
    say("parent", logger.parent is logging.getLogger("celery.task"))
    try:
        get_task_logger("celery.task")
    except RuntimeError as error:
        say("reserved", str(error))
    trace.LOG_SUCCESS = "%(name)s is done with %(return_value)s"
    say("replaced", trace.LOG_SUCCESS % {"name": "x", "return_value": 1})
    said = []
    logging.getLogger("celery.app.trace").setLevel("INFO")
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("celery.app.trace").addHandler(handler)
    succeed.apply((4,))
    say("replaced line", said)

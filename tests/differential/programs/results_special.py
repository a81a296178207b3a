"""Results that are no plain values: ignored ones, custom states, `Ignore`, `Reject`, values that cannot be encoded."""

import datetime as dt
import decimal
import uuid

from celery import Celery, states
from celery.exceptions import Ignore, Reject
from celery.signals import task_failure, task_success
from record import attempt, eventually, say

app = Celery("results_special")


@app.task(ignore_result=True)
def ignored():
    return 5


@app.task
def plain():
    return 5


@app.task(bind=True)
def custom(self):
    self.update_state(state="PROGRESS", meta={"done": 50})
    meta = self.AsyncResult(self.request.id)
    say("in progress", (meta.state, meta.info, meta.result))
    self.update_state(state="CUSTOM", meta={"why": "so"})
    raise Ignore


@app.task(bind=True)
def ignore(self):
    raise Ignore("reason")


@app.task(bind=True)
def reject(self):
    raise Reject("bad luck", requeue=False)


@app.task(bind=True, track_started=True)
def started(self):
    meta = app.AsyncResult(self.request.id)
    say("started", (meta.state, sorted(meta.info or ()), type((meta.info or {}).get("pid")).__name__))


@app.task(ignore_result=True)
def ignored_failure():
    raise ValueError("lost")


@app.task(ignore_result=True, store_errors_even_if_ignored=True)
def stored_failure():
    raise ValueError("kept")


@app.task
def unencodable():
    return object()


@app.task
def values():
    return {
        "tuple": (1, 2),
        "date": dt.date(2020, 1, 2),
        "datetime": dt.datetime(2020, 1, 2, 3, 4, 5, 600000, tzinfo=dt.timezone.utc),
        "naive": dt.datetime(2020, 1, 2, 3, 4, 5),
        "time": dt.time(1, 2),
        "delta": None,
        "decimal": decimal.Decimal("1.10"),
        "uuid": uuid.UUID(int=5),
        "bytes": b"abc",
        "binary": b"\xff\x00",
        1: "number as key",
        "float": 1.5,
        "none": None,
        "nested": [{"a": (1,)}],
    }


@task_failure.connect
def failed(sender=None, exception=None, **more):
    say(f"{sender.name}.task_failure", exception)


@task_success.connect
def succeeded(sender=None, result=None, **more):
    if sender is not unencodable:
        say(f"{sender.name}.task_success", type(result).__name__)


GET = {"timeout": 30}


def part_ignored():
    result = ignored.apply_async(task_id="ignored")
    attempt("ignored.get", result.get, **GET)
    say("ignored.ignored", result.ignored)
    result = plain.apply_async(task_id="ignored by call", ignore_result=True)
    attempt("ignored by call.get", result.get, **GET)
    say("ignored by call.ignored", result.ignored)
    result = ignored.apply_async(task_id="kept by call", ignore_result=False)
    attempt("kept by call.get", result.get, **GET)
    say("kept by call.ignored", result.ignored)


def part_states():
    result = custom.apply_async(task_id="custom")
    eventually(lambda: result.state == "CUSTOM")
    plain.delay().get(**GET)
    say("custom.state", result.state)
    say("custom.info", (result.info, result.result))
    say("custom.ready", (result.ready(), result.failed(), result.successful()))

    result = ignore.apply_async(task_id="ignore")
    plain.delay().get(**GET)
    say("ignore.state", result.state)

    result = reject.apply_async(task_id="reject")
    attempt("reject.get", result.get, **GET)
    say("reject.state", result.state)
    say("reject.result", result.result)
    say("reject.traceback", bool(result.traceback))

    started.apply_async(task_id="started").get(**GET)


def part_failures():
    result = ignored_failure.apply_async(task_id="ignored failure")
    attempt("ignored failure.get", result.get, **GET)
    result = stored_failure.apply_async(task_id="stored failure")
    eventually(lambda: app.AsyncResult("stored failure").state == states.FAILURE)
    attempt("stored failure.get", app.AsyncResult("stored failure").get, **GET)


def part_values():
    result = unencodable.apply_async(task_id="unencodable")
    attempt("unencodable.get", result.get, **GET)
    say("unencodable.state", result.state)
    for name, value in sorted(values.apply_async(task_id="values").get(**GET).items()):
        say(f"value.{name}", value)

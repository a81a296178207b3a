"""`task_always_eager`: `delay` and `apply_async` that run here."""

import datetime as dt
import decimal
import uuid
import warnings

from celery import Celery
from celery.exceptions import AlwaysEagerIgnored
from celery.signals import after_task_publish, before_task_publish, task_postrun, task_prerun
from record import attempt, say

POOLS = ()
app = Celery("eager_always")
app.conf.task_always_eager = True


@app.task(bind=True)
def show(self, *args, **kwargs):
    return {
        "args": args,
        "kwargs": kwargs,
        "request.args": self.request.args,
        "id": self.request.id,
        "eager": self.request.is_eager,
        "directly": self.request.called_directly,
        "delivery_info": self.request.delivery_info,
        "headers": self.request.headers,
        "own": self.request.get("own"),
        "retries": self.request.retries,
        "hostname": self.request.hostname is not None,
        "root_id": self.request.root_id,
        "parent_id": self.request.parent_id,
    }


@app.task
def identity(value):
    return value


@app.task
def fail():
    raise ValueError("bad")


@app.task(bind=True, max_retries=1, autoretry_for=(KeyError,), retry_backoff=True, retry_jitter=False)
def auto(self, fails=1):
    if self.request.retries < fails:
        raise KeyError("auto")
    return self.request.retries


@app.task
def nested():
    return identity.delay(7).get()


@app.task(ignore_result=True)
def ignored():
    return 5


@app.task(store_eager_result=True)
def stored():
    return 5


class Thing:
    pass


def part_calls():
    result = attempt("delay", lambda: type(show.delay(1, a=2)).__name__)
    for name, value in sorted(show.apply_async((1,), {"a": 2}, task_id="given", headers={"own": 1}).get().items()):
        say(f"show.{name}", value)
    options = {"queue": "other", "countdown": 60, "priority": 3, "expires": 60, "time_limit": 50}
    attempt("options", lambda: show.apply_async(task_id="options", **options).get()["delivery_info"])
    attempt("expired", lambda: identity.apply_async((1,), expires=-5).state)
    attempt("eta", lambda: identity.apply_async((1,), eta=dt.datetime(2040, 1, 1)).state)
    attempt("too few", identity.delay)
    attempt("nested", lambda: nested.delay().get())
    attempt("ignored", lambda: (ignored.delay().get(), ignored.delay().state, ignored.delay().result))
    say("result", result)


def part_values():
    for label, value in {
        "tuple": (1, 2),
        "date": dt.date(2020, 1, 2),
        "datetime": dt.datetime(2020, 1, 2, 3, 4),
        "decimal": decimal.Decimal("1.5"),
        "uuid": uuid.UUID(int=3),
        "number key": {1: 2},
        "bytes": b"x",
        "set": {1},
        "thing": Thing(),
    }.items():
        attempt(f"value.{label}", lambda value=value: type(identity.delay(value).get()).__name__)
        attempt(f"apply.{label}", lambda value=value: type(identity.apply((value,)).get()).__name__)
    app.conf.task_serializer = "pickle"
    app.conf.accept_content = ["json", "pickle"]
    thing = Thing()
    attempt("pickle.same", lambda: identity.delay((1, 2)).get())
    attempt("pickle.thing", lambda: identity.delay(thing).get() is thing)


def part_failures():
    app.conf.task_serializer = "json"
    result = fail.delay()
    say("fail.state", result.state)
    attempt("fail.get", result.get)
    app.conf.task_eager_propagates = True
    attempt("fail propagates", fail.delay)
    attempt("auto propagates", lambda: auto.delay().get())
    attempt("auto exhausted propagates", lambda: auto.delay(5).get())
    app.conf.task_eager_propagates = False
    attempt("auto", lambda: auto.delay().get())
    attempt("auto exhausted", lambda: auto.delay(5).get())


def part_signals():
    said = []
    for signal in (before_task_publish, after_task_publish, task_prerun, task_postrun):
        signal.connect(lambda signal=None, **kwargs: said.append(signal.name), weak=False)
    identity.delay(1)
    say("signals", said)


def part_send_task():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        attempt("send_task", lambda: type(app.send_task("eager_always.identity", (1,))).__name__)
    say("warned", [one.filename == __file__ for one in caught if isinstance(one.message, AlwaysEagerIgnored)])


def part_stored():
    result = stored.apply_async(task_id="stored")
    attempt("stored", result.get)

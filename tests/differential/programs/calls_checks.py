"""What a call refuses, and with which words."""

import datetime as dt

from celery import Celery
from record import attempt, say

POOLS = ()
app = Celery("calls_checks")


@app.task
def add(x, y, *, z=0):
    return x + y + z


@app.task(bind=True)
def bound(self, x):
    return x


@app.task(typing=False)
def untyped(x):
    return x


@app.task
def anything(*args, **kwargs):
    return args, kwargs


def kind(function, *args, **kwargs):
    try:
        return type(function(*args, **kwargs)).__name__
    except Exception as error:
        return error


def main():
    for label, args, kwargs in [
        ("too few", (1,), {}),
        ("too many", (1, 2, 3), {}),
        ("unknown keyword", (1, 2), {"w": 1}),
        ("twice", (1, 2), {"x": 1}),
        ("keyword only", (1, 2, 3), {}),
        ("right", (1, 2), {"z": 3}),
        ("none at all", (), {}),
    ]:
        say(f"delay {label}", kind(add.delay, *args, **kwargs))
        say(f"call {label}", kind(add, *args, **kwargs))
        say(f"apply_async {label}", kind(add.apply_async, args, kwargs))
    say("bound few", kind(bound.delay))
    say("bound many", kind(bound.delay, 1, 2))
    say("untyped few", kind(untyped.delay))
    say("anything", kind(anything.delay, 1, 2, a=3))
    say("args as text", kind(add.apply_async, "ab"))
    say("args as number", kind(add.apply_async, 5))
    say("args as set", kind(anything.apply_async, {1}))
    say("args as list", kind(add.apply_async, [1, 2]))
    say("args None", kind(anything.apply_async, None))
    say("args as generator", kind(anything.apply_async, (x for x in (1, 2))))
    say("kwargs as list", kind(anything.apply_async, (), [1]))
    say("kwargs as text", kind(anything.apply_async, (), "ab"))
    say("send_task args as text", kind(app.send_task, "calls_checks.add", "ab"))
    say("send_task args as number", kind(app.send_task, "calls_checks.add", 5))
    say("send_task kwargs as list", kind(app.send_task, "calls_checks.add", (), [1]))
    say("soft over hard", kind(add.apply_async, (1, 2), time_limit=5, soft_time_limit=10))
    say("soft equal hard", kind(add.apply_async, (1, 2), time_limit=5, soft_time_limit=5))
    say("send_task soft over hard", kind(app.send_task, "n", time_limit=5, soft_time_limit=10))
    say("countdown text", kind(add.apply_async, (1, 2), countdown="5"))
    say("eta text", kind(add.apply_async, (1, 2), eta="2030-01-01T00:00:00"))
    say("eta nonsense", kind(add.apply_async, (1, 2), eta="nonsense"))
    say("eta number", kind(add.apply_async, (1, 2), eta=5))
    say("expires text", kind(add.apply_async, (1, 2), expires="2030-01-01T00:00:00"))
    say("expires nonsense", kind(add.apply_async, (1, 2), expires="nonsense"))
    say("expires timedelta", kind(add.apply_async, (1, 2), expires=dt.timedelta(seconds=5)))
    say("expires naive", kind(add.apply_async, (1, 2), expires=dt.datetime(2030, 1, 1)))
    say("unencodable", kind(anything.delay, object()))
    say("serializer unknown", kind(add.apply_async, (1, 2), serializer="nonsense"))
    say("queue unknown", kind(add.apply_async, (1, 2), queue="elsewhere"))
    strict = Celery("strict", set_as_current=False, task_create_missing_queues=False)
    say("queue not to be made", kind(strict.send_task, "a", queue="nowhere"))
    say("task unknown", attempt("tasks[unknown]", lambda: app.tasks["nothing"]))
    say("apply too few", kind(add.apply, (1,)))

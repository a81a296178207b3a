"""Time limits: which exceptions, states, handlers and signals."""

import time

from celery import Celery, signals
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from record import attempt, say

POOLS = ("prefork",)
app = Celery("limits")
GET = {"timeout": 45}


class Base(app.Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        say(f"{task_id}.on_failure", (type(exc).__name__, str(exc), args, kwargs))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        say(f"{task_id}.after_return", (status, type(retval).__name__))


@signals.task_failure.connect
def failed(sender=None, task_id=None, exception=None, args=None, kwargs=None, traceback=None, einfo=None, **more):
    say(f"{task_id}.task_failure", (sender.name, type(exception).__name__, args, kwargs, type(einfo).__name__))


@app.task(base=Base, soft_time_limit=1)
def soft():
    time.sleep(30)


@app.task(base=Base, soft_time_limit=1)
def soft_caught():
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded as error:
        say("soft_caught.error", error)
        return "caught"


@app.task(base=Base, time_limit=1)
def hard():
    time.sleep(30)


@app.task(base=Base)
def by_call():
    time.sleep(30)


@app.task(bind=True, base=Base, autoretry_for=(SoftTimeLimitExceeded,), max_retries=1, default_retry_delay=0)
def retried(self):
    say("retried", self.request.retries)
    time.sleep(0 if self.request.retries else 30)
    return "second try"


@app.task
def last():
    return "last"


def main():
    calls = {
        "soft": soft.apply_async(task_id="soft"),
        "soft_caught": soft_caught.apply_async(task_id="soft_caught"),
        "hard": hard.apply_async(task_id="hard"),
        "hard by call": by_call.apply_async(task_id="hard by call", time_limit=1),
        "soft by call": by_call.apply_async(task_id="soft by call", soft_time_limit=1),
        "retried": retried.apply_async(task_id="retried", soft_time_limit=1),
    }
    for label, result in calls.items():
        attempt(f"{label}.get", result.get, **GET)
        say(f"{label}.state", result.state)
        say(f"{label}.result", result.result)
        say(f"{label}.traceback", bool(result.traceback))
    attempt("last", last.delay().get, **GET)
    say("kinds", (issubclass(TimeLimitExceeded, Exception), issubclass(SoftTimeLimitExceeded, Exception)))

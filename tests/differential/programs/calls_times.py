"""Countdown, ETA and expiry: when a task runs, and what the request says."""

import datetime as dt
import time

from celery import Celery
from record import attempt, say

app = Celery("calls_times")
UTC = dt.timezone.utc


@app.task(bind=True)
def when(self, begun):
    return time.time() - begun, self.request.eta, self.request.expires


@app.task
def never():
    say("never", "ran")


def told(label, result, least):
    waited, eta, expires = result.get(timeout=30)
    say(f"{label}.waited", waited >= least)
    say(f"{label}.soon", waited < least + 20)
    for name, value in (("eta", eta), ("expires", expires)):
        say(f"{label}.{name}", type(value).__name__ if value is None else value)


def main():
    now = time.time()
    told("plain", when.delay(now), 0)
    told("countdown", when.apply_async((now,), countdown=1), 1)
    told("countdown zero", when.apply_async((now,), countdown=0), 0)
    told("countdown negative", when.apply_async((now,), countdown=-5), 0)
    told("countdown fraction", when.apply_async((now,), countdown=0.5), 0.5)
    told("eta aware", when.apply_async((now,), eta=dt.datetime.now(UTC) + dt.timedelta(seconds=1)), 0.5)
    zone = dt.timezone(dt.timedelta(hours=5))
    told("eta zone", when.apply_async((now,), eta=dt.datetime.now(zone) + dt.timedelta(seconds=1)), 0.5)
    naive = dt.datetime.now(UTC).replace(tzinfo=None) + dt.timedelta(seconds=1)
    told("eta naive", when.apply_async((now,), eta=naive), 0.5)
    told("eta past", when.apply_async((now,), eta=dt.datetime(2001, 1, 1, tzinfo=UTC)), 0)
    told("expires later", when.apply_async((now,), expires=100), 0)
    told("expires aware", when.apply_async((now,), expires=dt.datetime.now(UTC) + dt.timedelta(seconds=100)), 0)
    told("expires with countdown", when.apply_async((now,), countdown=0.2, expires=100), 0.2)
    for label, expires in [
        ("past", dt.datetime(2001, 1, 1, tzinfo=UTC)),
        ("negative", -10),
        ("naive past", dt.datetime(2001, 1, 1)),
    ]:
        expired = never.apply_async(expires=expires, task_id=f"expired {label}")
        attempt(f"expired {label}.get", expired.get, timeout=30)
        say(f"expired {label}.state", expired.state)
        say(f"expired {label}.result", expired.result)
        say(f"expired {label}.failed", (expired.ready(), expired.failed(), expired.successful()))
    late = never.apply_async(countdown=1, expires=0.5)
    attempt("expired while waiting.get", late.get, timeout=30)
    say("expired while waiting.state", late.state)
    say("expired while waiting.traceback", late.traceback)

"""A process that dies under a task: state, result, handlers and signals."""

import os
import signal
from pathlib import Path

from celery import Celery, signals
from record import attempt, eventually, say

POOLS = ("prefork",)
WORKER = ["-c", "1"]
app = Celery("worker_lost")
GET = {"timeout": 60}


class Base(app.Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        say(f"{task_id}.on_failure", (type(exc).__name__, args, kwargs))


@signals.task_failure.connect
def failed(sender=None, task_id=None, exception=None, **more):
    say(f"{task_id}.task_failure", (sender.name, type(exception).__name__))


@app.task(base=Base, acks_late=False)
def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(base=Base, acks_late=True, reject_on_worker_lost=False)
def killed_late():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(base=Base, acks_late=False)
def exits():
    os._exit(3)


@app.task
def last():
    return "last"


def main():
    for task in (killed, killed_late, exits):
        result = task.apply_async(task_id=task.__name__)
        attempt(f"{task.__name__}.get", lambda result=result: result.get(propagate=False, **GET).__class__.__name__)
        say(f"{task.__name__}.state", result.state)
        told = f"{task.__name__}.task_failure"
        eventually(lambda told=told: told in Path(os.environ["RECORD_FILE"]).read_text())
        last.delay().get(**GET)  # the next task must not end the process that has just sent the signal
    attempt("last", last.delay().get, **GET)

"""Revoked tasks: before they run, and while they run."""

import time

from celery import Celery, signals
from celery.exceptions import TaskRevokedError
from record import attempt, eventually, say

POOLS = ("prefork",)
WORKER = ["-c", "2"]
app = Celery("revoke")
GET = {"timeout": 45}


@signals.task_revoked.connect
def revoked(sender=None, request=None, terminated=None, signum=None, expired=None, **more):
    say(f"{request.id}.task_revoked", (sender.name, terminated, signum and int(signum), expired, sorted(more)))


@app.task(bind=True)
def work(self):
    say(f"{self.request.id}.run", None)
    return "ran"


@app.task(bind=True, track_started=True)
def endless(self):
    time.sleep(60)


def main():
    work.apply_async(task_id="ready").get(**GET)
    result = work.apply_async(task_id="later", countdown=2)
    result.revoke()
    attempt("later.get", result.get, **GET)
    say("later.state", (result.state, result.ready(), result.failed(), result.successful()))
    say("later.result", result.result)
    say("later.traceback", result.traceback)
    running = endless.apply_async(task_id="running")
    eventually(lambda: running.state == "STARTED")
    running.revoke(terminate=True)
    attempt("running.get", running.get, **GET)
    say("running.state", running.state)
    say("running.result", running.result)
    attempt("no propagate", running.get, propagate=False, **GET)
    done = work.apply_async(task_id="done")
    done.get(**GET)
    attempt("done.revoke", done.revoke)
    say("done.state", (done.state, done.get(**GET)))
    say("is", isinstance(result.result, TaskRevokedError))
    work.apply_async(task_id="last", countdown=3).get(**GET)  # the time of "later" is over by then

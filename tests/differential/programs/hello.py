"""A call, its result and its request: the first program of all."""

from celery import Celery
from record import attempt, say

app = Celery("hello")


@app.task(bind=True)
def add(self, x, y):
    say("request.args", self.request.args)
    say("request.kwargs", self.request.kwargs)
    say("request.retries", self.request.retries)
    return x + y


@app.task
def fail():
    raise ValueError("no", 3)


def main():
    result = add.delay(2, y=3)
    say("type", type(result).__name__)
    attempt("get", result.get, timeout=30)
    say("state", result.state)
    failed = fail.apply_async(task_id="failing")
    attempt("get of failed", failed.get, timeout=30)
    say("result of failed", failed.result)
    say("states", (failed.state, failed.failed(), failed.successful(), failed.ready()))

"""`self.retry` in a worker: how often, with which arguments, and what is left at the end."""

import time

from celery import Celery
from celery.exceptions import MaxRetriesExceededError, Retry
from celery.signals import task_retry
from record import attempt, eventually, say

WORKER = ["-c", "1"]
app = Celery("retry_explicit")
GET = {"timeout": 30}


@task_retry.connect
def on_retry_signal(sender=None, request=None, reason=None, einfo=None, **more):
    say(f"{sender.name}.signal", (request.id, request.retries, reason, type(einfo).__name__, sorted(more)))


class Handled(app.Task):
    def on_retry(self, exc, task_id, args, kwargs, einfo):
        say(f"{self.name}.on_retry", (exc, task_id, args, kwargs, type(einfo).__name__))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        say(f"{self.name}.after_return", (status, retval, args, kwargs, einfo is None))


@app.task(bind=True, base=Handled)
def simple(self):
    say("simple.retries", self.request.retries)
    if self.request.retries < 2:
        raise self.retry(countdown=0, exc=ValueError("again"))
    return self.request.retries


@app.task(bind=True, max_retries=1, base=Handled)
def exhausted(self, how):
    try:
        if how == "exc":
            raise self.retry(countdown=0, exc=KeyError("given"))
        if how == "context":
            try:
                raise IndexError("handled")
            except IndexError:
                raise self.retry(countdown=0)  # noqa: B904
        raise self.retry(countdown=0)
    except MaxRetriesExceededError as error:
        say("exhausted.error", (str(error), error.task_args, error.task_kwargs))
        raise
    except Retry as retry:
        say(f"exhausted {how}.retry", (str(retry), retry.message, retry.exc, retry.excs, retry.when, retry.is_eager))
        say(f"exhausted {how}.sig", retry.sig is None)
        say(f"exhausted {how}.humanize", retry.humanize())
        raise


@app.task(bind=True)
def arguments(self, *args, **kwargs):
    say(f"{self.request.id}.called", (args, kwargs, self.request.args, self.request.kwargs, self.request.retries))
    if self.request.retries:
        return self.request.id
    how = self.request.id
    if how == "args":
        raise self.retry(args=(9,), countdown=0)
    if how == "kwargs":
        raise self.retry(kwargs={"k": 9}, countdown=0)
    if how == "both":
        raise self.retry(args=(9,), kwargs={"k": 9}, countdown=0)
    if how == "empty":
        raise self.retry(args=(), kwargs={}, countdown=0)
    if how == "keywords then args":
        raise self.retry(args=(9,), countdown=0)
    if how == "positional then kwargs":
        raise self.retry(kwargs={"x": 9}, countdown=0)
    if how == "headers":
        raise self.retry(headers={"own": 2}, countdown=0)
    if how == "priority":
        raise self.retry(priority=7, countdown=0)
    if how == "queue":
        raise self.retry(queue="celery", countdown=0)
    if how == "throw":
        returned = self.retry(throw=False, countdown=0)
        say("throw.returned", (type(returned).__name__, str(returned)))
        return "first"
    raise self.retry(countdown=0)


@app.task(bind=True)
def remembers(self):
    request = self.request
    say(f"remembers.{request.retries}", (request.id, request.root_id, request.parent_id, request.get("own")))
    say(f"remembers.{request.retries}.limits", request.timelimit)
    say(f"remembers.{request.retries}.eta", request.eta is not None)
    say(f"remembers.{request.retries}.expires", request.expires is not None)
    if not request.retries:
        raise self.retry(countdown=0.2)


@app.task(bind=True, default_retry_delay=1)
def delayed(self, begun):
    if not self.request.retries:
        raise self.retry()
    return time.time() - begun


@app.task(bind=True, max_retries=None)
def endless(self):
    if self.request.retries < 6:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(bind=True, max_retries=0)
def not_once(self):
    raise self.retry(countdown=0, exc=ValueError("none"))


@app.task(bind=True, max_retries=1)
def given(self):
    if self.request.retries < 3:
        raise self.retry(countdown=0, max_retries=3)
    return self.request.retries


@app.task(bind=True)
def waits(self):
    if not self.request.retries:
        raise self.retry(countdown=60, exc=ValueError("later"))


def part_times():
    attempt("simple.get", simple.apply_async(task_id="simple").get, **GET)
    attempt("delayed", lambda: 1 <= delayed.delay(time.time()).get(**GET) < 20)
    attempt("endless", endless.delay().get, **GET)
    attempt("not_once", not_once.delay().get, **GET)
    attempt("given", given.delay().get, **GET)


def part_exhausted():
    for how in ("exc", "context", "plain"):
        result = exhausted.apply_async((how,), task_id=f"exhausted {how}")
        attempt(f"exhausted {how}.get", result.get, **GET)
        say(f"exhausted {how}.state", result.state)
    named = exhausted.apply_async(kwargs={"how": "plain"}, task_id="exhausted keyword")
    attempt("exhausted keyword.get", named.get, **GET)


def part_arguments():
    for how in ("args", "kwargs", "both", "empty", "headers", "priority", "queue", "throw", "plain"):
        attempt(f"{how}.get", arguments.apply_async((1, 2), {"k": 3}, task_id=how, headers={"own": 1}).get, **GET)
    attempt("keywords.get", arguments.apply_async((), {"x": 3}, task_id="keywords then args").get, **GET)
    attempt("positional.get", arguments.apply_async((1,), {}, task_id="positional then kwargs").get, **GET)


def part_remembers():
    remembers.apply_async(
        task_id="remembers", headers={"own": 1}, root_id="root", time_limit=50, soft_time_limit=40, expires=100
    ).get(**GET)


def part_state():
    result = waits.apply_async(task_id="waits")
    eventually(lambda: result.state == "RETRY")
    say("waits.state", (result.state, result.ready(), result.failed()))
    say("waits.result", result.result)
    say("waits.traceback", bool(result.traceback))


def part_outside():
    attempt("outside", simple.retry, exc=ValueError("outside"))
    attempt("outside without", simple.retry)
    attempt("direct call", simple)
    attempt("direct call of given", given)

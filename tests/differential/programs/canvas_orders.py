"""Canvases: the order of signals and handlers around each task, and of those of one task and the next."""

from celery import Celery, Task, chain, chord, group, signals
from record import attempt, say

POOLS = ("solo",)
app = Celery("canvas_orders")
GET = {"timeout": 30}


class Telling(Task):
    abstract = True

    def before_start(self, task_id, args, kwargs):
        tell(task_id, "before_start")

    def on_success(self, retval, task_id, args, kwargs):
        tell(task_id, "on_success")

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        tell(task_id, f"on_failure {type(exc).__name__}")

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        tell(task_id, "on_retry")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        tell(task_id, f"after_return {status}")


def tell(task_id, what):
    """Record under the canvas, whose name is the beginning of the ids, and under the task."""
    canvas, _, task = str(task_id).partition("/")
    if task:
        say(task_id, what)
        if not canvas.startswith("many"):
            say(canvas, f"{task} {what}")


@app.task(base=Telling)
def same(*args):
    return list(args)


@app.task(base=Telling)
def boom(*args):
    raise ValueError("boom")


@app.task(base=Telling, bind=True, default_retry_delay=0)
def again(self, *args):
    if not self.request.retries:
        raise self.retry(countdown=0)
    return list(args)


@app.task(base=Telling, bind=True)
def replaced(self, *args):
    return self.replace(same.s(*args))


@app.task
def errback(request, exc, traceback, name):
    tell(name, f"errback called for {request.id}")


@app.task(base=Telling)
def sent_errback(task_id):
    return task_id


@signals.task_prerun.connect
def prerun(task_id, **_):
    tell(task_id, "task_prerun")


@signals.task_postrun.connect
def postrun(task_id, state, **_):
    tell(task_id, f"task_postrun {state}")


@signals.task_success.connect
def success(sender, **_):
    tell(sender.request.id, "task_success")


@signals.task_failure.connect
def failure(task_id, **_):
    tell(task_id, "task_failure")


@signals.task_retry.connect
def retried(request, **_):
    tell(request.id, "task_retry")


@signals.before_task_publish.connect
def publishing(headers, **_):
    tell(headers["id"], "before_task_publish")


def step(task, name, *args):
    return task.si(*args).set(task_id=name)


CANVASES = {
    "chain/2": lambda: chain(step(same, "chain/0"), step(same, "chain/1"), step(same, "chain/2")),
    "retried/1": lambda: chain(step(again, "retried/0"), step(same, "retried/1")),
    "failing/2": lambda: chain(step(same, "failing/0"), step(boom, "failing/1"), step(same, "failing/2")),
    "linked/1": lambda: step(same, "linked/0").set(link=[step(same, "linked/1")]),
    "replaced/1": lambda: chain(step(replaced, "replaced/0", 1), step(same, "replaced/1")),
    "called/0": lambda: step(boom, "called/0").set(link_error=[errback.s(name="called/errback")]),
    "sent/errback": lambda: step(boom, "sent/0").set(link_error=[sent_errback.s().set(task_id="sent/errback")]),
    "one/body": lambda: chord([step(same, "one/0")], step(same, "one/body")),
    "many/body": lambda: chord([step(same, "many/0"), step(same, "many/1")], step(same, "many/body")),
    "many broken/body": lambda: chord(
        [step(boom, "many broken/0")], step(same, "many broken/body").on_error(errback.s(name="many broken/errback"))
    ),
    "many behind/2": lambda: chain(
        step(same, "many behind/0"), group(step(same, "many behind/1")), step(same, "many behind/2")
    ),
}


def main():
    for name, make in CANVASES.items():
        make().apply_async()
        attempt(f"result of {name}", lambda name=name: app.AsyncResult(name).get(**GET))
    attempt("last", lambda: same.delay("last").get(**GET))

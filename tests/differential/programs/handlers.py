"""Handlers of tasks and signals around a run: their order and their arguments."""

from celery import Celery, signals
from celery.exceptions import Ignore, Reject
from record import attempt, say

WORKER = ["-c", "1"]
app = Celery("handlers")
GET = {"timeout": 30}
SEEN = (
    "task_received task_prerun task_postrun task_success task_failure task_retry task_revoked task_rejected"
    " task_unknown task_internal_error"
).split()


class Base(app.Task):
    def before_start(self, task_id, args, kwargs):
        tell(task_id, "before_start", args=args, kwargs=kwargs)

    def on_success(self, retval, task_id, args, kwargs):
        tell(task_id, "on_success", retval=retval, args=args, kwargs=kwargs)

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        tell(task_id, "on_failure", exc=exc, args=args, kwargs=kwargs, einfo=about(einfo))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        tell(task_id, "on_retry", exc=exc, args=args, kwargs=kwargs, einfo=about(einfo))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        tell(task_id, "after_return", status=status, retval=retval, args=args, kwargs=kwargs, einfo=about(einfo))


def tell(task_id, event, **arguments):
    if event != "task_received":  # the next try may be received before the last one has ended
        say(f"{task_id}.order", event)
    for name, value in sorted(arguments.items()):
        say(f"{task_id}.{event}.{name}", value)


def about(einfo):
    if einfo is None:
        return None
    last = str(einfo).strip().splitlines()[-1]
    return [type(einfo).__name__, einfo.type, einfo.exception, last, einfo.traceback == str(einfo), einfo.internal]


def connect(name):
    def receiver(sender=None, signal=None, **arguments):
        request = arguments.pop("request", None)
        task_id = arguments.pop("task_id", None) or getattr(request, "id", None)
        task_id = task_id or getattr(getattr(sender, "request", None), "id", None) or "unknown"
        if name in ("task_received", "task_rejected", "task_unknown"):
            arguments = {key: type(value).__name__ for key, value in arguments.items()}
        if "einfo" in arguments:
            arguments["einfo"] = about(arguments["einfo"])
        if "traceback" in arguments:
            arguments["traceback"] = type(arguments["traceback"]).__name__
        if "task" in arguments:
            arguments["task"] = arguments["task"].name
        if "runtime" in arguments:
            arguments["runtime"] = type(arguments["runtime"]).__name__
        tell(task_id, name, **arguments)
        say(f"{task_id}.{name}.sender", getattr(sender, "name", None) or type(sender).__name__)
        say(f"{task_id}.{name}.request", request is not None and (request.id, request.retries))
        say(f"{task_id}.{name}.signal", signal is getattr(signals, name))

    getattr(signals, name).connect(receiver, weak=False)


for each in SEEN:
    connect(each)


@app.task(bind=True, base=Base)
def work(self, how, *, more=None):
    say(f"{self.request.id}.order", "run")
    if how == "fail":
        raise ValueError("bad")
    if how == "retry" and not self.request.retries:
        raise self.retry(countdown=0, exc=KeyError("again"))
    if how == "ignore":
        raise Ignore
    if how == "reject":
        raise Reject("why")
    return how


@app.task(base=Base)
def expired():
    pass


@app.task(base=Base, throws=(KeyError,))
def expected():
    raise KeyError("expected")


def main():
    for how in ("return", "fail", "retry", "ignore", "reject"):
        result = work.apply_async((how,), {"more": 1}, task_id=how)
        if how != "ignore":
            attempt(f"{how}.get", result.get, **GET)
    attempt("expired.get", expired.apply_async(task_id="expired", expires=-5).get, **GET)
    attempt("expected.get", expected.apply_async(task_id="expected").get, **GET)
    work.apply_async(("return",), task_id="last").get(**GET)


def part_eager():
    for how in ("return", "fail", "retry", "ignore", "reject"):
        attempt(f"eager {how}", lambda how=how: work.apply((how,), {"more": 1}, task_id=f"eager {how}").state)
